"""What is inside a config, and its parts that go together."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

RESIZES = {'Resize': 'scale', 'RandomResize': 'scale', 'RandomChoiceResize': 'scales'}
"""Transforms that say how large images are made, and in which setting."""


def dicts_in(value: Any) -> Iterator[ConfigDict]:
    """All dicts inside a config, from the outside in."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from dicts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from dicts_in(inner)


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
            return part.scale[0], part.scale[1]
    return None


def scale_sizes(cfg: Config, factors: tuple[float, float]) -> None:
    """Make the images of all data sets larger or smaller, in training and scoring alike.

    Args:
        cfg: The config; it is changed.
        factors: Of the first number of each size, and of the second.
    """
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    # Each once, though two loaders may share a pipeline.
    for part in {id(part): part for part in dicts_in(loaders)}.values():
        key = RESIZES.get(part.get('type'))
        if key in part:
            part[key] = _scaled(part[key], factors)


def _scaled(scale: Any, factors: tuple[float, float]) -> Any:
    """A size, or several of them, times the factors."""
    if isinstance(scale[0], int):
        return tuple(round(s * f) for s, f in zip(scale, factors, strict=True))
    return [_scaled(s, factors) for s in scale]
