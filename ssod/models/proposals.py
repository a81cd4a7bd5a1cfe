"""The region proposal network of a two-stage detector, apart from the rest of it."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.models.features import Features

REGION_LOSSES = 'loss_cls', 'loss_bbox'
"""What mmdet calls the losses of a region head."""


def learns_proposals_alone(detector: BaseDetector, factors: Mapping[str, float]) -> bool:
    """Whether factors leave nothing of a two-stage detector's loss but that of its proposals.

    Args:
        detector: Any of mmdet's; of a cascade the answer is no.
        factors: Of single losses, by their names; 1 where there is none.
    """
    standard = isinstance(getattr(detector, 'roi_head', None), StandardRoIHead)
    with_masks = standard and detector.roi_head.with_mask
    return standard and not with_masks and all(factors.get(name) == 0 for name in REGION_LOSSES)


def proposal_loss(
    detector: BaseDetector, features: Features, samples: list[DetDataSample]
) -> dict[str, Any]:
    """The loss of proposals, as it is in the detector's own.

    Args:
        detector: Two-stage.
        features: Of the images.
        samples: With the boxes to be learnt as ``gt_instances``; they stay as they are.
    """
    return with_names_of_proposals(detector.rpn_head.loss(features, as_objects(samples)))


def proposal_loss_and_proposals(
    detector: BaseDetector, features: Features, samples: list[DetDataSample]
) -> tuple[dict[str, Any], list[InstanceData]]:
    """The same, and the proposals of each image that the detector trains its regions on."""
    cfg = detector.train_cfg.get('rpn_proposal', detector.test_cfg.rpn)
    losses, proposals = detector.rpn_head.loss_and_predict(
        features, as_objects(samples), proposal_cfg=cfg
    )
    return with_names_of_proposals(losses), proposals


def give_proposals(
    detector: BaseDetector, features: Features, samples: list[DetDataSample]
) -> None:
    """Make a two-stage detector's proposals once, for its predictions as well as for regions.

    Args:
        detector: Makes them, if it is two-stage.
        features: Of the images.
        samples: Of the images. They get ``proposals``, if they do not have them; mmdet's detectors
            then predict from these.
    """
    if hasattr(detector, 'roi_head') and any('proposals' not in sample for sample in samples):
        proposals = detector.rpn_head.predict(features, samples, rescale=False)
        for sample, of_image in zip(samples, proposals, strict=True):
            sample.proposals = of_image


def as_objects(samples: list[DetDataSample]) -> list[DetDataSample]:
    """Samples of the same images whose boxes are all of one class.

    Args:
        samples: With ``gt_instances``; they stay as they are.
    """
    objects = []
    for sample in samples:
        objects.append(DetDataSample(metainfo=sample.metainfo))
        objects[-1].gt_instances = sample.gt_instances[:]
        objects[-1].gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
    return objects


def with_names_of_proposals(losses: dict[str, Any]) -> dict[str, Any]:
    """Losses by the names that mmdet's two-stage detectors give those of proposals.

    Args:
        losses: By the names that the region proposal network gives them.
    """
    return {name if 'rpn' in name else f'rpn_{name}': value for name, value in losses.items()}
