"""How long to train; everything that is counted in iterations is scaled with it."""

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
"""How often each image should be seen: the 12 epochs of mmdet's shortest schedule."""
SHORTER, LONGER = 10, 3
"""How many times shorter or longer than in the config a training may be, in images."""
LEAST = 500
"""Iterations that a teacher needs to overtake its student, whatever the batch."""
ENOUGH = 10_000
"""The config's schedule never demands more iterations than this; beyond, only images decide."""
CPU_ITERATIONS = 3000
"""Most iterations on a CPU: hours, not days."""

BURN_IN = 0.2
"""Up to this share of a training the burn-in stays as long as in the config, however much shorter
the rest becomes: a detector needs these iterations before it finds anything."""
APART = 100
"""Least iterations between two validations or checkpoints, unless the config has fewer."""

COUNTS = ('begin', 'end', 'milestones', 'T_max', 'step_size', 'total_steps')
"""Settings of mmengine's learning-rate schedulers that are numbers of iterations."""
RAMPS = ('linear', 'sigmoid', 'cosine')
"""Schedules in :mod:`ssod.schedules` that have ``steps``."""
DECAYS = ('decay', 'value', 'values', 'start', 'end')
"""Settings of a schedule of decays that are decays themselves."""
FASTEST = 20
"""Least steps that a teacher averages over, unless the config has fewer."""


def needed_for(images: Sequence[int], ratio: Sequence[int], step: int) -> list[float]:
    """Iterations in which each image is seen twelve times, for each source.

    Args:
        images: How many each source has.
        ratio: How many images are drawn from each source, relative to the others.
        step: Images per step, over all processes.
    """
    return [PASSES * n * sum(ratio) / (step * r) for r, n in zip(ratio, images, strict=True)]


def iterations_for(needed: float, own: float) -> int:
    """The iterations that are needed, but not too far from the config's own.

    Args:
        needed: Iterations for the source that needs most.
        own: The config's schedule, in iterations of this run's batch.

    Returns:
        Their number, rounded to two significant digits.
    """
    least = min(own, max(own / SHORTER, LEAST), ENOUGH)
    return int(float(f'{min(max(needed, least), own * LONGER):.2g}'))


def fit_schedule(cfg: Config, given: Given, labels: Labels, machine: Machine) -> str | None:
    """Fit the number of iterations, and scale everything that is counted in them.

    If the user gives the number, the rest is scaled to it.

    Args:
        cfg: The config, with its batch fitted but its own ``auto_scale_lr``; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.
        machine: The machine it runs on.

    Returns:
        What was done; ``None`` if the config does not count iterations, or there are no images.

    Raises:
        FileNotFoundError: If the unlabelled images do not exist.
        ValueError: If their file is not a JSON, or all images of their folder are left out.
    """
    own = cfg.train_cfg.get('max_iters')
    if own is None:
        return None
    asked = given.on(cfg)
    ours, theirs = (int(c.optim_wrapper.get('accumulative_counts', 1)) for c in (cfg, asked))
    if given.has('train_cfg.max_iters'):
        wanted = asked.train_cfg.max_iters
        stretch(cfg, wanted, theirs / ours)
        return f"iterations {wanted:,}: the config's schedule for {own:,} is scaled to that"
    images = [labels.images] * len(cfg.train_dataloader.dataset.datasets)
    if len(images) > 1:
        images[-1] = count_images(innermost(asked.train_dataloader.dataset.datasets[-1]))
    if not all(images):
        # The data checks will report what is missing.
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

    The unlabelled images, the last of several sources, are not used during the burn-in, and need
    their iterations after it.
    """
    for_labels = iterations_for(max(needed[:-1] or needed), own)
    burn_in, planned = _burn_in(given.on(cfg)), cfg.train_cfg.max_iters
    if not needed[1:] or burn_in >= planned:
        # Without a teacher nothing is learnt from the unlabelled ones.
        return for_labels, for_labels
    if not given.has('default_hooks.teacher.burn_in'):
        # As stretch does; it keeps a share of the run as burn-in, and they need the rest.
        kept = min(burn_in, needed[-1] * BURN_IN / (1 - BURN_IN))
        burn_in = max(burn_in * for_labels / planned, kept)
    return iterations_for(max(*needed[:-1], needed[-1] + burn_in), own), for_labels


def _burn_in(cfg: Config) -> float:
    """The teacher's burn-in; 0 without a teacher, and for values that the hook will refuse."""
    burn_in = ((cfg.get('default_hooks') or {}).get('teacher') or {}).get('burn_in')
    return burn_in if isinstance(burn_in, int | float) else 0


def _told(cfg: Config, own: int, images: list[int], step: int) -> str:
    number, ratio = cfg.train_cfg.max_iters, source_ratio(cfg)
    counted = [number] * len(images)
    if len(images) > 1:
        counted[-1] = max(0, number - _burn_in(cfg))
    often = [c * step * r / sum(ratio) / n for c, r, n in zip(counted, ratio, images, strict=True)]
    times = [f'{n:,.0f} times' if n >= 10 else f'{n:.1f} times' for n in often]
    told = f'iterations {number:,} ({own:,} in the config): each labelled image is seen {times[0]}'
    if not images[1:]:
        return told
    told += f', each of {images[-1]:,} unlabelled ones {times[-1]}'
    burn_in = _burn_in(cfg)
    return f'{told} after a burn-in of {burn_in:,}' if 0 < burn_in < number else told


def count_images(source: ConfigDict) -> int:
    """How many images an unlabelled source has: a folder, or a COCO JSON.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is no JSON, or all images of the folder are left out.
    """
    if source.type == 'UnlabeledFolder':
        return len(look_into(Path(source.data_root), source.get('exclude', ())).images)
    return len(read_coco(Path(source.get('data_root', ''), source.ann_file), ('images',))['images'])


def stretch(cfg: Config, number: int, batches: float = 1.0, for_labels: int | None = None) -> None:
    """Make a training longer or shorter, with everything that is counted in iterations.

    That is the interval of validations and checkpoints, the burn-in, the learning rate's
    milestones and warm-up, the schedules of weights, decays and thresholds, and the steps that
    the teacher averages over. Intervals and the burn-in have a minimum, see :data:`APART` and
    :data:`BURN_IN`.

    Args:
        cfg: A config that counts iterations; it is changed.
        number: The number of iterations, at least 1.
        batches: How many times as many iterations as before lie between two updates of the teacher,
            if the gradients of several batches are accumulated.
        for_labels: How many of them the labelled images need; only these decide how long the
            burn-in is. All if ``None``.
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
        # The decay's schedule counts updates of the teacher.
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
    """A number of iterations, or several that increase, scaled.

    A single one that is at least ``least`` stays at least that.
    """
    if not isinstance(value, list | tuple):
        return max(round(value * factor), min(value, least)) if value else value
    stretched: list[int] = []
    for each in value:
        # No two may become equal.
        stretched.append(max(round(each * factor), stretched[-1] + 1 if stretched else 1))
    return stretched


def _stretched_decay(decay: Any, factor: float) -> Any:
    """The decay, or schedule of decays, that averages over ``factor`` times as many steps."""
    if isinstance(decay, list | tuple):
        return [_stretched_decay(each, factor) for each in decay]
    if isinstance(decay, dict):
        values = {k: _stretched_decay(decay[k], factor) for k in DECAYS if k in decay}
        return ConfigDict(decay, **values)
    share = 1 - decay
    if share * FASTEST >= 1 or share <= 0:
        return decay
    return round(1 - min(share / factor, 1 / FASTEST), 6)
