"""What is inside a config, and its parts that go together."""

import math
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

RESIZES = {'Resize': 'scale', 'RandomResize': 'scale', 'RandomChoiceResize': 'scales'}
"""Transforms that say how large images are made, and in which setting: width and height."""


def dicts_in(value: Any) -> Iterator[ConfigDict]:
    """All dicts inside a config, from the outside in."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from dicts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from dicts_in(inner)


def transforms_in(value: Any) -> Iterator[list[ConfigDict]]:
    """All lists of transforms inside a config, those inside of transforms too."""
    for part in dicts_in(value):
        for inner in part.values():
            steps = inner if isinstance(inner, list) else []
            if steps and all(isinstance(step, dict) and 'type' in step for step in steps):
                yield steps


def set_number_of_classes(model: Any, number: int) -> None:
    """Give all heads of a model's config as many classes.

    Args:
        model: The config; it is changed.
        number: How many, at least 1.
    """
    for part in dicts_in(model):
        if 'num_classes' in part:
            part['num_classes'] = number


def validation_size(cfg: Config) -> tuple[int, int] | None:
    """The size that images are made for scoring; ``None`` if the config makes them no size."""
    for part in dicts_in(cfg.test_dataloader):
        if part.get('type') == 'Resize' and 'scale' in part:
            width, height = both_sides(part.scale)
            return width, height
    return None


def scale_sizes(cfg: Config, factors: tuple[float, float]) -> None:
    """Make the images of all data sets larger or smaller, in training and scoring alike.

    The mosaics of MixPL's hook too.

    Args:
        cfg: The config; it is changed.
        factors: Of the first number of each size, and of the second.
    """
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    # Each once, though two loaders may share a pipeline.
    for part in {id(part): part for part in dicts_in(loaders)}.values():
        key = RESIZES.get(part.get('type'))
        if key in part:
            part[key] = _scaled(both_sides(part[key]), factors)
        crop = absolute_crop(part)
        if crop is not None:
            part.crop_size = _scaled(crop, factors[::-1])
    for part in dicts_in(cfg.get('default_hooks') or {}):
        if 'mosaic_sides' in part:
            # Of height and width alike.
            part.mosaic_sides = _scaled(part.mosaic_sides, 2 * (math.sqrt(math.prod(factors)),))


def both_sides(scale: Any) -> Any:
    """A size of images as two numbers, for which mmdet's transforms also take one."""
    return (scale, scale) if isinstance(scale, int) else scale


def absolute_crop(part: ConfigDict) -> tuple[int, int] | None:
    """Height and width in pixels that a transform cuts out of images; ``None`` if it does not."""
    if part.get('type') != 'RandomCrop' or part.get('crop_type', 'absolute') != 'absolute':
        return None
    height, width = part.crop_size
    return height, width


def _scaled(scale: Any, factors: tuple[float, float]) -> Any:
    """A size, or several of them, times the factors."""
    if isinstance(scale[0], int):
        return tuple(round(s * f) for s, f in zip(scale, factors, strict=True))
    return [_scaled(both_sides(s), factors) for s in scale]
