"""Temporal Ensembling."""

from collections.abc import Mapping
from typing import Any

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import all_gather_object
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.data.branches import Branch
from ssod.models.semi_supervised_detector import unwrap
from ssod.projection import file_to_view, project_boxes
from ssod.strict import check_ranges, strict_settings
from ssod.teachers.pi_teacher import PiTeacherHook
from ssod.teachers.prediction_memory import PredictionMemory, Remembered


@HOOKS.register_module()
@strict_settings
class TemporalTeacherHook(PiTeacherHook):
    """The teacher is the moving average of the student's past predictions for each image.

    Temporal Ensembling (Laine & Aila 2017, section 2.2). The prediction for the current weak view
    is part of the average, because an image comes seldom and has no other prediction at first.
    :class:`~ssod.teachers.prediction_memory.PredictionMemory` averages the boxes. The consistency
    loss, if there is one, uses regions of the current prediction only.

    All ranks have the same memory. For each unlabelled image it takes ``max_boxes`` times 22 bytes
    and a path in the checkpoint at most, and about three times that in each rank's RAM.

    Args:
        selector: Config of the selector of pseudo-boxes; it sees the averaged scores.
        decay: α, the share of the past in the average, in [0, 1); the paper has 0.6.
        iou: Least IoU at which two boxes count as the same, in (0, 1].
        max_boxes: Most boxes remembered per image, at least 1.
        min_score: Boxes with a lower averaged score are forgotten, in [0, 1].
        burn_in: Number of supervised iterations at the start of the run.
        min_size: Least width and height of a pseudo-box, in pixels of the strong view.

    Raises:
        ValueError: If a setting is out of its range; before training, if the model has a
            ``box_jitter``, which averaged boxes cannot use.
    """

    def __init__(
        self,
        selector: Mapping[str, Any],
        decay: float = 0.6,
        iou: float = 0.5,
        max_boxes: int = 50,
        min_score: float = 0.05,
        burn_in: int = 0,
        min_size: float = 1.0,
    ) -> None:
        super().__init__(selector, burn_in, min_size)
        check_ranges(
            'TemporalTeacherHook',
            ('decay', decay, 0 <= decay < 1, 'in [0, 1)'),
            ('iou', iou, 0 < iou <= 1, 'in (0, 1]'),
            ('max_boxes', max_boxes, max_boxes >= 1, 'at least 1'),
            ('min_score', min_score, 0 <= min_score <= 1, 'in [0, 1]'),
        )
        self.memory = PredictionMemory(decay, iou, max_boxes, min_score)
        self._fresh: dict[str, Remembered] = {}

    def before_train(self, runner: Runner) -> None:
        """Forget what an earlier run remembered; see :class:`~ssod.teachers.hook.TeacherHook`."""
        if unwrap(runner.model).box_jitter is not None:
            raise ValueError(
                'TemporalTeacherHook: box_jitter cannot measure the uncertainty of averaged boxes; '
                'set model.box_jitter=None, and use another selector than UncertaintySelector'
            )
        if runner.iter == 0:
            self.memory.images.clear()
        super().before_train(runner)

    def predict(self, runner: Runner, weak: Branch) -> tuple[list[InstanceData], list[Any] | None]:
        """What the student's copy predicts, averaged with what was predicted before."""
        predictions, soft_targets = super().predict(runner, weak)
        pairs = zip(weak['data_samples'], predictions, strict=True)
        return [self._average(sample, found) for sample, found in pairs], soft_targets

    def _average(self, sample: DetDataSample, found: InstanceData) -> InstanceData:
        """The averaged boxes of one image, in pixels of its weak view."""
        to_view = file_to_view(sample)
        in_file = found[:]
        in_file.bboxes = project_boxes(found.bboxes, to_view.inverse())
        entry = self.memory.add(sample.img_path, in_file)
        self._fresh[sample.img_path] = entry
        device = found.bboxes.device
        return InstanceData(
            bboxes=project_boxes(entry.boxes.to(device), to_view),
            scores=self.memory.scores(entry).to(device),
            labels=entry.labels.to(device),
        )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Share the new entries among all ranks."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if runner.iter < self.burn_in:
            return
        for of_a_rank in all_gather_object(self._fresh):
            self.memory.images.update(of_a_rank)
        self._fresh = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the memory too."""
        super().before_save_checkpoint(runner, checkpoint)
        checkpoint['teacher']['memory'] = self.memory.state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore the memory."""
        super().after_load_checkpoint(runner, checkpoint)
        memory = checkpoint.get('teacher', {}).get('memory')
        if memory is not None:
            self.memory.load_state_dict(memory)
