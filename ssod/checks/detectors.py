"""Checks whether a detector can be a teacher."""

from typing import Any

from ssod.config_parts import dicts_in

UNFIT = {
    'TridentFasterRCNN': 'makes three sets of features per image',
    'GARPNHead': 'predicts on one image at a time',
    'GARetinaHead': 'predicts on one image at a time',
    'CenterNet': 'needs the padded borders of images, which views do not have',
    'FastRCNN': 'reads its proposals from a file',
    'DynamicRoIHead': 'has a state that no checkpoint holds',
    'CrowdDet': 'learns several objects per region',
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
        name: Where the config has it, for the message.

    Raises:
        ValueError: If it cannot; says why.
    """
    parts = list(dicts_in(detector))
    if any(OF_MASKS & part.keys() for part in parts):
        raise ValueError(
            f'{name}: {detector.type} learns masks, but pseudo-boxes have none; use a detector of '
            f'boxes'
        )
    if any('language_model' in part for part in parts):
        raise ValueError(
            f'{name}: {detector.type} takes a text prompt of what to find; use a detector with '
            f'fixed classes'
        )
    for part in parts:
        if part.get('type') in UNFIT:
            raise ValueError(f'{name}: {part.type} {UNFIT[part.type]}; use another detector')


def may_leave_parts_out(model: Any) -> bool:
    """Whether some batches teach only a part of a model, so that ranks would wait for the rest.

    Args:
        model: Its config.
    """
    return any(part.get('type') in IDLE_WITHOUT_BOXES for part in dicts_in(model))
