"""Training in bfloat16."""

import pytest
import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.config import Config
from torch import nn

from ssod import runs
from ssod.models.semi_supervised_detector import unwrap
from ssod.precision import use_amp

CONFIG = 'configs/mt_fasterrcnn_digits10pct.py'


@pytest.fixture
def wrapper():
    model = nn.Linear(8, 4)
    cfg = dict(type='Bfloat16OptimWrapper', accumulative_counts=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return model, OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=optimizer))


def test_products_are_coarse_and_weights_are_not(wrapper):
    model, wrapper = wrapper
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        output = model(torch.ones(1, 8))
    assert output.dtype == torch.bfloat16
    assert torch.is_autocast_enabled(output.device.type) is False
    for _ in range(2):
        with wrapper.optim_context(model):
            wrapper.update_params(model(torch.ones(1, 8)).float().sum())
    # Two halves of a gradient of ones.
    torch.testing.assert_close(model.weight.detach(), before - 0.5, rtol=0, atol=1e-6)
    assert model.weight.dtype == torch.float32


def test_a_training(digits_cfg):
    """Student and teacher compute in bfloat16, and nothing leaves float32."""
    use_amp(digits_cfg)
    runner = runs.build_runner(digits_cfg)
    model = unwrap(runner.model)
    seen = {name: set() for name in ('student', 'teacher')}
    for name, dtypes in seen.items():
        backbone = model.get_submodule(name).backbone
        backbone.register_forward_hook(lambda _, __, out, to=dtypes: to.add(out[0].dtype))
    runner.train()
    assert seen == {'student': {torch.bfloat16}, 'teacher': {torch.bfloat16}}
    state = model.state_dict().values()
    assert {value.dtype for value in state if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in state)


def test_amp():
    cfg = Config.fromfile(CONFIG)
    use_amp(cfg)
    assert cfg.optim_wrapper.type == 'Bfloat16OptimWrapper'
    # All else stays.
    assert cfg.optim_wrapper.clip_grad.max_norm == 10
    # A wrapper without a type is mmengine's own.
    del cfg.optim_wrapper['type']
    use_amp(cfg)
    assert cfg.optim_wrapper.type == 'Bfloat16OptimWrapper'


def test_amp_leaves_a_precision_of_its_own():
    cfg = Config.fromfile(CONFIG)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0)
    before = cfg.optim_wrapper.to_dict()
    use_amp(cfg)
    assert cfg.optim_wrapper.to_dict() == before


@pytest.mark.parametrize('options', [{}, {'optim_wrapper.type': 'AmpOptimWrapper'}])
def test_amp_is_chosen_as_a_config_is_loaded(options):
    # What the user says is the config's own.
    cfg = runs.load_config(CONFIG, options=options, amp=True)
    assert cfg.optim_wrapper.type == options.get('optim_wrapper.type', 'Bfloat16OptimWrapper')
