"""A Faster R-CNN's losses of the parts of a batch, from one pass of its heads.

A loss is normalized over its images, so labelled images and strong views have one each. The heads'
outputs for an image do not depend on the other images; running the heads again for each part made
the student of a small detector 10 % slower (two cores, digits).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models import BaseDetector, TwoStageDetector
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.samplers import BaseSampler, SamplingResult
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from torch.nn.modules.batchnorm import _BatchNorm

from ssod.losses.named import Losses
from ssod.models.batched_rpn_head import BatchedRPNHead
from ssod.models.box_weights import weighted_boxes
from ssod.models.features import Features, features_of
from ssod.models.proposals import (
    as_objects,
    draw_regions,
    proposal_settings,
    with_names_of_proposals,
)
from ssod.models.region_sampling import sampling_by_image
from ssod.models.regions import judges_boxes

Samples = list[DetDataSample]
"""Samples with the boxes to learn as ``gt_instances``, which may have ``weights``."""

REGION_LOSSES = 'loss_cls', 'loss_bbox'
"""mmdet's names for the losses of a region head."""


def is_faster_rcnn(detector: BaseDetector) -> bool:
    """Whether a detector's loss is the one that is computed here."""
    roi_head: Any = getattr(detector, 'roi_head', None)
    return (
        isinstance(detector, TwoStageDetector)
        and type(detector).loss is TwoStageDetector.loss
        and type(getattr(detector, 'rpn_head', None)) in (RPNHead, BatchedRPNHead)
        and type(roi_head) is StandardRoIHead
        and not roi_head.with_mask
        and judges_boxes(roi_head.bbox_head)
        # Its outputs for an image would depend on the other part's images.
        and not any(isinstance(part, _BatchNorm) for part in roi_head.modules())
    )


def learns_proposals_alone(detector: BaseDetector, factors: Mapping[str, float]) -> bool:
    """Whether the factors leave only the proposals' part of a Faster R-CNN's loss.

    Args:
        detector: Any of mmdet's; for any but a Faster R-CNN the answer is no.
        factors: Factors of single losses by name; 1 where there is none.
    """
    # A head of its own may have more losses than those two.
    return (
        is_faster_rcnn(detector)
        and type(detector.roi_head.bbox_head).loss is BBoxHead.loss
        and all(factors.get(name) == 0 for name in REGION_LOSSES)
    )


def losses_of_parts(
    detector: BaseDetector,
    samplers: Sequence[BaseSampler],
    features: Features,
    labeled: Samples,
    strong: Samples,
    strong_regions: bool,
) -> tuple[Losses, Losses]:
    """The loss of each part, as ``TwoStageDetector.loss`` computes it of that part alone.

    Args:
        detector: A Faster R-CNN.
        samplers: Its random samplers, see :mod:`ssod.models.region_sampling`.
        features: Of all images, labelled ones first; one map (B, C, H, W) for each level.
        labeled: The labelled images' samples.
        strong: The strong views' samples.
        strong_regions: Whether strong views train the region head too; otherwise they train only
            the proposals.

    Returns:
        The losses of the labelled images and those of the strong views, by mmdet's names.
    """
    maps, border = detector.rpn_head(features), len(labeled)
    of_labeled = [features_of(of_kind, 0, border) for of_kind in maps]
    of_strong = [features_of(of_kind, border, border + len(strong)) for of_kind in maps]
    supervised = _of_proposals(detector, samplers, of_labeled, labeled)
    pseudo = _of_proposals(detector, samplers, of_strong, strong)
    taught = [labeled, strong] if strong_regions else [labeled]
    drawn = _draw(detector, samplers, features, maps, taught)
    of_regions = _of_regions(detector, features, drawn, taught)
    supervised |= of_regions[0]
    if strong_regions:
        pseudo |= of_regions[1]
    return supervised, pseudo


def _of_proposals(
    detector: BaseDetector,
    samplers: Sequence[BaseSampler],
    maps: Sequence[Features],
    samples: Samples,
) -> Losses:
    """The loss of one part's proposals, from the proposal network's outputs for its images."""
    with weighted_boxes(detector, samples), sampling_by_image(samplers, samples):
        truth, ignored, metas = unpack_gt_instances(as_objects(samples))
        losses = detector.rpn_head.loss_by_feat(*maps, truth, metas, ignored)
    return with_names_of_proposals(losses)


def _draw(
    detector: BaseDetector,
    samplers: Sequence[BaseSampler],
    features: Features,
    maps: Sequence[Features],
    parts: Sequence[Samples],
) -> list[list[SamplingResult]]:
    """The regions of each image of each part."""
    samples = [sample for part in parts for sample in part]
    metas = [sample.metainfo for sample in samples]
    proposals = detector.rpn_head.predict_by_feat(
        *(features_of(of_kind, 0, len(samples)) for of_kind in maps),
        batch_img_metas=metas,
        cfg=proposal_settings(detector),
    )
    with sampling_by_image(samplers, samples):
        drawn = draw_regions(detector, features, proposals, samples)
    left = iter(drawn)
    return [[next(left) for _ in part] for part in parts]


def _of_regions(
    detector: BaseDetector,
    features: Features,
    drawn: Sequence[Sequence[SamplingResult]],
    parts: Sequence[Samples],
) -> list[Losses]:
    """The losses of each part's regions."""
    head = detector.roi_head
    rois = bbox2roi([region.priors for of_part in drawn for region in of_part])
    found = head._bbox_forward(features, rois)
    sizes = [sum(len(region.priors) for region in of_part) for of_part in drawn]
    predictions = [whole.split(sizes) for whole in (found['cls_score'], found['bbox_pred'], rois)]
    losses = []
    for samples, of_part, *prediction in zip(parts, drawn, *predictions, strict=True):
        with weighted_boxes(detector, samples):
            taught = head.bbox_head.loss_and_target(*prediction, of_part, head.train_cfg)
        losses.append(taught['loss_bbox'])
    return losses
