"""Anchors that cover the labelled boxes, for detectors that have an ``AnchorGenerator``."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmdet.models.task_modules import AnchorGenerator
from mmengine.config import Config, ConfigDict
from numpy.typing import NDArray

from ssod.config_parts import validation_size
from ssod.fitting.given import Given
from ssod.fitting.images import at_training_size
from ssod.fitting.measures import Labels

COVERED = 0.5
"""A box is covered if its IoU with the best anchor is at least this."""
ENOUGH = 0.9
"""If this share of the boxes is covered, the anchors stay as they are."""
GAIN = 0.05
"""How much the share must grow at least: a pretrained detector has learnt its own anchors."""
JUDGED = 10_000
"""Boxes that are looked at, fewer than twice as many, evenly chosen from all."""
STEPS = sorted(range(-12, 13), key=abs)
"""Anchors are tried at 2 ** (step / 4) times their size, small changes first."""

Boxes = NDArray[np.float64]
"""(N, 2): widths and heights."""
Anchors = NDArray[np.float64]
"""(A, 3): widths, heights, and the strides of their maps."""


def best_ious(boxes: Boxes, anchors: Anchors) -> NDArray[np.float64]:
    """The IoU of each box with its best anchor.

    Their centres are apart, in either direction, by the average distance of a box from the nearest
    place of a map: a quarter of the stride.

    Args:
        boxes: (N, 2).
        anchors: (A, 3), at least one.

    Returns:
        (N,), each in [0, 1].
    """
    sides, away = anchors[None, :, :2], anchors[None, :, 2:] / 4
    overlaps = np.minimum(np.minimum(boxes[:, None], sides), (boxes[:, None] + sides) / 2 - away)
    common = overlaps.clip(min=0).prod(axis=2)
    both = boxes.prod(axis=1)[:, None] + sides.prod(axis=2) - common
    best: NDArray[np.float64] = (common / both).max(axis=1)
    return best


def coverage(boxes: Boxes, anchors: Anchors) -> float:
    """The share of the boxes that an anchor covers."""
    return float((best_ious(boxes, anchors) >= COVERED).mean())


def anchors_of(setting: Mapping[str, Any]) -> Anchors:
    """The anchors that an ``AnchorGenerator`` makes at one place of each map."""
    generator = AnchorGenerator(**{k: v for k, v in setting.items() if k != 'type'})
    rows = []
    for stride, made in zip(generator.strides, generator.base_anchors, strict=True):
        corners = made.double().numpy()
        strides = np.full((len(corners), 1), max(stride))
        rows.append(np.concatenate([corners[:, 2:] - corners[:, :2], strides], axis=1))
    return np.concatenate(rows)


def fitted_anchors(setting: Mapping[str, Any], boxes: Boxes) -> dict[str, Any]:
    """The settings of the anchors that cover most boxes; the number of anchors stays.

    So a detector's weights still fit. Among settings that cover equally many, to a percent, the
    largest mean IoU decides.

    Args:
        setting: Of an ``AnchorGenerator``.
        boxes: (N, 2), at least one.

    Returns:
        What replaces the setting's own; empty if that is best.
    """
    best, changes = (-1.0, -1.0), {}
    for candidate in _candidates(setting, boxes):
        ious = best_ious(boxes, anchors_of({**setting, **candidate}))
        quality = round(float((ious >= COVERED).mean()), 2), float(ious.mean())
        if quality > best:
            best, changes = quality, candidate
    return changes


def _candidates(setting: Mapping[str, Any], boxes: Boxes) -> Iterator[dict[str, Any]]:
    ratios = [dict[str, Any]()]
    number = len(setting['ratios'])
    if number > 1:
        # The median ratio of each of that many equal parts of the boxes.
        shares = (np.arange(number) + 0.5) / number
        quantiles = np.quantile(boxes[:, 1] / boxes[:, 0], shares, method='inverted_cdf')
        rounded = [_three_digits(float(q)) for q in quantiles]
        if len(set(rounded)) == number:
            ratios.append({'ratios': rounded})
    for step in STEPS:
        for shapes in ratios:
            yield {**_sizes(setting, 2 ** (step / 4) if step else 1), **shapes}


def _sizes(setting: Mapping[str, Any], factor: float) -> dict[str, Any]:
    if factor == 1:
        return {}
    if setting.get('scales') is None:
        return {'octave_base_scale': _three_digits(setting['octave_base_scale'] * factor)}
    return {'scales': [_three_digits(scale * factor) for scale in setting['scales']]}


def fit_anchors(cfg: Config, given: Given, labels: Labels) -> str | None:
    """Fit a detector's anchors if its own do not cover the labelled boxes.

    A head with a single anchor at each place is left alone: it chooses by centres, not by IoU.

    Args:
        cfg: The config, with its images fitted already; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.

    Returns:
        What was done; ``None`` where there is nothing to fit.
    """
    setting = generator_of(cfg.model.detector)
    scale = validation_size(given.on(cfg))
    if setting is None or scale is None or given.names('anchor_generator') or not len(labels.boxes):
        return None
    boxes = at_training_size(labels, scale)[:: max(1, len(labels.boxes) // JUDGED)]
    before = coverage(boxes, anchors_of(setting))
    changes = fitted_anchors(setting, boxes) if before < ENOUGH else {}
    after = coverage(boxes, anchors_of({**setting, **changes}))
    if after < before + GAIN:
        return f"anchors: the config's own cover {before:.0%} of the labelled boxes"
    setting.update(changes)
    told = ', '.join(f'{name} {value}' for name, value in changes.items())
    return f'anchors: {told}, which cover {after:.0%} of the labelled boxes instead of {before:.0%}'


def generator_of(detector: ConfigDict) -> ConfigDict | None:
    """The ``AnchorGenerator`` of a detector's config, if IoUs with its anchors matter."""
    for name in ('rpn_head', 'bbox_head'):
        setting = (detector.get(name) or {}).get('anchor_generator') or ConfigDict()
        if setting.get('type') == 'AnchorGenerator':
            sizes = len(setting.get('scales') or range(setting.get('scales_per_octave', 1)))
            return setting if sizes * len(setting.ratios) > 1 else None
    return None


def _three_digits(value: float) -> float:
    return float(f'{value:.3g}')
