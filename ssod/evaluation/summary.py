"""The end of a run: its scores in a file and a table, and its pictures."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ssod.data.data_sets import spread
from ssod.data.load_image import read_rgb
from ssod.data.truth import truth_of
from ssod.files import write_indented
from ssod.inference import predict_each
from ssod.models.semi_supervised_detector import unwrap
from ssod.seeds import seed_iteration
from ssod.strict import check_ranges, strict_settings
from ssod.teachers.hook import TeacherHook
from ssod.visualization.curves import plot_curves
from ssod.visualization.detections import draw_detections
from ssod.visualization.scalars import BURN_IN, MAP, STARTED_AT

MAP50 = 'coco/bbox_mAP_50'

# Keys in the message hub, which is saved in checkpoints.
START_METRICS = 'start_metrics'
SECONDS = 'train_seconds'
VALIDATION = 'last_validation'


@HOOKS.register_module()
@strict_settings
class SummaryHook(Hook):
    """Summarizes a run when its training ends.

    It logs a table of the last validation and writes into the work_dir:

    - ``summary.json``: ``start_mAP``, ``student_mAP``, ``teacher_mAP`` and the same with ``mAP50``,
      in points from 0 to 100 rounded to 0.1, null if there is no such score (no teacher took
      part, or the validation does not measure it); ``seconds``, the wall-clock time from the first
      iteration to the end, including validations, summed over resumed runs (without work that an
      interruption lost); ``iterations``; ``seed``; ``begun``, the name of the run's last start;
    - ``curves.png``: see :func:`~ssod.visualization.curves.plot_curves`;
    - ``detections.png``: the teacher's boxes (the student's if no teacher was scored) on validation
      images spread evenly over the set, see
      :func:`~ssod.visualization.detections.draw_detections`.

    When training starts, it logs ``started_at``, the number of iterations before, and the teacher's
    ``burn_in``; from these the curves know what an interruption lost.

    The start weights are the weights at the end of the burn-in: the run is then validated, unless
    it just was. A resumed run is validated at its start if its checkpoint was written right before
    a validation.

    Args:
        num_images: Number of validation images in ``detections.png``, at least 1.
        score_thr: Detections with lower scores are not drawn, in [0, 1].

    Raises:
        ValueError: If ``num_images`` or ``score_thr`` is out of its range.
    """

    # Before CheckpointHook, so that checkpoints hold the seconds up to their own iteration.
    priority = 'HIGH'

    def __init__(self, num_images: int = 8, score_thr: float = 0.3) -> None:
        check_ranges(
            'SummaryHook',
            ('num_images', num_images, num_images >= 1, 'at least 1'),
            ('score_thr', score_thr, 0 <= score_thr <= 1, 'in [0, 1]'),
        )
        self.num_images = num_images
        self.score_thr = score_thr
        self._metrics: Mapping[str, float] | None = None
        self._validated_at = -1
        self._resumed_at = 0
        self._began = 0.0

    def before_train(self, runner: Runner) -> None:
        """Log where the run starts, and start the clock from the seconds already spent."""
        start = {STARTED_AT: runner.iter}
        start |= [(BURN_IN, h.burn_in) for h in runner.hooks if isinstance(h, TeacherHook)]
        runner.visualizer.add_scalars(start, step=runner.iter)
        taken = runner.message_hub.get_info(SECONDS, 0.0) if runner.iter else 0.0
        self._began = time.monotonic() - taken
        self._resumed_at = runner.iter
        # A best checkpoint is saved after its validation, and the last one again with it.
        known = runner.message_hub.get_info(VALIDATION) if runner.iter else None
        if known is not None and known[0] == runner.iter:
            self._validated_at, self._metrics = known

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Score the start weights when the burn-in ends, and make up for a lost validation."""
        begins = any(isinstance(h, TeacherHook) and h.burn_in == runner.iter for h in runner.hooks)
        if runner.val_loop is None or not (begins or self._lacks_validation(runner)):
            return
        if self._validated_at != runner.iter:
            runner.val_loop.run()
            runner.model.train()
            # Validation draws random numbers, and a run resumed here validates once more.
            seed_iteration(runner)
        if begins:
            runner.message_hub.update_info(START_METRICS, dict(self._metrics or {}))

    def _lacks_validation(self, runner: Runner) -> bool:
        """Whether the run was resumed from a checkpoint written right before a validation."""
        loop = runner.train_loop
        return (
            isinstance(loop, IterBasedTrainLoop)
            and 0 < runner.iter == self._resumed_at
            and runner.iter >= loop.val_begin
            and runner.iter % loop.val_interval == 0
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Store the seconds so far for the next checkpoint."""
        runner.message_hub.update_info(SECONDS, time.monotonic() - self._began)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remember the latest scores."""
        self._metrics = metrics
        self._validated_at = runner.iter
        runner.message_hub.update_info(VALIDATION, (runner.iter, dict(metrics or {})))

    def after_train(self, runner: Runner) -> None:
        """Write the summary, log the table, draw the pictures."""
        validates = runner.val_loop is not None
        if validates and self._metrics is None:
            # A run resumed at its very end has no iteration left, and so no validation.
            runner.val_loop.run()
        if not is_main_process():
            return
        scores = self._scores(runner)
        summary = {
            **scores,
            'seconds': round(time.monotonic() - self._began, 1),
            'iterations': runner.iter,
            'seed': runner.seed,
            'begun': runner.timestamp,
        }
        work_dir = Path(runner.work_dir)
        write_indented(work_dir / 'summary.json', summary)
        runner.logger.info(f'Summary, also in {work_dir / "summary.json"}:\n{_table(scores)}')
        plot_curves(work_dir, work_dir / 'curves.png')
        if validates:
            self._draw(runner, 'student' if scores['teacher_mAP'] is None else 'teacher')

    def _scores(self, runner: Runner) -> dict[str, float | None]:
        """Every score of the summary, in points."""
        # During the burn-in the teacher is only a copy of the student.
        teaches = any(isinstance(h, TeacherHook) and h.burn_in < runner.iter for h in runner.hooks)
        start = runner.message_hub.get_info(START_METRICS, {})
        last = self._metrics or {}
        unnamed = getattr(unwrap(runner.model), 'predict_on', 'student')
        scores: dict[str, float | None] = {}
        for name, key in (('mAP', MAP), ('mAP50', MAP50)):
            begin = _first(start, f'teacher/{key}', f'student/{key}', key)
            scores[f'start_{name}'] = _points(begin)
            for who in ('student', 'teacher'):
                keys = [f'{who}/{key}', key] if who == unnamed else [f'{who}/{key}']
                scores[f'{who}_{name}'] = _points(_first(last, *keys))
            if not teaches:
                scores[f'teacher_{name}'] = None
        return scores

    def _draw(self, runner: Runner, whose: str) -> None:
        """Draw the boxes of ``whose``, without collective calls: only one process gets here."""
        dataset = runner.val_dataloader.dataset
        chosen = spread(len(dataset), self.num_images)
        samples = predict_each(unwrap(runner.model), [dataset[i] for i in chosen], whose)
        backend = getattr(dataset, 'backend_args', None)
        images = []
        for i, sample in zip(chosen, samples, strict=True):
            info = dataset.get_data_info(i)
            sample.gt_instances = truth_of(info)
            images.append(read_rgb(info['img_path'], backend))
        path = Path(runner.work_dir) / 'detections.png'
        draw_detections(images, samples, dataset.metainfo['classes'], path, self.score_thr)


def _first(metrics: Mapping[str, float], *keys: str) -> float | None:
    """The first of the scores ``keys`` that was measured."""
    return next((metrics[key] for key in keys if key in metrics), None)


def _points(fraction: float | None) -> float | None:
    # COCO's score for a set without true boxes is -1.
    if fraction is None or not math.isfinite(fraction) or fraction < 0:
        return None
    return round(100 * float(fraction), 1)


def _table(scores: Mapping[str, float | None]) -> str:
    lines = [f'{"":<14}{"mAP":>6}{"mAP50":>8}']
    for who, title in (('start', 'start weights'), ('student', 'student'), ('teacher', 'teacher')):
        cells = (scores[f'{who}_mAP'], scores[f'{who}_mAP50'])
        mean, at50 = ('-' if cell is None else f'{cell:.1f}' for cell in cells)
        lines.append(f'{title:<14}{mean:>6}{at50:>8}')
    return '\n'.join(lines)
