"""What is drawn depends on the key alone."""

import random

import numpy as np
import torch
from mmengine.runner import Runner

from ssod.seeds import seed_all


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_the_same_key_draws_the_same():
    seed_all(1, 2, 3)
    first = drawn()
    drawn()
    seed_all(1, 2, 3)
    assert drawn() == first


def test_any_other_key_draws_something_else():
    # In every generator; also in another order, or with a large seed.
    keys = [(0,), (1, 2, 3), (1, 3, 2), (1, 2, 4), (2**32 - 1, 0, 100_000)]
    found = []
    for key in keys:
        seed_all(*key)
        found.append(drawn())
    for one_generator in zip(*found, strict=True):
        assert len(set(one_generator)) == len(keys)


def test_a_resumed_run_keeps_the_seeds_that_nobody_gave(digits_cfg):
    digits_cfg.randomness = dict(seed=None)
    first = Runner.from_cfg(digits_cfg)
    first.train()
    digits_cfg.merge_from_dict({'train_cfg.max_iters': 3, 'resume': True})
    resumed = Runner.from_cfg(digits_cfg)
    resumed.train()
    assert resumed.seed == first.seed
    assert resumed.train_dataloader.sampler.seed == first.train_dataloader.sampler.seed
