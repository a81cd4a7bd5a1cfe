"""How many images a step has, and the learning rate for as many."""

import logging
import math
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config, ConfigDict

from ssod.config_parts import absolute_crop, dicts_in, made_sizes, transforms_in
from ssod.fitting.given import Given
from ssod.fitting.images import resize_factor, usual_size
from ssod.fitting.measures import Labels, Machine
from ssod.precision import MIXED

MEGAPIXEL = 1e6
GIGABYTE = 2**30
USABLE = 0.8
"""Share of a GPU's memory that is counted on; the rest goes to fragments and other programs."""
FIXED = 2 * GIGABYTE
"""Student, teacher, gradients and the optimizer's averages."""
FLOAT32, HALF = 3 * GIGABYTE, 1.5 * GIGABYTE
"""Bytes for a megapixel of the images in a step, in float32 and in mixed precision. By mmdet's
tables two images of 1333×800, 2.1 megapixels, take in float32, all in all, 4.0 GB with Faster R-CNN
R50-FPN, 6.0 with R101 and 7.0 with RTMDet-l (3.3 for a megapixel); X101-64x4d alone, with 10.3,
takes more than the 8.4 that are counted on. In bfloat16 a whole step of five such images takes 4.8
with R50-FPN, of 10 that are counted on."""
RARER = 0.05
"""Share of the images from which the rarer of upright and lying ones is reckoned with."""
CPU_MEGAPIXELS = 0.75
"""Of the images in a step on a CPU, which then takes seconds."""


def megapixels_on(machine: Machine, amp: bool = False) -> float:
    """What the images of a step may have together, in each process.

    Args:
        machine: What it runs on.
        amp: Whether in mixed precision.
    """
    if machine.gpu_memory is None:
        return CPU_MEGAPIXELS
    return max(0.0, USABLE * machine.gpu_memory - FIXED) / (HALF if amp else FLOAT32)


def images_in_step(megapixels: float, view: float, period: int, most: int) -> int:
    """The largest batch of a process that there is room for.

    Args:
        megapixels: What all its images may have together.
        view: What one has at most.
        period: What it must be a multiple of: the sum of the sources' ratio.
        most: What it may be at most; rounded down to such a multiple.

    Returns:
        At least ``period``, whatever there is room for.
    """
    return max(period, min(int(megapixels / view), most) // period * period)


def rate_factor(images: float, meant: float, optimizer: str) -> float:
    """What a learning rate is multiplied with for steps of another number of images.

    In proportion (Goyal et al. 2017); Adam and its kin by the square root (Malladi et al. 2022).

    Args:
        images: In a step, over all processes.
        meant: For how many the learning rate is.
        optimizer: Its type.
    """
    factor = images / meant
    return math.sqrt(factor) if 'Adam' in optimizer else factor


def has_both(labels: Labels) -> bool:
    """Whether batches will have upright images and lying ones."""
    widths, heights = labels.sizes.T
    return bool(min((widths < heights).mean(), (widths > heights).mean()) >= RARER)


def view_megapixels(scales: Iterable[Any], size: tuple[float, float], both: bool = False) -> float:
    """The pixels of the largest view of an image, in millions.

    Args:
        scales: Sizes that transforms may make it, each of two numbers.
        size: Of the image; what it stays without any.
        both: Whether it is padded to the width of lying images and the height of upright ones.
    """
    factors = [resize_factor(size, scale) for scale in scales]
    area = max(size) ** 2 if both else size[0] * size[1]
    return area * max(factors, default=1.0) ** 2 / MEGAPIXEL


def fit_batch(
    cfg: Config, given: Given, labels: Labels, machine: Machine, amp: bool = False
) -> tuple[str | None, int]:
    """Fit the batch of each process to its memory.

    It is never more than the config's own, or its share of the batch that the config is meant for
    if that is more.

    Args:
        cfg: The config, its images fitted already; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.
        machine: What it runs on.
        amp: Whether in mixed precision whatever the config says.

    Returns:
        What was done, ``None`` where the user says how many, and the level of the log at which to
        say it: a batch that a GPU has hardly room for is a warning.
    """
    loader = cfg.train_dataloader
    if given.has('train_dataloader.batch_size') or not len(labels.sizes):
        return None, logging.INFO
    asked = given.on(cfg)
    amp = amp or asked.optim_wrapper.get('type') in MIXED
    both = has_both(labels)
    view = _largest_view(asked, usual_size(labels), both)
    room = max(0.0, megapixels_on(machine, amp) - _mosaic(asked))
    ratio = source_ratio(asked)
    period = sum(ratio)
    most = max(loader.batch_size, meant_batch(cfg) // machine.processes)
    loader.batch_size = images_in_step(room, view, period, most)
    where = 'the CPU'
    if machine.gpu_memory is not None:
        where = f'a GPU of {machine.gpu_memory / GIGABYTE:.0f} GB'
    each = f' for each of {machine.processes} processes' if machine.processes > 1 else ''
    is_least = room < period * view
    least = ', the least there can be' if is_least else ''
    padded = ', padded as upright and lying ones are together' if both else ''
    views = f'views have up to {view:.2g} megapixels{padded}, {where} is given {room:.2g} in a step'
    told = f'batch size {loader.batch_size}{each}{least}: {views}'
    is_cut = is_least or loader.batch_size < most // period * period
    if machine.gpu_memory is None or not is_cut:
        return told, logging.INFO
    if not amp:
        told += '; --amp takes half as much memory'
    elif is_least:
        told += f'; {_remedy(ratio)}'
    return told, logging.WARNING if is_least else logging.INFO


def _remedy(ratio: list[int]) -> str:
    """What helps where mixed precision takes too much memory, too."""
    remedy = 'take a config of smaller images'
    if len(ratio) > 1 and ratio[-1] > 1:
        remedy += ', or fewer unlabelled ones: train_dataloader.sampler.source_ratio'
    return remedy


def fit_rate(cfg: Config, given: Given, machine: Machine) -> str | None:
    """Fit the learning rate to the images of a step.

    Args:
        cfg: The config, its batch fitted already; it is changed.
        given: What the user asks for.
        machine: What it runs on.

    Returns:
        What was done; ``None`` where the user says which, or the config not for which batch.
    """
    optimizer = cfg.optim_wrapper.get('optimizer') or ConfigDict()
    meant = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    own = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.type', 'auto_scale_lr')
    if any(map(given.has, own)) or 'lr' not in optimizer or not meant:
        return None
    asked = given.on(cfg)
    # The optimizer's step may be of the mean gradient of several batches.
    images = step_images(asked, machine) * int(asked.optim_wrapper.get('accumulative_counts', 1))
    kind = optimizer.type if isinstance(optimizer.type, str) else optimizer.type.__name__
    factor = rate_factor(images, meant, kind)
    optimizer.lr = float(f'{optimizer.lr * factor:.3g}')
    # So that --auto-scale-lr does not do it again.
    cfg.auto_scale_lr.base_batch_size = images
    if factor == 1:
        return f'learning rate {optimizer.lr:g}: steps are of {images} images, as the config means'
    way = 'square root, as for Adam' if 'Adam' in kind else 'in proportion'
    return f'learning rate {optimizer.lr:g}: steps are of {images} images, not {meant} ({way})'


def source_ratio(cfg: Config) -> list[int]:
    """Draws from each source of the training."""
    loader = cfg.train_dataloader
    return list(loader.sampler.get('source_ratio') or [1] * len(loader.dataset.datasets))


def meant_batch(cfg: Config) -> int:
    """Images of a step, over all processes, that the config's schedule is meant for."""
    meant = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    return int(meant or cfg.train_dataloader.batch_size)


def step_images(cfg: Config, machine: Machine) -> int:
    """Images of a step, over all processes."""
    return int(cfg.train_dataloader.batch_size) * machine.processes


def _largest_view(cfg: Config, size: tuple[float, float], both: bool) -> float:
    """Megapixels of the largest view that the training makes of an image of a size."""
    pipelines = transforms_in(cfg.train_dataloader)
    views = [
        min(view_megapixels(scales, size, both), _cut(steps))
        for steps in pipelines
        if (scales := _scales(steps))
    ]
    return max(views, default=view_megapixels([], size, both))


def _mosaic(cfg: Config) -> float:
    """Megapixels of the mosaic that MixPL adds to a batch, 0 without one."""
    sides = [part.mosaic_sides for part in dicts_in(cfg.default_hooks) if 'mosaic_sides' in part]
    return sum((2 * largest) ** 2 / MEGAPIXEL for _, largest in sides)


def _scales(steps: list[ConfigDict]) -> list[tuple[float, float]]:
    """Sizes that transforms may make an image."""
    scales: list[tuple[float, float]] = []
    for part in steps:
        largest = max(part.get('ratio_range') or (1,))
        scales += [(width * largest, height * largest) for width, height in made_sizes(part)]
    return scales


def _cut(steps: list[ConfigDict]) -> float:
    """Megapixels that are left at most where transforms cut an image."""
    sizes = [absolute_crop(part) for part in steps]
    return min(
        (height * width / MEGAPIXEL for height, width in filter(None, sizes)), default=math.inf
    )
