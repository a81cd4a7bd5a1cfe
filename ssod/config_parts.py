"""Find and change parts of a config that belong together."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from mmengine.config import Config, ConfigDict

CONFIGS = ('.json', '.py', '.yaml', '.yml')
"""Suffixes of config files."""
RESIZES = {'Resize': 'scale', 'RandomResize': 'scale', 'RandomChoiceResize': 'scales'}
"""Transforms that resize images, and their setting with the size: width and height."""


def read_config(path: str | Path, hint: str) -> Config:
    """Read a config file as it is.

    Args:
        path: The file.
        hint: What to do if it does not exist.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If its name is not a config's, or it cannot be read: it is not Python, JSON or
            YAML, raises an error, or imports a module that cannot be imported.
    """
    if not Path(path).is_file():
        told = 'is a folder' if Path(path).is_dir() else 'does not exist'
        raise FileNotFoundError(f'config {path} {told}; {hint}')
    if Path(path).suffix not in CONFIGS:
        raise ValueError(
            f'config {path} is not a config by its name, which must end with one of '
            f'{", ".join(CONFIGS)}; if you also give a checkpoint, put it second'
        )
    try:
        cfg: Config = Config.fromfile(path)
        # Some configs import what they name only when they are read.
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
    """Why a config cannot be read, and the remedy; any Python error is possible."""
    if isinstance(error, SyntaxError):
        return f'{error.msg} in line {error.lineno}, {(error.text or "").strip()!r}; correct it'
    if isinstance(error, ImportError):
        # The innermost one: mmengine's own message lists the whole path.
        while isinstance(cause := error.__cause__ or error.__context__, ImportError):
            error = cause
        return f'{error}; install it, or add its folder to PYTHONPATH'
    told = ' '.join(str(error).split())
    return f'{type(error).__name__}: {shorten(told, 200, placeholder=" …")}; correct it'


def require_parts(cfg: Config, name: str, parts: Sequence[str]) -> None:
    """Refuse a config that is not the complete config of a training.

    Args:
        cfg: The config.
        name: What the user calls it.
        parts: Top-level names that are read.

    Raises:
        ValueError: Names the first that is missing.
    """
    for part in parts:
        if cfg.get(part) is None:
            raise ValueError(f'{name}: has no {part}; give the complete config of a training')


def value_at(cfg: Config, key: str) -> Any:
    """The value at a dotted key; ``None`` if there is none."""
    value: Any = cfg
    for name in key.split('.'):
        value = value.get(name) if isinstance(value, Mapping | Config) else None
    return value


def name_of(part: ConfigDict) -> str:
    """The name of what a part of a config builds, without the registry's or the package's."""
    return str(part['type']).rpartition('.')[2]


def innermost(source: ConfigDict) -> ConfigDict:
    """The data set that holds the images, without any that wrap it."""
    while 'dataset' in source:
        source = source.dataset
    return source


def use_own_folder(cfg: Config, file: Path) -> None:
    """Make the paths in a run's config point into the folder where the config is now.

    The folder may have been renamed, moved or copied since, or the current directory may differ.
    Files that were not moved along keep their old paths. A config that a user keeps next to some
    checkpoint is not a run's: only those name their ``launcher``.

    Args:
        cfg: The config; it is changed.
        file: The file it was read from; in the folder itself, or next to the log.
    """
    here, before = file.parent, cfg.get('work_dir')
    if here.name == 'vis_data':
        here = here.parent.parent
    has_run = any(next(here.glob(made), None) for made in ('*/vis_data', '*.pth'))
    if not (has_run and 'launcher' in cfg and isinstance(before, str)):
        return
    if os.path.realpath(before) == os.path.realpath(here):
        return
    for name, value in cfg.items():
        cfg[name] = _moved(value, os.path.normpath(before), str(here))


def _moved(value: Any, before: str, here: str) -> Any:
    """A value with its paths moved to another folder, except what exists only in the old one."""
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
    """All lists of transforms inside a config, including those inside transforms."""
    for part in dicts_in(value):
        for inner in part.values():
            steps = inner if isinstance(inner, list) else []
            if steps and all(isinstance(step, dict) and 'type' in step for step in steps):
                yield steps


def set_number_of_classes(model: Any, number: int) -> None:
    """Set the number of classes in all heads of a model's config.

    Args:
        model: The config; it is changed.
        number: How many, at least 1.
    """
    for part in dicts_in(model):
        if 'num_classes' in part:
            part['num_classes'] = number


def validation_size(cfg: Config) -> tuple[int, int] | None:
    """The size that images are resized to for scoring; ``None`` if they are not resized."""
    for part in dicts_in(cfg.test_dataloader):
        if part.get('type') == 'Resize' and 'scale' in part:
            return made_sizes(part)[0]
    return None


def scale_sizes(cfg: Config, factors: tuple[float, float]) -> None:
    """Make the images of all data sets larger or smaller, in training and scoring alike.

    MixPL's mosaics are scaled too; the verifier's images keep their size, unless the teacher's
    become larger.

    Args:
        cfg: The config; it is changed.
        factors: One for the first number of each size, and one for the second.
    """
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    # Each part once, because two loaders may share a pipeline.
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
            # For height and width alike.
            part.mosaic_sides = _scaled(part.mosaic_sides, [math.sqrt(math.prod(factors))] * 2)
    verifier = cfg.get('model', {}).get('verifier')
    if verifier:
        before = verifier.get('scale', 1.0)
        verifier.scale = max(min(before, 1.0), before / math.sqrt(math.prod(factors)))


def made_sizes(part: ConfigDict) -> list[tuple[int, int]]:
    """Sizes (width, height) that a transform may resize an image to; empty if it does not."""
    key = RESIZES.get(part.get('type'))
    if part.get(key) is None:
        return []
    sizes = part[key]
    if key == 'scale' and (isinstance(sizes, int) or isinstance(sizes[0], int)):
        sizes = [sizes]
    # mmdet's transforms also take one number for both sides.
    return [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]


def absolute_crop(part: ConfigDict) -> tuple[int, int] | None:
    """Height and width in pixels that a transform crops images to; ``None`` if it does not crop."""
    if part.get('type') != 'RandomCrop' or part.get('crop_type', 'absolute') != 'absolute':
        return None
    height, width = part.crop_size
    return height, width


def _scaled(size: Sequence[float], factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(side * factor) for side, factor in zip(size, factors, strict=True))
