"""How certain the boxes of a two-stage teacher are."""

import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.models.features import Features
from ssod.models.regions import boxes_of_class, two_stage_regions
from ssod.projection import clip_boxes
from ssod.strict import check_ranges, strict_settings


@strict_settings
class BoxJitter:
    """Measures how much the teacher's boxes vary when it refines slightly moved ones.

    Soft Teacher (Xu et al. 2021, section 3.3): boxes are moved at random, the
    region head refines each, and the standard deviation of the results, averaged over the
    coordinates and relative to the box's size, is the box's uncertainty. It is written into the
    predictions as ``uncertainties`` (N,), for
    :class:`~ssod.pseudo_labels.selectors.UncertaintySelector`.

    Args:
        detector: A two-stage detector; of a cascade, the first stage refines.
        times: How often each box is moved, at least 2.
        scale: Standard deviation of the moves, as a share of the box's sides.
        min_score: Boxes with lower scores are not moved; their uncertainty is infinite.

    Raises:
        ValueError: If the detector is not two-stage, its region head cannot refine given boxes, or
            a setting is out of range.
    """

    def __init__(
        self, detector: BaseDetector, times: int = 10, scale: float = 0.06, min_score: float = 0.5
    ) -> None:
        check_ranges(
            'box_jitter',
            ('times', times, times >= 2, 'at least 2'),
            ('scale', scale, scale >= 0, 'at least 0'),
            ('min_score', min_score, 0 <= min_score <= 1, 'in [0, 1]'),
        )
        head = two_stage_regions(detector)
        if head is None:
            raise ValueError(
                f'box_jitter: {type(detector).__name__} has no region head that refines any box; '
                f'use Faster or Cascade R-CNN, or set box_jitter=None'
            )
        self.head = head
        self.times = times
        self.scale = scale
        self.min_score = min_score

    def mark(
        self,
        teacher: BaseDetector,
        features: Features,
        samples: list[DetDataSample],
        predictions: list[InstanceData],
    ) -> None:
        """Write each box's uncertainty into the predictions.

        Args:
            teacher: The detector that refines the boxes.
            features: Its features of the images.
            samples: Of the images.
            predictions: Of each image; they get the field ``uncertainties``.
        """
        asked = [(p.scores >= self.min_score).nonzero()[:, 0] for p in predictions]
        boxes = [p.bboxes[index] for p, index in zip(predictions, asked, strict=True)]
        moved = [InstanceData(priors=self._move(b)) for b in boxes]
        refined = self.head.evaluate(teacher, features, moved)
        for i, (_, found) in enumerate(refined):
            prediction, index = predictions[i], asked[i]
            labels = prediction.labels[index].repeat(self.times)
            found = clip_boxes(boxes_of_class(found, labels), samples[i].img_shape)
            spread = relative_spread(found.view(self.times, len(index), 4))
            uncertainties = torch.full_like(prediction.scores, torch.inf)
            uncertainties[index] = spread.to(uncertainties.dtype)
            prediction.uncertainties = uncertainties

    def _move(self, boxes: Tensor) -> Tensor:
        """Each of the boxes (N, 4) moved ``times`` times, (times · N, 4)."""
        boxes = boxes.float()
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).repeat(1, 2)
        offsets = torch.randn(self.times, len(boxes), 4, device=boxes.device)
        return (boxes + offsets * (sides * self.scale)).flatten(end_dim=1)


def relative_spread(boxes: Tensor) -> Tensor:
    """Standard deviations of the coordinates relative to the mean box's sides, averaged.

    Args:
        boxes: (T, N, 4), T variants of each box.

    Returns:
        (N,), 0 where all variants are the same.
    """
    mean = boxes.mean(dim=0)
    sides = (mean[:, 2:] - mean[:, :2]).clamp(min=1).repeat(1, 2)
    # Not by std(), which warns where there is no box.
    variance = (boxes - mean).square().sum(dim=0) / (len(boxes) - 1)
    return (variance.sqrt() / sides).mean(dim=1)
