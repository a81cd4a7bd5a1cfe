"""The weights that a run starts from: the best available."""

import logging
from pathlib import Path

from mmengine.config import Config

from ssod.checkpoints import load_checkpoint
from ssod.fitting.given import Given
from ssod.fitting.measures import Machine
from ssod.weight_files import fetch_weights, named_weights


def fit_start(cfg: Config, given: Given, machine: Machine) -> tuple[str, int]:
    """Start from the detector that the config names, or else from its backbone's weights.

    If the detector cannot be downloaded, the backbone's weights are used instead, unless there are
    several processes, some of which may have it. If the backbone's weights cannot be downloaded,
    the detector's are used for the backbone; without them, building the model raises an error.

    Args:
        cfg: The config; it is changed.
        given: What the user asks for.
        machine: The machine it runs on.

    Returns:
        What it starts from, and at which level to log it.

    Raises:
        FileNotFoundError: If the detector's weights are a file that does not exist.
        ConnectionError: If they cannot be downloaded and may not be replaced.
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
        remedy = 'to start from a detector, give --cfg-options load_from=FILE'
        return f'start weights: {instead}: the config names none; {remedy}', logging.WARNING
    try:
        file = fetch_weights(detector)
    except ConnectionError as error:
        if given.has('load_from') or machine.processes > 1:
            raise
        cfg.load_from = None
        return (
            f'start weights: {instead}; the detector cannot be downloaded: {error}',
            logging.WARNING,
        )
    told = f'start weights: the detector {detector}'
    if _spare_backbone(cfg, file):
        told += f', also for the backbone, because {backbone} cannot be downloaded'
    return told, logging.INFO


def _spare_backbone(cfg: Config, detector: Path) -> bool:
    """Use the detector's backbone if the backbone's own weights cannot be downloaded."""
    backbone = cfg.model.detector.get('backbone') or {}
    given = backbone.get('init_cfg') or {}
    inits = given if isinstance(given, list) else [given]
    own = next((init for init in inits if init.get('type') == 'Pretrained'), None)
    if own is None:
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
