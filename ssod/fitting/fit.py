"""Everything that is fitted, in the order of dependence."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ssod.config_parts import innermost
from ssod.data.coco_json import read_coco
from ssod.fitting.anchors import fit_anchors
from ssod.fitting.batch import fit_batch, fit_rate
from ssod.fitting.given import Given
from ssod.fitting.images import fit_images, told_tiny
from ssod.fitting.measures import Machine, measure_labels
from ssod.fitting.schedule import fit_schedule
from ssod.fitting.start import fit_start


def fit_config(
    cfg: Config,
    options: Mapping[str, Any],
    machine: Machine,
    starts: bool = True,
    amp: bool = False,
) -> None:
    """Fit image size, anchors, batch, learning rate, iterations and start to data and machine.

    Each gets a line in the log; the config's ``fitted`` keeps the lines too. What the user gives is
    taken into account and not replaced.

    Args:
        cfg: A config with the user's data, see :func:`ssod.own_data.use_data`; it is changed. The
            user's values are not put into it.
        options: Values that the user gives, with dotted keys.
        machine: The machine it will run on.
        starts: Whether a run is about to start; only then are its weights chosen and downloaded.
        amp: Whether it will compute in mixed precision, whatever the config says.

    Raises:
        OSError: If data or weights do not exist.
        ValueError: If the labelled images have no COCO JSON.
    """
    given = Given(options)
    source = innermost(given.on(cfg).train_dataloader.dataset.datasets[0])
    labels = measure_labels(read_coco(Path(source.get('data_root', ''), source.ann_file)))
    lines: list[tuple[str | None, int]] = [
        (fit_images(cfg, given, labels, machine), logging.INFO),
        (fit_anchors(cfg, given, labels), logging.INFO),
        (told_tiny(cfg, given, labels), logging.WARNING),
        fit_batch(cfg, given, labels, machine, amp),
        (fit_schedule(cfg, given, labels, machine), logging.INFO),
        (fit_rate(cfg, given, machine), logging.INFO),
    ]
    if starts:
        lines.append(fit_start(cfg, given, machine))
    for line, level in lines:
        if line is not None and machine.rank == 0:
            print_log(line, 'current', level)
    cfg.fitted = [line for line, _ in lines if line is not None]
