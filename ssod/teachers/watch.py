"""The watch on the teacher and the losses: it detects a collapse and reports it."""

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from ssod.models.semi_supervised_detector import unwrap
from ssod.strict import check_ranges, strict_settings
from ssod.teachers import alarms
from ssod.teachers.advice import advice
from ssod.teachers.box_counts import PseudoTally, count_labels
from ssod.teachers.distance import relative_distances
from ssod.teachers.limits import Limits
from ssod.teachers.non_finite import NonFiniteRecord
from ssod.teachers.step_guard import StepGuard

WINDOWS = 10
"""Number of earlier windows that a mean score is compared with."""
REMIND = 50
"""Windows after which a lasting alarm is repeated."""


@HOOKS.register_module()
@strict_settings
class TeacherWatchHook(Hook):
    """Detects a collapse, warns with advice, and skips optimizer steps that are not finite.

    Over windows of iterations it compares the pseudo-boxes with the labelled boxes (alarms
    ``images``, ``few_boxes``, ``many_boxes``, ``classes``, ``missing``), their mean score with
    that of earlier windows (``scores``), the pseudo losses with the supervised ones
    (``pseudo_loss``), the teacher's weights and running statistics with the student's
    (``distance``), and the gradient norm with its running median (``gradient``); at each
    validation it compares the teacher's mAP with the student's (``gap``). The distance shows within
    a window that a teacher does not follow; the mAP is what counts, but is measured seldom. During
    the burn-in there are no pseudo-boxes, and no alarms about them.

    An optimizer step with a loss or gradient that is not finite is skipped (``non_finite``; see
    :class:`~ssod.teachers.step_guard.StepGuard`), and its batch recorded (see
    :class:`~ssod.teachers.non_finite.NonFiniteRecord`). Too many of them stop the run.

    An alarm is a warning in the log when it begins and again after every 50 windows, a line when it
    is over (not seen for a window), and ``alarm/<name>`` (1 or 0) in the run's scalars. These also
    hold the measured figures of each window as ``watch/<name>``, and the number of alarms as
    ``alarms``, which every line of the log shows.

    With several ranks, the figures cover all of them; after a run is resumed within a window, that
    window lacks the other ranks' earlier iterations.

    Args:
        window: Number of iterations in a window, at least 10. The gradient of the last tenth is
            compared with that of the rest.
        limits: Limits that differ from the defaults of :class:`~ssod.teachers.limits.Limits`.

    Raises:
        ValueError: If a limit is unknown or a value is out of its range; while training, when
            ``limits.non_finite`` steps of a window were skipped.
    """

    # After the teacher's hook, which makes the pseudo-boxes, and before the logger's.
    priority = 55

    def __init__(self, window: int = 200, limits: Mapping[str, Any] | None = None) -> None:
        check_ranges('TeacherWatchHook', ('window', window, window >= 10, 'at least 10'))
        self.window = window
        self.limits = Limits.from_settings(limits or {})
        self._resumed: dict[str, Any] | None = None
        self._watching = False
        self._logs = False

    def before_train(self, runner: Runner) -> None:
        """Count the labelled boxes and guard the optimizer."""
        dataset = runner.train_dataloader.dataset
        self._names = dataset.metainfo['classes']
        self._labeled = count_labels(dataset, len(self._names))
        self._guard = StepGuard(runner.optim_wrapper, unwrap(runner.model).student)
        # As many iterations as make `window` optimizer steps where gradients accumulate.
        iterations = self.window * runner.optim_wrapper._accumulative_counts
        self._record = NonFiniteRecord(iterations, runner.work_dir)
        self._norms: deque[float] = deque(maxlen=self.window)
        self._standings: deque[float] = deque(maxlen=WINDOWS)
        self._active: dict[str, tuple[int, int]] = {}
        self._open_window()
        self._watching = True
        self._logs = any(isinstance(hook, RuntimeInfoHook) for hook in runner.hooks)
        if runner.iter == 0:
            runner.message_hub.update_scalar('train/alarms', 0)
        elif self._resumed is not None:
            self._restore(self._resumed)
            self._resumed = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count this batch's pseudo-boxes."""
        self._guard.remember()
        if unwrap(runner.model).step >= 0:
            self._iterations += 1
            self._tally.add(data_batch['data_samples'].get('strong', []))

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the losses and the gradient, and at the end of a window everything else."""
        losses = {
            name: self._fetched(runner, name, value)
            for name, value in (outputs or {}).items()
            if 'loss' in name
        }
        if unwrap(runner.model).step >= 0 and all(map(math.isfinite, losses.values())):
            for kind in self._losses:
                self._losses[kind] += sum(v for k, v in losses.items() if k.startswith(kind))
        self._look_at_step(runner, losses, data_batch)
        tenth = self.window // 10
        if (runner.iter + 1) % tenth == 0:
            seen = alarms.judge_gradient(list(self._norms), tenth, self.limits.gradient)
            self._report(runner, {'gradient': seen}, runner.iter + 1)
        if self._iterations >= self.window:
            self._close_window(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Compare teacher and student."""
        if not self._watching:
            return
        found = alarms.judge_gap(metrics or {}, self.limits.gap)
        if found is not None:
            gap, seen = found
            self._log(runner, {'watch/gap': gap}, runner.iter)
            self._report(runner, {'gap': seen}, runner.iter)

    def _fetched(self, runner: Runner, name: str, value: Tensor) -> float:
        """A loss, from mmengine's log if that has it.

        The log fetched it before the teacher was updated; fetching it here would wait for a GPU.
        """
        if self._logs:
            return float(runner.message_hub.get_scalar(f'train/{name}').current())
        return value.item()

    def _look_at_step(self, runner: Runner, losses: Mapping[str, float], batch: Any) -> None:
        record, step = self._record, self._guard.pop_step()
        record.suspect(runner.iter, losses, batch)
        record.forget(runner.iter)
        if step is None:
            return
        if step.skipped:
            record.skipped(runner.iter, step.norm, batch)
        elif math.isfinite(step.norm):  # It is not where a gradient scaler skips the step.
            self._norms.append(step.norm)
        if len(record.steps) >= self.limits.non_finite:
            raise ValueError(
                f'not finite: {record.seen()}; TeacherWatchHook.limits.non_finite='
                f'{self.limits.non_finite} stops the run: {advice(runner, "non_finite")}'
            )
        seen = record.seen() if step.skipped else None
        self._report(runner, {'non_finite': seen}, runner.iter + 1)

    def _open_window(self) -> None:
        self._iterations = 0
        self._tally = PseudoTally(len(self._names))
        self._losses = {'sup_': 0.0, 'pseudo_': 0.0}

    def _close_window(self, runner: Runner) -> None:
        """Check what was counted over a window."""
        pseudo, labeled = self._tally.counts(), self._labeled
        losses = torch.tensor(list(self._losses.values()))
        all_reduce(losses)
        supervised, taught = losses.tolist()
        seen = alarms.judge_boxes(pseudo, labeled, self._names, self.limits)
        seen['scores'] = alarms.judge_scores(pseudo, self._standings, self.limits.scores)
        seen['pseudo_loss'] = alarms.judge_losses(taught, supervised, self.limits.pseudo_loss)
        model = unwrap(runner.model)
        distances = relative_distances(model.teacher, model.student)
        seen['distance'] = alarms.judge_distance(*distances, self.limits.distance)
        now = alarms.standing(pseudo)
        if now is not None:
            self._standings.append(now)
        figures = alarms.figures(pseudo, labeled)
        figures['pseudo_loss'] = taught / supervised if supervised else math.nan
        figures['distance'] = max(distances)
        figures['gradient'] = median(self._norms) if self._norms else math.nan
        figures['skipped'] = self._record.total
        self._log(runner, {f'watch/{k}': v for k, v in figures.items()}, runner.iter + 1)
        over = f', over {self.window} iterations'
        self._report(runner, {k: v and v + over for k, v in seen.items()}, runner.iter + 1)
        self._open_window()

    def _report(self, runner: Runner, seen: alarms.Seen, step: int) -> None:
        """Log the alarms that begin, last long, or are over."""
        changes = {}
        for name, what in seen.items():
            said, last = self._active.get(name, (None, step))
            if what is not None:
                if said is None or step - said >= REMIND * self.window:
                    runner.logger.warning(f'watch, {name}: {what}: {advice(runner, name)}')
                    said, changes[f'alarm/{name}'] = step, 1.0
                self._active[name] = (said, step)
            elif said is not None and step - last >= self.window:
                runner.logger.info(f'watch, {name}: over')
                del self._active[name]
                changes[f'alarm/{name}'] = 0.0
        if changes:
            runner.message_hub.update_scalar('train/alarms', len(self._active))
            self._log(runner, changes, step)

    def _log(self, runner: Runner, values: Mapping[str, float], step: int) -> None:
        """Add to the run's scalars, but not to the lines of the log."""
        values = {name: float(v) for name, v in values.items() if math.isfinite(v)}
        runner.message_hub.update_scalars(values)
        # Training lines name their iteration, as mmengine's do: by it a resumed run finds the lines
        # that an interruption lost.
        iteration = {'iter': step} if step > runner.iter else {}
        runner.visualizer.add_scalars({**values, **iteration}, step=step)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the window and the active alarms."""
        checkpoint['teacher_watch'] = {
            'iterations': self._iterations,
            'tally': self._tally.state_dict(),
            'losses': dict(self._losses),
            'norms': list(self._norms),
            'standings': list(self._standings),
            'active': dict(self._active),
            'record': self._record.state_dict(),
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the saved state until it is known whether the run is resumed."""
        self._resumed = checkpoint.get('teacher_watch')

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._iterations = state['iterations']
        self._tally.load_state_dict(state['tally'])
        self._losses = dict(state['losses'])
        self._norms.extend(state['norms'])
        self._standings.extend(state['standings'])
        self._active = dict(state['active'])
        self._record.load_state_dict(state['record'])
