"""Randomness as a function of what is being done, so that no random state has to be saved.

A sample's augmentations depend on the seed and the number of its draw, a step's random choices on
the seed and the iteration. So a run that was interrupted, or has another number of data workers,
draws the same values.
"""

import random
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


def seed_all(*key: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch (all devices).

    Args:
        key: Whole numbers in [0, 2³²). Different keys of the same length give different seeds;
            (1,) and (1, 0) give the same one.
    """
    words = np.random.SeedSequence(key).generate_state(6)
    random.seed(words[:2].tobytes())
    np.random.seed(words[2:4])
    seed = int(words[4]) << 32 | int(words[5])
    # Not torch.manual_seed, which without a GPU takes 0.4 ms to record its caller.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def seed_iteration(runner: Runner) -> None:
    """Seed what this rank draws in the current iteration."""
    seed_all(runner.seed, get_rank(), runner.iter)


@HOOKS.register_module()
class SeedHook(Hook):
    """Seeds each iteration by the run's seed, the rank and the iteration.

    What the model draws in a step (which regions it samples, dropout) then depends on nothing else.
    A resumed run keeps the seeds that it started with.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._sampler_seed: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Make the sampler of a resumed run draw as the original one did."""
        sampler = runner.train_dataloader.sampler
        if runner.iter > 0 and self._sampler_seed is not None:
            sampler.seed = self._sampler_seed

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the rest of this iteration; its batch is already loaded."""
        seed_iteration(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the sampler's seed; mmengine saves the run's."""
        checkpoint['sampler_seed'] = getattr(runner.train_dataloader.sampler, 'seed', None)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the sampler's seed until it is known whether the run goes on."""
        self._sampler_seed = checkpoint.get('sampler_seed')
