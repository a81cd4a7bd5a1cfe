"""Soft Teacher (Xu et al., End-to-End Semi-Supervised Object Detection..., ICCV 2021).

This module has its loss on the strong views: separate sets of pseudo-boxes for classes and for box
regression, and background regions weighted by the teacher's probability of background.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.instances import images_of_boxes
from ssod.losses.named import Losses
from ssod.models.box_jitter import BoxJitter
from ssod.models.features import Features
from ssod.models.proposals import (
    as_objects,
    draw_regions,
    proposal_settings,
    with_names_of_proposals,
)
from ssod.models.region_sampling import sampling_by_image
from ssod.models.regions import two_stage_regions
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.models.two_heads import TwoHeadBBoxHead
from ssod.models.two_stream_preprocessor import refuse_resizing
from ssod.projection import project_boxes
from ssod.pseudo_labels.selectors import chosen
from ssod.strict import check_ranges, strict_settings


@dataclass
class WeakView:
    """A weak view, on which the teacher judges the student's regions.

    Attributes:
        features: The teacher's features of the whole batch of weak views.
        index: Index of the image in that batch.
        img_shape: Height and width of the weak view.
        from_strong: (3, 3) homography from the strong view.
    """

    features: Features
    index: int
    img_shape: tuple[int, int]
    from_strong: Tensor


@MODELS.register_module()
@strict_settings
class SoftTeacherDetector(SemiSupervisedDetector):
    """The losses of Soft Teacher, for detectors like Faster R-CNN.

    The selector of the teacher's hook keeps candidates (section 3.3: scores from 0.5). Of these,

    - boxes with a high score (``score_threshold``) train the region proposal network and the
      classes,
    - boxes that hardly move when jittered (``uncertainty_threshold``, equations 8 and 9) train the
      box regression,
    - and regions without a box count as background in proportion to the teacher's probability that
      they are background, with weights normalized to a mean of 1 (equations 5 and 6).

    Args:
        detector: Config of the detector, for student and teacher alike.
        data_preprocessor: As in ``SemiSupervisedDetector``.
        score_threshold: Boxes with a higher score train the proposals and classes.
        uncertainty_threshold: Boxes with a lower uncertainty train the box regression.
        box_jitter: Settings of :class:`~ssod.models.box_jitter.BoxJitter`.
        pseudo_weight: λ; the paper has 4.
        consistency: As in ``SemiSupervisedDetector``; the paper has none.

    Raises:
        ValueError: If the detector is not two-stage with one region head and a softmax, or the
            preprocessor would resize whole batches, whose regions the teacher judges.
    """

    weighs_boxes = False
    needs_soft_targets = True

    def __init__(
        self,
        detector: dict[str, Any],
        data_preprocessor: dict[str, Any],
        score_threshold: float = 0.9,
        uncertainty_threshold: float = 0.02,
        box_jitter: Mapping[str, Any] | None = None,
        pseudo_weight: float | Mapping[str, Any] = 4.0,
        consistency: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            detector, data_preprocessor, pseudo_weight=pseudo_weight, consistency=consistency
        )
        check_ranges(
            'SoftTeacherDetector',
            ('score_threshold', score_threshold, 0 <= score_threshold <= 1, 'in [0, 1]'),
            ('uncertainty_threshold', uncertainty_threshold, uncertainty_threshold > 0, 'above 0'),
        )
        self.score_threshold = score_threshold
        self.uncertainty_threshold = uncertainty_threshold
        roi_head = getattr(self.student, 'roi_head', None)
        if (
            two_stage_regions(self.student) is None
            or not isinstance(roi_head, StandardRoIHead)
            or roi_head.bbox_head.loss_cls.use_sigmoid
            or isinstance(roi_head.bbox_head, TwoHeadBBoxHead)
        ):
            raise ValueError(
                f'SoftTeacherDetector: {type(self.student).__name__} has no single region head '
                f'with one softmax; use Faster R-CNN, or another recipe'
            )
        refuse_resizing(self.data_preprocessor.data_preprocessor)
        self.box_jitter = BoxJitter(self.student, **(box_jitter or {}))

    def soft_targets(
        self,
        inputs: Tensor,
        features: Features,
        samples: list[DetDataSample],
        predictions: list[InstanceData],
    ) -> list[Any]:
        """The teacher's features of all views, each view's index in them and its shape.

        And its regions of the consistency loss, ``None`` if there is none.
        """
        regions = super().soft_targets(inputs, features, samples, predictions) or [None] * len(
            samples
        )
        return [
            (features, index, sample.img_shape, regions[index])
            for index, sample in enumerate(samples)
        ]

    def set_soft_targets(
        self, targets: list[Any], strong: list[DetDataSample], matrices: Tensor
    ) -> None:
        """See the base."""
        for sample, target, matrix in zip(strong, targets, matrices.inverse(), strict=True):
            features, index, img_shape, _ = target
            sample.weak_view = WeakView(features, index, img_shape, from_strong=matrix)
        if self.consistency is not None:
            super().set_soft_targets([regions for *_, regions in targets], strong, matrices)

    def pseudo_loss(
        self, features: Features, inputs: Tensor, strong: list[DetDataSample]
    ) -> Losses:
        """The loss of proposals, classes and boxes, each with its own pseudo-boxes."""
        certain = [_with_boxes(s, s.gt_instances.scores > self.score_threshold) for s in strong]
        placed = [
            _with_boxes(s, s.gt_instances.uncertainties < self.uncertainty_threshold)
            for s in strong
        ]
        with sampling_by_image(self._samplers, strong):
            losses, proposals = self.student.rpn_head.loss_and_predict(
                features, as_objects(certain), proposal_cfg=proposal_settings(self.student)
            )
            of_classes = draw_regions(self.student, features, proposals, certain)
            of_boxes = draw_regions(self.student, features, proposals, placed)
        of_regions = self._region_loss(features, of_classes, of_boxes, strong)
        return with_names_of_proposals(losses) | of_regions

    def _region_loss(
        self,
        features: Features,
        of_classes: list[SamplingResult],
        of_boxes: list[SamplingResult],
        strong: list[DetDataSample],
    ) -> Losses:
        """The loss of the region head, from one pass for the class and box regions.

        Box regions without an object have no loss and are left out.
        """
        roi_head = self.student.roi_head
        head, cfg = roi_head.bbox_head, self.student.train_cfg.rcnn
        # Before the student's pass, so that not both need memory at the same time.
        background = self._background(of_classes, strong)
        rois = bbox2roi([r.priors for r in of_classes])
        placed = bbox2roi([r.pos_priors for r in of_boxes])
        found = roi_head._bbox_forward(features, torch.cat([rois, placed]))
        scores, boxes = found['cls_score'], found['bbox_pred']

        labels, weights, *_ = head.get_targets(of_classes, cfg)
        weights = torch.where(labels == head.num_classes, background.to(weights.dtype), weights)
        scores = scores[: len(rois)]
        losses: Losses = head.loss(scores, None, rois, labels, weights, None, None)
        if len(rois):  # Without any region, mmdet's head has no such loss.
            # It divides by the number of regions; dividing by their weight gives the mean.
            losses['loss_cls'] = losses['loss_cls'] * (len(weights) / weights.sum().clamp(min=1))

        per_image = zip(*head.get_targets(of_boxes, cfg, concat=False), of_boxes, strict=True)
        on_objects = [[t[: len(r.pos_priors)] for t in targets] for *targets, r in per_image]
        targets = [torch.cat(parts) for parts in zip(*on_objects, strict=True)]
        losses |= head.loss(None, boxes[len(rois) :], placed, *targets)
        # The same here, where the number is that of all sampled regions.
        losses['loss_bbox'] *= len(placed) / max(sum(len(r.priors) for r in of_boxes), 1)
        return losses

    @torch.no_grad()
    def _background(self, sampled: list[SamplingResult], strong: list[DetDataSample]) -> Tensor:
        """The teacher's probability that regions of the strong views are background, (N,)."""
        # Taken out of the samples, which live until the backward pass is done.
        views = [sample.pop('weak_view') for sample in strong]
        images = images_of_boxes([len(result.priors) for result in sampled])
        matrices = torch.stack([view.from_strong for view in views])[images]
        shapes = torch.tensor([view.img_shape[:2] for view in views])[images]
        boxes = project_boxes(torch.cat([r.priors for r in sampled]), matrices, shapes)
        indices = torch.tensor([view.index for view in views], dtype=boxes.dtype)[images]
        rois = torch.cat([indices.to(boxes.device, non_blocking=True)[:, None], boxes], dim=1)
        found = self.teacher.roi_head._bbox_forward(views[0].features, rois)
        return found['cls_score'].float().softmax(dim=1)[:, -1]


def _with_boxes(sample: DetDataSample, which: Tensor) -> DetDataSample:
    """A sample of the same image with the boxes that a mask (N,) selects."""
    some = DetDataSample(metainfo=sample.metainfo)
    some.gt_instances = chosen(sample.gt_instances, which)
    return some
