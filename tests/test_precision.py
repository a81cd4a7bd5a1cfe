"""Training in bfloat16."""

import pytest
import torch
from mmdet.registry import OPTIM_WRAPPERS
from torch import nn

from ssod import runs
from ssod.models.semi_supervised_detector import unwrap

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
    runs.use_amp(digits_cfg)
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
