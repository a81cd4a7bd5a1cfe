"""The weights that a run starts from: the best that can be had."""

import logging
from pathlib import Path

from mmengine.config import Config

from ssod.checkpoints import load_checkpoint
from ssod.fitting.given import Given
from ssod.fitting.measures import Machine
from ssod.models.pretrained import fetch_weights, named_weights


def fit_start(cfg: Config, given: Given, machine: Machine) -> tuple[str, int]:
    """Start from the detector that the config names, or else from its backbone's weights.

    A detector that cannot be downloaded gives way to the backbone, unless there are several
    processes, of which some may have it. A backbone's weights that cannot be downloaded are done
    without if the detector has them; otherwise they are an error when the model is built.

    Args:
        cfg: The config; it is changed.
        given: What the user asks for.
        machine: What it runs on.

    Returns:
        What it starts from, and the level of the log at which to say it.

    Raises:
        FileNotFoundError: If the detector's weights are a file that does not exist.
        ConnectionError: If they cannot be downloaded and nothing may take their place.
    """
    asked = given.on(cfg)
    model = asked.model.get('detector', asked.model)
    detector, backbone = asked.get('load_from'), named_weights(model)
    instead = 'all random'
    if backbone is not None:
        instead = f'the backbone, {backbone}'
    if detector is None:
        if backbone is not None:
            return f'start weights: {instead}', logging.INFO
        remedy = '--cfg-options load_from=FILE names a detector to start from'
        return f'start weights: {instead}, for the config names none; {remedy}', logging.WARNING
    try:
        file = fetch_weights(detector)
    except ConnectionError as error:
        if given.has('load_from') or machine.processes > 1:
            raise
        cfg.load_from = None
        return (
            f'start weights: {instead}, for the detector is not to be had: {error}',
            logging.WARNING,
        )
    told = f'start weights: the detector {detector}'
    if _spare_backbone(cfg, file):
        told += f', also for the backbone, as {backbone} is not to be had'
    return told, logging.INFO


def _spare_backbone(cfg: Config, detector: Path) -> bool:
    """Begin with a detector's backbone where the backbone's own weights cannot be downloaded."""
    backbone = cfg.model.detector.get('backbone') or {}
    own = backbone.get('init_cfg') or {}
    if own.get('type') != 'Pretrained':
        return False
    try:
        fetch_weights(own['checkpoint'])
    except ConnectionError:
        content = load_checkpoint(str(detector), 'cpu')
        for name in ('backbone', 'student.backbone'):
            if any(key.startswith(f'{name}.') for key in content.get('state_dict', content)):
                own.update(checkpoint=str(detector), prefix=name)
                return True
    return False
