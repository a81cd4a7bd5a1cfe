"""A trained detector in use."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate

from ssod.checkpoint_content import Whose
from ssod.config_parts import name_of
from ssod.data.load_image import Pixels
from ssod.plain_detector import load_detector, preparing_steps


class Detector:
    """A trained detector that takes images as they are.

    It works on the GPU if there is one, and prepares images as the config's test does.

    Args:
        cfg: A run's config, or a plain detector's.
        checkpoint: A checkpoint for it.
        whose: Which of the two predicts; a plain detector counts as the teacher.
        score_thr: Lowest score of boxes that are wanted; the config's own threshold is lowered to
            this, but not raised.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If config and checkpoint do not go together, or there is no such model.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: str | Path,
        whose: Whose = 'teacher',
        score_thr: float = 1.0,
    ) -> None:
        self._model, labels = load_detector(cfg, checkpoint, whose, score_thr)
        self.classes: tuple[str, ...] = labels['classes']
        self._prepare = Compose(_steps(cfg))
        self._model.to('cuda' if torch.cuda.is_available() else 'cpu')

    @torch.no_grad()
    def __call__(self, images: Sequence[Pixels]) -> list[DetDataSample]:
        """Detect objects in a batch of images.

        Args:
            images: BGR, (height, width, 3) each, uint8, of any sizes; padded to the largest.

        Returns:
            For each image ``pred_instances`` (bboxes, scores, labels), on the CPU, boxes as
            (x1, y1, x2, y2) in the image's own pixels.
        """
        data = [self._prepare({'img': image, 'img_id': 0}) for image in images]
        return [sample.cpu() for sample in self._model.test_step(pseudo_collate(data))]


def predict_each(
    model: Any, loaded: Iterable[dict[str, Any]], whose: str = 'teacher'
) -> list[DetDataSample]:
    """Predict one image at a time, and leave the model in the mode it was in.

    Args:
        model: A :class:`~ssod.models.semi_supervised_detector.SemiSupervisedDetector`, or any
            detector of mmdet's.
        loaded: The images as a data set returns them.
        whose: ``'teacher'`` or ``'student'``; ignored for any other detector.

    Returns:
        For each image its sample on the CPU, with boxes in pixels of its file.
    """
    training = model.training
    model.eval()
    chosen = model.predicting_on(whose) if hasattr(model, 'predicting_on') else nullcontext()
    with torch.no_grad(), chosen:
        samples = [model.test_step(pseudo_collate([item]))[0].cpu() for item in loaded]
    model.train(training)
    return samples


def _steps(cfg: Config) -> list[ConfigDict]:
    """The config's preparation of images for a test, after they are loaded."""
    where, steps = preparing_steps(cfg)
    at = next((i for i, step in enumerate(steps) if name_of(step).startswith('LoadImage')), None)
    if at is None:
        raise ValueError(f'{cfg.filename}: {where} has no LoadImageFromFile')
    first = ConfigDict(type='LoadImageFromNDArray', to_float32=steps[at].get('to_float32', False))
    return [first, *steps[at + 1 :]]
