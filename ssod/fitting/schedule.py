"""How long to train, and all that happens at some iteration moved with it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ssod.config_parts import dicts_in, innermost
from ssod.data.coco_json import read_coco
from ssod.data.folder import look_into
from ssod.fitting.batch import meant_batch, source_ratio, step_images
from ssod.fitting.given import Given
from ssod.fitting.measures import Labels, Machine

PASSES = 12
"""How often each image is to come: the 12 epochs of mmdet's shortest schedule."""
SHORTER, LONGER = 10, 3
"""How many times shorter or longer than the config's a training may be, in images."""
LEAST = 500
"""Iterations that a teacher needs to become better than its student, whatever the batch."""
ENOUGH = 10_000
"""The config's schedule never asks for more iterations than this; beyond it images alone decide."""
CPU_ITERATIONS = 3000
"""At most on a CPU: hours and not days."""

BURN_IN = 0.2
"""Share of a training up to which the burn-in stays as long as the config's, however much shorter
the rest becomes: until a detector finds something takes its iterations."""
APART = 100
"""Iterations from one validation or checkpoint to the next, at least, unless the config's are
fewer."""

COUNTS = ('begin', 'end', 'milestones', 'T_max', 'step_size', 'total_steps')
"""Settings of mmengine's learning rates that count iterations, or say at which one."""
RAMPS = ('linear', 'sigmoid', 'cosine')
"""Schedules of :mod:`ssod.schedules` with ``steps``."""
DECAYS = ('decay', 'value', 'values', 'start', 'end')
"""Settings of a schedule of decays that are decays themselves."""
FASTEST = 20
"""Steps that a teacher averages over at least, unless the config's are fewer."""


def needed_for(images: Sequence[int], ratio: Sequence[int], step: int) -> list[float]:
    """Iterations in which each image comes twelve times, for each source.

    Args:
        images: How many each source has.
        ratio: Draws from each source.
        step: Images of a step, over all processes.
    """
    return [PASSES * n * sum(ratio) / (step * r) for r, n in zip(ratio, images, strict=True)]


def iterations_for(needed: float, own: float) -> int:
    """As many iterations as are needed, but not far from the config's own.

    Args:
        needed: By the source that needs most.
        own: Iterations of as many images that the config's schedule amounts to.

    Returns:
        Their number, rounded to two significant digits.
    """
    least = min(own, max(own / SHORTER, LEAST), ENOUGH)
    return int(float(f'{min(max(needed, least), own * LONGER):.2g}'))


def fit_schedule(cfg: Config, given: Given, labels: Labels, machine: Machine) -> str | None:
    """Fit the number of iterations, and stretch what is counted in them.

    Where the user gives it, the rest is stretched to that.

    Args:
        cfg: The config, its batch fitted but ``auto_scale_lr`` still its own; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.
        machine: What it runs on.

    Returns:
        What was done; ``None`` where the config does not count iterations, or there is no image.

    Raises:
        FileNotFoundError: If the unlabelled images do not exist.
        ValueError: If their JSON is none.
    """
    own = cfg.train_cfg.get('max_iters')
    if own is None:
        return None
    asked = given.on(cfg)
    ours, theirs = (int(c.optim_wrapper.get('accumulative_counts', 1)) for c in (cfg, asked))
    if given.has('train_cfg.max_iters'):
        wanted = asked.train_cfg.max_iters
        stretch(cfg, wanted, theirs / ours)
        return f'iterations {wanted:,}: what the config plans for {own:,} is stretched to that'
    images = [labels.images] * len(cfg.train_dataloader.dataset.datasets)
    if len(images) > 1:
        images[-1] = count_images(innermost(asked.train_dataloader.dataset.datasets[-1]))
    if not all(images):
        # The checks of the data say what is missing.
        return None
    step = step_images(asked, machine)
    most = math.inf if machine.gpu_memory is not None else min(own, CPU_ITERATIONS)
    needed = needed_for(images, source_ratio(asked), step)
    for_all, for_labels = _for_all_and_labels(cfg, given, needed, own * meant_batch(cfg) / step)
    stretch(cfg, int(min(for_all, most)), theirs / ours, int(min(for_labels, most)))
    return _told(given.on(cfg), own, images, step)


def _for_all_and_labels(
    cfg: Config, given: Given, needed: list[float], own: float
) -> tuple[int, int]:
    """Iterations for the images of all sources, and for the labelled ones alone.

    The unlabelled ones, the last of several sources, are dropped in the burn-in, and need theirs
    after it.
    """
    for_labels = iterations_for(max(needed[:-1] or needed), own)
    burn_in, planned = _burn_in(given.on(cfg)), cfg.train_cfg.max_iters
    if not needed[1:] or burn_in >= planned:
        # Without a teacher they teach nothing.
        return for_labels, for_labels
    if not given.has('default_hooks.teacher.burn_in'):
        # As stretch does; what it keeps is a share of the run, of which they need the rest.
        kept = min(burn_in, needed[-1] * BURN_IN / (1 - BURN_IN))
        burn_in = max(burn_in * for_labels / planned, kept)
    return iterations_for(max(*needed[:-1], needed[-1] + burn_in), own), for_labels


def _burn_in(cfg: Config) -> float:
    """The teacher's; 0 without one, and for what the hook will refuse."""
    burn_in = ((cfg.get('default_hooks') or {}).get('teacher') or {}).get('burn_in')
    return burn_in if isinstance(burn_in, int | float) else 0


def _told(cfg: Config, own: int, images: list[int], step: int) -> str:
    number, ratio = cfg.train_cfg.max_iters, source_ratio(cfg)
    counted = [number] * len(images)
    if len(images) > 1:
        counted[-1] = max(0, number - _burn_in(cfg))
    often = [c * step * r / sum(ratio) / n for c, r, n in zip(counted, ratio, images, strict=True)]
    times = [f'{n:,.0f} times' if n >= 10 else f'{n:.1f} times' for n in often]
    told = f'iterations {number:,}, in the config {own:,}: a labelled image comes {times[0]}'
    return told + (f', one of {images[-1]:,} unlabelled ones {times[-1]}' if images[1:] else '')


def count_images(source: ConfigDict) -> int:
    """How many images an unlabelled source has: a folder, or a COCO JSON.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is no JSON.
    """
    if source.type == 'UnlabeledFolder':
        return len(look_into(Path(source.data_root)).images)
    return len(read_coco(Path(source.get('data_root', ''), source.ann_file), ('images',))['images'])


def stretch(cfg: Config, number: int, batches: float = 1.0, for_labels: int | None = None) -> None:
    """Make a training longer or shorter with all that is counted in iterations.

    That is the interval of validations and checkpoints, the burn-in, the learning rate's
    milestones and warm-up, the schedules of weights, decays and thresholds, and the steps that
    the teacher averages over. Neither intervals nor the burn-in shrink without end, see
    :data:`APART` and :data:`BURN_IN`.

    Args:
        cfg: A config that counts iterations; it is changed.
        number: Of iterations, at least 1.
        batches: How many times as many iterations as before there are to an update of the teacher,
            where gradients of several batches are added up.
        for_labels: How many of them the labelled images ask for, on which alone it depends how long
            a burn-in is good for; all if ``None``.
    """
    factor = number / cfg.train_cfg.max_iters
    by_labels = (for_labels or number) / cfg.train_cfg.max_iters
    apart = min(APART, number)
    _times(cfg.train_cfg, factor, 'val_interval', least=apart)
    for scheduler in dicts_in(cfg.get('param_scheduler')):
        if not scheduler.get('by_epoch', True):
            _times(scheduler, factor, *COUNTS)
            if 'periods' in scheduler:
                scheduler.periods = [_stretched(period, factor) for period in scheduler.periods]
    hooks = cfg.get('default_hooks') or ConfigDict()
    parts = {id(p): p for p in dicts_in([cfg.model, hooks, cfg.get('custom_hooks') or []])}
    of_teacher = {id(part) for part in dicts_in(hooks.get('teacher', {}).get('decay'))}
    for number_of, part in parts.items():
        # The decay's schedule counts the teacher's updates.
        times = factor / batches if number_of in of_teacher else factor
        if part.get('type') in RAMPS:
            _times(part, times, 'steps')
        elif part.get('type') == 'stepwise':
            _times(part, times, 'milestones')
        _times(part, by_labels, 'burn_in', least=max(1, round(BURN_IN * number)))
    if 'decay' in hooks.get('teacher', {}):
        hooks.teacher.decay = _stretched_decay(hooks.teacher.decay, factor / batches)
    if not hooks.get('checkpoint', {}).get('by_epoch', True):
        _times(hooks.checkpoint, factor, 'interval', least=apart)
    cfg.train_cfg.max_iters = number


def _times(part: ConfigDict, factor: float, *keys: str, least: int = 1) -> None:
    for key in keys:
        if part.get(key) is not None:
            part[key] = _stretched(part[key], factor, least)


def _stretched(value: Any, factor: float, least: int = 1) -> Any:
    """A number of iterations, or several that increase.

    A single one that is not below ``least`` does not come below that either.
    """
    if not isinstance(value, list | tuple):
        return max(round(value * factor), min(value, least)) if value else value
    stretched: list[int] = []
    for each in value:
        # Two may not fall together.
        stretched.append(max(round(each * factor), stretched[-1] + 1 if stretched else 1))
    return stretched


def _stretched_decay(decay: Any, factor: float) -> Any:
    """A decay, or a schedule of them, of an average over ``factor`` times as many steps."""
    if isinstance(decay, list | tuple):
        return [_stretched_decay(each, factor) for each in decay]
    if isinstance(decay, dict):
        values = {k: _stretched_decay(decay[k], factor) for k in DECAYS if k in decay}
        return ConfigDict(decay, **values)
    share = 1 - decay
    if share * FASTEST >= 1 or share <= 0:
        return decay
    return round(1 - min(share / factor, 1 / FASTEST), 6)
