"""The number of images per step, and the learning rate for it."""

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
"""Usable share of a GPU's memory; the rest goes to fragmentation and other programs."""
FIXED = 2 * GIGABYTE
"""Bytes for student, teacher, gradients and the optimizer's averages."""
FLOAT32, HALF = 3 * GIGABYTE, 1.5 * GIGABYTE
"""Bytes per megapixel of the images in a step, in float32 and in mixed precision. By mmdet's tables
two images of 1333×800 (2.1 megapixels) take in float32 a total of 4.0 GB with Faster R-CNN R50-FPN,
6.0 with R101 and 7.0 with RTMDet-l (3.3 per megapixel); only X101-64x4d, with 10.3, takes more than
the 8.4 allowed for. In bfloat16 a whole step of five such images takes 4.8 with R50-FPN, of 10
allowed for."""
RARER = 0.05
"""If portrait and landscape images each have at least this share, some batches mix them."""
CPU_MEGAPIXELS = 0.75
"""Megapixels of the images in a step on a CPU; such a step takes seconds."""
SLOW = 'a step will be slow: use a config for small images, such as configs/mt_fasterrcnn_small.py'
"""What to do if even the smallest batch has more."""


def megapixels_on(machine: Machine, amp: bool = False) -> float:
    """How many megapixels the images of a step may have in total, per process.

    Args:
        machine: The machine it runs on.
        amp: Whether it computes in mixed precision.
    """
    if machine.gpu_memory is None:
        return CPU_MEGAPIXELS
    return max(0.0, USABLE * machine.gpu_memory - FIXED) / (HALF if amp else FLOAT32)


def images_in_step(megapixels: float, view: float, period: int, most: int) -> int:
    """The largest batch for a process that fits.

    Args:
        megapixels: What all its images may have in total.
        view: What one has at most.
        period: The batch must be a multiple of this: the sum of the sources' ratio.
        most: The largest batch allowed; rounded down to such a multiple.

    Returns:
        At least ``period``, even if that does not fit.
    """
    return max(period, min(int(megapixels / view), most) // period * period)


def rate_factor(images: float, meant: float, optimizer: str) -> float:
    """The factor for a learning rate when a step has another number of images.

    Proportional (Goyal et al. 2017); for Adam and its kin the square root (Malladi et al. 2022).

    Args:
        images: Images in a step, over all processes.
        meant: How many images the learning rate is meant for.
        optimizer: The optimizer's type.
    """
    factor = images / meant
    return math.sqrt(factor) if 'Adam' in optimizer else factor


def has_both(labels: Labels) -> bool:
    """Whether some batches mix portrait and landscape images."""
    widths, heights = labels.sizes.T
    return bool(min((widths < heights).mean(), (widths > heights).mean()) >= RARER)


def view_megapixels(scales: Iterable[Any], size: tuple[float, float], both: bool = False) -> float:
    """The pixels of the largest view of an image, in millions.

    Args:
        scales: Sizes that transforms may resize it to, two numbers each.
        size: The image's own size, which it keeps if there are no scales.
        both: Whether it is padded to the width of landscape and the height of portrait images.
    """
    factors = [resize_factor(size, scale) for scale in scales]
    area = max(size) ** 2 if both else size[0] * size[1]
    return area * max(factors, default=1.0) ** 2 / MEGAPIXEL


def fit_batch(
    cfg: Config, given: Given, labels: Labels, machine: Machine, amp: bool = False
) -> tuple[str | None, int]:
    """Fit the batch of each process to its memory.

    It never exceeds the config's own batch or, if that is larger, the process's share of the batch
    that the config is meant for.

    Args:
        cfg: The config, with its images fitted already; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.
        machine: The machine it runs on.
        amp: Whether it computes in mixed precision, whatever the config says.

    Returns:
        What was done (``None`` if the user gives the batch), and at which level to log it: the
        smallest possible batch is a warning if the machine takes less.
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
    least = ', the smallest possible' if is_least else ''
    padded = ' (portrait and landscape padded alike)' if both else ''
    views = f'views have up to {view:.2g} megapixels{padded}, {where} takes {room:.2g} per step'
    told = f'batch size {loader.batch_size}{each}{least}: {views}'
    is_cut = is_least or loader.batch_size < most // period * period
    on_gpu = machine.gpu_memory is not None
    if on_gpu and is_cut and not amp:
        told += '; --amp needs half as much memory'
    elif is_least:
        told += f'; {_remedy(ratio) if on_gpu else SLOW}'
    return told, logging.WARNING if is_least else logging.INFO


def _remedy(ratio: list[int]) -> str:
    """What helps if even mixed precision takes too much memory."""
    remedy = 'use a config with smaller images'
    if len(ratio) > 1 and ratio[-1] > 1:
        remedy += ', or fewer unlabelled ones (train_dataloader.sampler.source_ratio)'
    return remedy


def fit_rate(cfg: Config, given: Given, machine: Machine) -> str | None:
    """Fit the learning rate to the images of a step.

    Args:
        cfg: The config, with its batch fitted already; it is changed.
        given: What the user asks for.
        machine: The machine it runs on.

    Returns:
        What was done; ``None`` if the user gives the rate, or the config does not say its batch.
    """
    optimizer = cfg.optim_wrapper.get('optimizer') or ConfigDict()
    meant = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    own = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.type', 'auto_scale_lr')
    if any(map(given.has, own)) or 'lr' not in optimizer or not meant:
        return None
    asked = given.on(cfg)
    # An optimizer step may use the mean gradient of several batches.
    images = step_images(asked, machine) * int(asked.optim_wrapper.get('accumulative_counts', 1))
    kind = optimizer.type if isinstance(optimizer.type, str) else optimizer.type.__name__
    factor = rate_factor(images, meant, kind)
    optimizer.lr = float(f'{optimizer.lr * factor:.3g}')
    # So that --auto-scale-lr does not scale it again.
    cfg.auto_scale_lr.base_batch_size = images
    if factor == 1:
        return f'learning rate {optimizer.lr:g}: {images} images per step, as in the config'
    way = 'by the square root, as for Adam' if 'Adam' in kind else 'in proportion'
    return f'learning rate {optimizer.lr:g}: {images} images per step, not {meant} (scaled {way})'


def source_ratio(cfg: Config) -> list[int]:
    """How many images are drawn from each training source, relative to the others."""
    loader = cfg.train_dataloader
    return list(loader.sampler.get('source_ratio') or [1] * len(loader.dataset.datasets))


def meant_batch(cfg: Config) -> int:
    """Images per step, over all processes, that the config's schedule is meant for."""
    meant = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    return int(meant or cfg.train_dataloader.batch_size)


def step_images(cfg: Config, machine: Machine) -> int:
    """Images per step, over all processes."""
    return int(cfg.train_dataloader.batch_size) * machine.processes


def _largest_view(cfg: Config, size: tuple[float, float], both: bool) -> float:
    """Megapixels of the largest view that training makes of an image of this size."""
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
    """Sizes that transforms may resize an image to."""
    scales: list[tuple[float, float]] = []
    for part in steps:
        largest = max(part.get('ratio_range') or (1,))
        scales += [(width * largest, height * largest) for width, height in made_sizes(part)]
    return scales


def _cut(steps: list[ConfigDict]) -> float:
    """Megapixels that are left at most after transforms crop an image."""
    sizes = [absolute_crop(part) for part in steps]
    return min(
        (height * width / MEGAPIXEL for height, width in filter(None, sizes)), default=math.inf
    )
