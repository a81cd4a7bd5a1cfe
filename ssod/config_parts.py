"""What is inside a config, and its parts that go together."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from mmengine.config import Config, ConfigDict

CONFIGS = ('.json', '.py', '.yaml', '.yml')
"""What the names of configs end with."""
RESIZES = {'Resize': 'scale', 'RandomResize': 'scale', 'RandomChoiceResize': 'scales'}
"""Transforms that say how large images are made, and in which setting: width and height."""


def read_config(path: str | Path, hint: str) -> Config:
    """A config's file as it is.

    Args:
        path: The file.
        hint: What to do if it is not there.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is none by its name, or cannot be read: no Python, JSON or YAML, what
            raises an error, or asks for a module that cannot be imported.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'config {path} does not exist; {hint}')
    if Path(path).suffix not in CONFIGS:
        raise ValueError(
            f'config {path} is none by its name, which should end with one of '
            f'{", ".join(CONFIGS)}; where a checkpoint is asked for too, it comes second'
        )
    try:
        cfg: Config = Config.fromfile(path)
        # Some configs import what they name when they are read.
        list(dicts_in(cfg._cfg_dict))
    except OSError as error:
        if error.filename is not None:
            raise
        raise FileNotFoundError(f'config {path}: {error}; correct its _base_') from error
    except Exception as error:
        raise ValueError(
            f'config {path}, or one that it is based on: {_what_is_wrong(error)}'
        ) from error
    return cfg


def _what_is_wrong(error: Exception) -> str:
    """Why a config cannot be read, and the remedy; it may do whatever Python can."""
    if isinstance(error, SyntaxError):
        return f'{error.msg} in line {error.lineno}, {(error.text or "").strip()!r}; correct it'
    if isinstance(error, ImportError):
        # The innermost one: mmengine's own message lists all of the path.
        while isinstance(cause := error.__cause__ or error.__context__, ImportError):
            error = cause
        return f'{error}; install it, or give its folder in PYTHONPATH'
    told = ' '.join(str(error).split())
    return f'{type(error).__name__}: {shorten(told, 200, placeholder=" …")}; correct it'


def require_parts(cfg: Config, name: str, parts: Sequence[str]) -> None:
    """Refuse a config that is not the whole one of a training.

    Args:
        cfg: The config.
        name: What the user calls it.
        parts: Names at its outermost that are read.

    Raises:
        ValueError: Names the first that is missing.
    """
    for part in parts:
        if cfg.get(part) is None:
            raise ValueError(f'{name}: has no {part}; name the whole config of a training')


def innermost(source: ConfigDict) -> ConfigDict:
    """The data set that holds the images, without others that are around it."""
    while 'dataset' in source:
        source = source.dataset
    return source


def use_own_folder(cfg: Config, file: Path) -> None:
    """Let the config that lies in a run's folder name its files there.

    The folder may have been renamed, moved or copied since, or is looked at from another place.
    What was not taken along is named where it still is.

    Args:
        cfg: The config; it is changed.
        file: Where it was read; in the folder itself, or beside the log.
    """
    here, before = file.parent, cfg.get('work_dir')
    if here.name == 'vis_data':
        here = here.parent.parent
    is_run = any(next(here.glob(made), None) for made in ('*/vis_data', '*.pth'))
    if not (is_run and isinstance(before, str)):
        return
    if os.path.realpath(before) == os.path.realpath(here):
        return
    for name, value in cfg.items():
        cfg[name] = _moved(value, os.path.normpath(before), str(here))


def _moved(value: Any, before: str, here: str) -> Any:
    """A value with another folder in all paths in the one before, but for what is there alone."""
    if isinstance(value, dict):
        return {key: _moved(inner, before, here) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(inner, before, here) for inner in value)
    if isinstance(value, str) and (value == before or value.startswith(f'{before}/')):
        there = here + value[len(before) :]
        is_left = value != before and os.path.exists(value) and not os.path.exists(there)
        return value if is_left else there
    return value


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
            return made_sizes(part)[0]
    return None


def scale_sizes(cfg: Config, factors: tuple[float, float]) -> None:
    """Make the images of all data sets larger or smaller, in training and scoring alike.

    The mosaics of MixPL's hook too; the verifier's images stay as large as they are, unless the
    teacher's come to be larger.

    Args:
        cfg: The config; it is changed.
        factors: Of the first number of each size, and of the second.
    """
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    # Each once, though two loaders may share a pipeline.
    for part in {id(part): part for part in dicts_in(loaders)}.values():
        sizes = [_scaled(size, factors) for size in made_sizes(part)]
        if sizes:
            key = RESIZES[part.type]
            part[key] = sizes if key == 'scales' or len(sizes) > 1 else sizes[0]
        crop = absolute_crop(part)
        if crop is not None:
            part.crop_size = _scaled(crop, factors[::-1])
    for part in dicts_in(cfg.get('default_hooks') or {}):
        if 'mosaic_sides' in part:
            # Of height and width alike.
            part.mosaic_sides = _scaled(part.mosaic_sides, [math.sqrt(math.prod(factors))] * 2)
    verifier = cfg.get('model', {}).get('verifier')
    if verifier:
        before = verifier.get('scale', 1.0)
        verifier.scale = max(min(before, 1.0), before / math.sqrt(math.prod(factors)))


def made_sizes(part: ConfigDict) -> list[tuple[int, int]]:
    """Sizes that a transform may make an image, width and height; none if it makes it no size."""
    key = RESIZES.get(part.get('type'))
    if part.get(key) is None:
        return []
    sizes = part[key]
    if key == 'scale' and (isinstance(sizes, int) or isinstance(sizes[0], int)):
        sizes = [sizes]
    # mmdet's transforms also take one number for both sides.
    return [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]


def absolute_crop(part: ConfigDict) -> tuple[int, int] | None:
    """Height and width in pixels that a transform cuts out of images; ``None`` if it does not."""
    if part.get('type') != 'RandomCrop' or part.get('crop_type', 'absolute') != 'absolute':
        return None
    height, width = part.crop_size
    return height, width


def _scaled(size: Sequence[float], factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(side * factor) for side, factor in zip(size, factors, strict=True))
