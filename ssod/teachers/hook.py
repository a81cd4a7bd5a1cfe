"""The hook that puts pseudo-boxes into each batch and keeps the teacher up to date."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import Any

from mmengine.dist import all_reduce_params, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.structures import InstanceData
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ssod.data.branches import Branch, pop_branch, put_branch
from ssod.data.sampler import SourceRatioSampler
from ssod.models.semi_supervised_detector import SemiSupervisedDetector, unwrap
from ssod.projection import project_instances, view_to_view
from ssod.pseudo_labels.selectors import build_selector, restore_selector, selector_state
from ssod.strict import check_ranges
from ssod.teachers.ema import EMA
from ssod.teachers.verifier import fit_verifier


class TeacherHook(Hook, metaclass=ABCMeta):
    """What a teacher does in each training iteration.

    ::

        before_train_iter   the teacher predicts on the weak views; the selector keeps confident
                            boxes; they are projected into the strong views as their ground truth
              (train_step)  the student learns from labelled images and strong views
        after_train_iter    the teacher is updated, if the optimizer really stepped

    In the first ``burn_in`` iterations there are no pseudo-boxes: the student learns from the
    labelled images only, and the teacher is its copy.

    The kind of teacher is a subclass. It says in :meth:`decay_now` how much of itself the teacher
    keeps at an update, and overrides :meth:`predict` if its boxes are not just what its weights
    predict::

                              decay_now         predict
        EMATeacherHook        a schedule's      -
        PiTeacherHook         0: copies         -
        TemporalTeacherHook   0: copies         averages over the visits of an image
        OfflineTeacherHook    0: copies         reads boxes from a file

    Args:
        selector: Config of a :class:`~ssod.pseudo_labels.selectors.Selector`.
        burn_in: Number of supervised iterations at the start of the run.
        min_size: Pseudo-boxes narrower or lower than this, in pixels of the strong view, are
            dropped.

    Raises:
        ValueError: If ``burn_in`` or ``min_size`` is negative, or ``selector`` is the config of
            something else.
    """

    def __init__(self, selector: Mapping[str, Any], burn_in: int = 0, min_size: float = 1.0):
        check_ranges(
            type(self).__name__,
            ('burn_in', burn_in, burn_in >= 0, 'at least 0'),
            ('min_size', min_size, min_size >= 0, 'at least 0'),
        )
        self.selector = build_selector(selector)
        self.burn_in = burn_in
        self.min_size = min_size
        self.updates = 0
        self._stepped = False
        self._selector_state: Any = None

    @abstractmethod
    def decay_now(self) -> float:
        """α of the next update after the burn-in: the share of itself that the teacher keeps."""

    def before_train(self, runner: Runner) -> None:
        """Check the loop, batch and selector, train the verifier, watch the optimizer's steps.

        Raises:
            ValueError: If the loop, the batch size or the selector does not suit.
        """
        sampler = runner.train_dataloader.sampler
        if isinstance(sampler, SourceRatioSampler):
            if not isinstance(runner.train_loop, IterBasedTrainLoop):
                raise ValueError(
                    f'train_cfg: {type(runner.train_loop).__name__} needs a data loader that ends, '
                    f'but SourceRatioSampler never does; use IterBasedTrainLoop with max_iters'
                )
            sampler.use_batch_size(runner.train_dataloader.batch_size)
            if len(sampler.source_ratio) > 1 and self.burn_in >= runner.max_iters:
                runner.logger.warning(
                    'burn_in is %d, but the run has only %d iterations: the unlabelled images are '
                    'never used; raise train_cfg.max_iters, or lower '
                    'default_hooks.teacher.burn_in',
                    self.burn_in,
                    runner.max_iters,
                )
        if runner.iter == 0:
            self.updates = 0
        else:
            restore_selector(self.selector, self._selector_state)
        model = unwrap(runner.model)
        classes = runner.train_dataloader.dataset.metainfo['classes']
        self.selector.check(model, len(classes))
        if model.verifier is not None and runner.iter == 0:
            fit_verifier(runner, model, model.verifier)
        self._ema = EMA(model.teacher, model.student)
        # Ask the optimizer itself: it does not step while gradients accumulate, nor where a
        # gradient scaler found an infinite gradient.
        runner.optim_wrapper.optimizer.register_step_post_hook(self._saw_step)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Put the teacher's pseudo-boxes into the batch."""
        model = unwrap(runner.model)
        model.step = runner.iter - self.burn_in
        weak = pop_branch(data_batch, 'weak')
        strong = pop_branch(data_batch, 'strong')
        if model.step < 0 or not weak['inputs']:
            return
        predictions, soft_targets = self.predict(runner, weak)
        self.set_pseudo_labels(model, weak, strong, predictions, soft_targets)
        put_branch(data_batch, 'strong', strong)

    def predict(self, runner: Runner, weak: Branch) -> tuple[list[InstanceData], list[Any] | None]:
        """The teacher's predictions on the weak views; see ``SemiSupervisedDetector.teach``."""
        with runner.optim_wrapper.optim_context(runner.model):
            return unwrap(runner.model).teach(weak)

    def set_pseudo_labels(
        self,
        model: SemiSupervisedDetector,
        weak: Branch,
        strong: Branch,
        predictions: list[InstanceData],
        soft_targets: list[Any] | None,
    ) -> None:
        """Give the strong views their pseudo-boxes and the teacher's soft targets."""
        samples = strong['data_samples']
        matrices = view_to_view(weak['data_samples'], samples)
        chosen = [self.selector(of_image, model.step) for of_image in predictions]
        shapes = [sample.img_shape for sample in samples]
        projected = project_instances(chosen, matrices, shapes, self.min_size)
        for sample, pseudo_boxes in zip(samples, projected, strict=True):
            sample.gt_instances = pseudo_boxes
        if soft_targets is not None:
            model.set_soft_targets(soft_targets, samples, matrices)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Update the teacher if the student was updated."""
        if not self._stepped:
            return
        self._stepped = False
        teaching = runner.iter >= self.burn_in
        model = unwrap(runner.model)
        share_statistics(model.student)
        self.update_teacher(runner, self.decay_now() if teaching else 0.0)
        self.updates += teaching

    def update_teacher(self, runner: Runner, decay: float) -> None:
        """Make the teacher follow the student.

        Args:
            runner: The run's.
            decay: α, the share of itself that the teacher keeps; 0 copies the student.
        """
        self._ema.update(decay)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the number of updates and the state of the selector."""
        state = selector_state(self.selector)
        checkpoint['teacher'] = {'updates': self.updates, 'selector': state}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Go on counting the teacher's updates where the checkpoint stopped."""
        state = checkpoint.get('teacher', {})
        self.updates = state.get('updates', 0)
        self._selector_state = state.get('selector')

    def _saw_step(self, optimizer: Optimizer, *_: Any) -> None:
        # A gradient scaler calls a fused optimizer even where that is to skip the step.
        infinite = getattr(optimizer, 'found_inf', None)
        self._stepped = infinite is None or not infinite.item()


def share_statistics(student: nn.Module) -> None:
    """Average the running statistics of all ranks, so all hold the same student and teacher.

    Each rank's batch norms measure only its own images; DDP averages the gradients alone.
    """
    if get_world_size() == 1:
        return
    norms = [m for m in student.modules() if isinstance(m, _BatchNorm) and m.training]
    buffers = [b for m in norms for b in m.buffers() if b.is_floating_point()]
    if buffers:
        all_reduce_params(buffers, op='mean')
