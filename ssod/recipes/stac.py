"""STAC (Sohn et al., A Simple Semi-Supervised Learning Framework for Object Detection, 2020).

A teacher that was trained on the labelled images labels the others once; then a student is trained
from scratch on both. This module reads the pseudo-labels from a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.data.branches import Branch
from ssod.models.semi_supervised_detector import SemiSupervisedDetector, unwrap
from ssod.pseudo_labels.stored_labels import StoredLabels
from ssod.strict import strict_settings
from ssod.teachers.pi_teacher import PiTeacherHook

NAME = 'pseudo_labels.json'
"""The default file in the work directory."""


@HOOKS.register_module()
@strict_settings
class OfflineTeacherHook(PiTeacherHook):
    """Reads the teacher's predictions from a file written by ``tools/pseudo_label.py``.

    Section 3.1 of the paper, steps 2 and 3. The model's ``teacher`` is a copy of the student here:
    it does not predict, and both have the same score.

    Args:
        selector: Config of the selector of pseudo-boxes.
        ann_file: The file; ``pseudo_labels.json`` in the work directory if ``None``.
        burn_in: Number of supervised iterations at the start of the run.
        min_size: Least width and height of a pseudo-box, in pixels of the strong view.

    Raises:
        FileNotFoundError: Before training, if the file does not exist.
        ValueError: If the file is not for these images and classes, or the model needs a teacher
            that predicts: for a consistency loss, a ``box_jitter`` or a recipe's own loss.
    """

    def __init__(
        self,
        selector: Mapping[str, Any],
        ann_file: str | None = None,
        burn_in: int = 0,
        min_size: float = 1.0,
    ) -> None:
        super().__init__(selector, burn_in, min_size)
        self.ann_file = ann_file

    def before_train(self, runner: Runner) -> None:
        """Read the file."""
        _refuse_asking(unwrap(runner.model))
        super().before_train(runner)
        path = Path(self.ann_file or Path(runner.work_dir, NAME))
        if not path.is_file():
            own = Path(runner.work_dir, Path(runner.cfg.filename or 'CONFIG').name)
            raise FileNotFoundError(
                f'{path} does not exist; make it with the checkpoint of a supervised run: python '
                f'tools/pseudo_label.py {own} CHECKPOINT --out {path}'
            )
        classes = runner.train_dataloader.dataset.metainfo['classes']
        self._labels = StoredLabels(path, classes)

    def predict(self, runner: Runner, weak: Branch) -> tuple[list[InstanceData], list[Any] | None]:
        """The stored boxes of the images, in the weak views' pixels."""
        device = unwrap(runner.model).data_preprocessor.device
        return [self._labels.in_view(sample).to(device) for sample in weak['data_samples']], None


def _refuse_asking(model: SemiSupervisedDetector) -> None:
    """Refuse a model that needs more from a teacher than boxes."""
    for asks, what, remedy in (
        (
            model.needs_soft_targets,
            f'the loss of {type(model).__name__}',
            'use SemiSupervisedDetector',
        ),
        (model.consistency is not None, 'the consistency loss', 'set model.consistency=None'),
        (
            model.box_jitter is not None,
            'box_jitter',
            'set model.box_jitter=None, and use another selector than UncertaintySelector',
        ),
    ):
        if asks:
            raise ValueError(
                f'OfflineTeacherHook: {what} needs a teacher, but there is none; {remedy}'
            )
