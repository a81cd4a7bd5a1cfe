"""Checks of a detector that is to be a teacher."""

from typing import Any

from ssod.config_parts import dicts_in

UNFIT = {
    'TridentFasterRCNN': 'makes three sets of features of each image',
    'GARPNHead': 'predicts on one image at a time',
    'GARetinaHead': 'predicts on one image at a time',
    'CenterNet': 'wants to know padded borders, which views do not have',
    'FastRCNN': 'has its proposals from a file',
    'DynamicRoIHead': 'remembers what no checkpoint holds',
    'CrowdDet': 'learns several objects of each region at once',
    'SSDHead': "fails in mmdet's own predictions",
    'KnowledgeDistillationSingleStageDetector': 'has a teacher of its own',
    'LAD': 'has a teacher of its own',
}
"""Detectors and heads that cannot be teachers, and why."""
IDLE_WITHOUT_BOXES = {'FoveaHead', 'YOLOFHead', 'GridRoIHead'}
"""Heads of which parts have no loss at all in a batch without boxes."""
OF_MASKS = {'mask_head', 'panoptic_head', 'loss_mask'}
"""Settings of detectors that learn masks."""


def check_detector(detector: Any, name: str) -> None:
    """Refuse a detector that cannot be a teacher of boxes.

    Args:
        detector: Its config.
        name: Where it stands.

    Raises:
        ValueError: Says why.
    """
    parts = list(dicts_in(detector))
    if any(OF_MASKS & part.keys() for part in parts):
        raise ValueError(
            f'{name}: {detector.type} learns masks, and pseudo-boxes have none; take a detector of '
            f'boxes'
        )
    if any('language_model' in part for part in parts):
        raise ValueError(
            f'{name}: {detector.type} wants to be told in words what to find; take a detector of '
            f'fixed classes'
        )
    for part in parts:
        if part.get('type') in UNFIT:
            raise ValueError(f'{name}: {part.type} {UNFIT[part.type]}; take another detector')


def may_leave_parts_out(model: Any) -> bool:
    """Whether some batches teach only a part of a model, so that ranks would wait for the rest.

    Args:
        model: Its config.
    """
    return any(part.get('type') in IDLE_WITHOUT_BOXES for part in dicts_in(model))
