"""The learning rate of as many images as a step has."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from ssod import runs


def test_the_learning_rate_scales_with_the_real_batch(digits_cfg):
    # 4 images instead of 16: a quarter.
    digits_cfg.param_scheduler = []
    # mmengine gives runs of one name that begin in the same second one log.
    digits_cfg.experiment_name = 'rate'
    runs.scale_lr(digits_cfg)
    runs.build_runner(digits_cfg).train()
    (log,) = Path(digits_cfg.work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row['lr'] for row in rows] == pytest.approx([0.001 / 4] * 2)


def test_the_learning_rate_scales_with_accumulated_batches(digits_cfg):
    # Steps of four batches of 4 images are of 16, as the config means.
    digits_cfg.param_scheduler = []
    digits_cfg.optim_wrapper.accumulative_counts = 4
    runs.scale_lr(digits_cfg)
    runner = runs.build_runner(digits_cfg)
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'][0] == pytest.approx(0.001)
    # The run's own config says what was asked for, so that a resumed one does the same.
    assert digits_cfg.auto_scale_lr.base_batch_size == 16


def test_scaling_needs_the_batch_that_the_learning_rate_is_for():
    cfg = Config(dict(auto_scale_lr=dict(enable=False)))
    with pytest.raises(ValueError, match='auto_scale_lr.base_batch_size is missing'):
        runs.scale_lr(cfg)
    with pytest.raises(ValueError, match='auto_scale_lr.base_batch_size is missing'):
        runs.scale_lr(Config(dict()))
    with pytest.raises(ValueError, match='auto_scale_lr.base_batch_size is missing'):
        runs.scale_lr(Config(dict(auto_scale_lr=None)))
