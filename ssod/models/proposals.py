"""The region proposal network of a two-stage detector, used separately."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.models.features import Features, features_of
from ssod.replaced import replaced


def proposal_settings(detector: BaseDetector) -> Any:
    """The settings by which a two-stage detector selects proposals to train its regions."""
    return detector.train_cfg.get('rpn_proposal', detector.test_cfg.rpn)


def give_proposals(
    detector: BaseDetector, features: Features, samples: list[DetDataSample]
) -> None:
    """Compute a two-stage detector's proposals once, for its predictions and for regions.

    Args:
        detector: A two-stage detector.
        features: Of the images.
        samples: Of the images. They get ``proposals`` unless they have them; mmdet's detectors then
            predict from these.
    """
    if any('proposals' not in sample for sample in samples):
        proposals = detector.rpn_head.predict(features, samples, rescale=False)
        for sample, of_image in zip(samples, proposals, strict=True):
            sample.proposals = of_image


@contextmanager
def keeping_region_predictions(
    detector: BaseDetector, samples: list[DetDataSample]
) -> Iterator[None]:
    """Keep the region head's outputs for the samples' proposals while a detector predicts.

    Args:
        detector: A two-stage detector, which predicts inside this context. Only a Faster R-CNN's
            outputs are kept.
        samples: Their ``proposals`` get the head's ``logits`` (N, K + 1) and ``deltas`` (N, D).
    """
    head: Any = detector.roi_head
    if type(head) is not StandardRoIHead:
        yield
        return
    forward = head._bbox_forward

    def noted(features: Features, rois: Tensor) -> dict[str, Any]:
        """The head's outputs for regions (N, 5); the first regions are the proposals."""
        said: dict[str, Any] = forward(features, rois)
        if any('logits' in sample.proposals for sample in samples):
            return said
        counts = [len(sample.proposals) for sample in samples]
        logits, deltas = (torch.split(said[of], counts) for of in ('cls_score', 'bbox_pred'))
        for sample, *prediction in zip(samples, logits, deltas, strict=True):
            sample.proposals.logits, sample.proposals.deltas = prediction
        return said

    with replaced(head, '_bbox_forward', noted):
        yield


def draw_regions(
    detector: BaseDetector,
    features: Features,
    proposals: list[InstanceData],
    samples: list[DetDataSample],
) -> list[SamplingResult]:
    """The regions of each image to train on, drawn as in ``StandardRoIHead.loss``.

    Args:
        detector: A two-stage detector.
        features: Of the images.
        proposals: Of each image, as the proposal network gives them; they are not changed.
        samples: With the boxes to learn as ``gt_instances``.
    """
    head = detector.roi_head
    truth, ignored, _ = unpack_gt_instances(samples)
    drawn = []
    for i, of_image in enumerate(proposals):
        regions = of_image.new()
        regions.priors = regions.pop('bboxes')
        assigned = head.bbox_assigner.assign(regions, truth[i], ignored[i])
        own = features_of(features, i, i + 1)
        drawn.append(head.bbox_sampler.sample(assigned, regions, truth[i], feats=own))
    return drawn


def as_objects(samples: list[DetDataSample]) -> list[DetDataSample]:
    """Samples of the same images with all boxes in one class.

    Args:
        samples: With ``gt_instances``; they are not changed.
    """
    objects = []
    for sample in samples:
        objects.append(DetDataSample(metainfo=sample.metainfo))
        boxes = dict(sample.gt_instances.items())
        labels = torch.zeros_like(boxes['labels'])
        objects[-1].gt_instances = InstanceData(**{**boxes, 'labels': labels})
        if 'ignored_instances' in sample:
            objects[-1].ignored_instances = sample.ignored_instances
    return objects


def with_names_of_proposals(losses: dict[str, Any]) -> dict[str, Any]:
    """Losses of proposals renamed as in mmdet's two-stage detectors.

    Args:
        losses: By the region proposal network's own names.
    """
    return {name if 'rpn' in name else f'rpn_{name}': value for name, value in losses.items()}
