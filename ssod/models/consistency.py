"""The consistency loss: student and teacher should judge the same regions alike."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.instances import images_of_boxes, split_instances
from ssod.losses.consistency import (
    box_distance,
    class_distance,
    foreground,
    mean_over_regions,
)
from ssod.models.class_verifier import verified
from ssod.models.features import Features
from ssod.models.regions import boxes_of_class, region_head
from ssod.projection import share_inside
from ssod.schedules import weight_schedule
from ssod.strict import check_ranges, strict_settings

Verify = Callable[[list[Tensor]], Tensor]
"""For the regions (N, 4) of each image, the logarithms of their classes' probabilities, (N, K) for
those of all images."""


@strict_settings
class Consistency:
    """Distance between the class distributions and boxes of student and teacher.

    The teacher proposes regions in the weak view and judges them; the student judges the same
    regions in the strong view. After Mean Teacher (Tarvainen & Valpola 2017, section 2); boxes as
    in CSD (Jeong et al. 2019, section 3.2), weighted by the teacher's foreground probability.

    Args:
        detector: Student or teacher; both are the same kind of detector.
        weight: α, a number or a schedule over the iterations since the burn-in.
        kind: Distance between class distributions, ``'mse'`` or ``'kl'``.
        num_regions: Most regions per image, at least 1.
        box_weight: Weight of the distance between boxes, relative to that of the classes; at least
            0.

    Raises:
        ValueError: If a setting is out of its range or the detector cannot judge given regions.
    """

    def __init__(
        self,
        detector: BaseDetector,
        weight: float | Mapping[str, Any] = 1.0,
        kind: str = 'mse',
        num_regions: int = 128,
        box_weight: float = 1.0,
    ) -> None:
        if kind not in ('mse', 'kl'):
            raise ValueError(f"consistency: kind is {kind!r}, but must be 'mse' or 'kl'")
        check_ranges(
            'consistency',
            ('num_regions', num_regions, num_regions >= 1, 'at least 1'),
            ('box_weight', box_weight, box_weight >= 0, 'at least 0'),
        )
        self.weight = weight_schedule('consistency: weight', weight)
        self.kind = kind
        self.num_regions = num_regions
        self.box_weight = box_weight
        self.head = region_head(detector)

    def regions(
        self,
        teacher: BaseDetector,
        features: Features,
        samples: list[DetDataSample],
        verify: Verify | None = None,
    ) -> list[InstanceData]:
        """The teacher's regions of each image, with its prediction.

        Args:
            teacher: Proposes and judges them.
            features: Its features of the weak views.
            samples: The weak views' samples.
            verify: Classifies the regions too; with ``None`` only the teacher does.

        Returns:
            For each image ``priors`` (N, 4) and the share of each that is inside the view,
            ``visible`` (N,), ``logits`` (N, K) or with a softmax (N, K + 1), and ``bboxes`` (N, 4)
            and ``labels`` (N,) of the best class.
        """
        regions, predictions = self.head.propose(teacher, features, samples, self.num_regions)
        logits, boxes = (torch.cat(of_images) for of_images in zip(*predictions, strict=True))
        logits = logits.chunk(2, dim=1)[0] if self.head.two_heads else logits
        if verify is not None:
            which = verify([of_image.priors for of_image in regions])
            logits = verified(logits, which, self.head.softmax)
        classes = logits[:, :-1] if self.head.softmax else logits
        counts = [len(of_image) for of_image in regions]
        shapes = torch.tensor([sample.img_shape[:2] for sample in samples])
        together = InstanceData.cat(regions)
        together.visible = share_inside(together.priors, shapes[images_of_boxes(counts)])
        together.logits = logits
        together.labels = classes.argmax(dim=1)
        together.bboxes = boxes_of_class(boxes, together.labels)
        return split_instances(together, counts)

    def loss(
        self,
        student: BaseDetector,
        features: Features,
        samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """The student's distance from the teacher.

        Args:
            student: Judges the regions.
            features: Of the strong views.
            samples: The strong views', with the teacher's ``regions`` in their pixels; those that
                the detector cannot judge are left out.

        Returns:
            ``loss_cls`` and ``loss_bbox``, both 0 where there are no regions.
        """
        regions = [self.head.comparable(s.regions, s.img_shape) for s in samples]
        predictions = self.head.evaluate(student, features, regions)
        teacher = InstanceData.cat(regions)
        logits = torch.cat([logits for logits, _ in predictions])
        logits = logits.chunk(2, dim=1)[1] if self.head.two_heads else logits
        boxes = boxes_of_class(torch.cat([boxes for _, boxes in predictions]), teacher.labels)
        certain = foreground(teacher.logits, self.head.softmax)
        of_class = class_distance(logits, teacher.logits, self.kind, self.head.softmax)
        of_box = box_distance(boxes, teacher.bboxes, teacher.priors)
        return {
            'loss_cls': mean_over_regions(of_class, torch.ones_like(certain)),
            'loss_bbox': self.box_weight * mean_over_regions(of_box, certain),
        }
