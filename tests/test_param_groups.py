"""Parameters in as few groups as there are settings."""

import logging

import pytest
import torch
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.logging import MMLogger
from torch import nn

PARAMWISE = dict(custom_keys=dict(backbone=dict(lr_mult=0.25)), bias_decay_mult=0.0)


def model():
    torch.manual_seed(0)
    made = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), neck=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    made['frozen'] = nn.Linear(2, 2).requires_grad_(False)
    return made


def optimizer(module, constructor, paramwise=PARAMWISE):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.4, weight_decay=0.1))
    build = OPTIM_WRAPPER_CONSTRUCTORS.get(constructor)
    return build(wrapper, paramwise)(module).optimizer


def test_one_group_for_each_setting():
    module = model()
    groups = optimizer(module, 'MergedGroupsConstructor').param_groups
    names = {parameter: name for name, parameter in module.named_parameters()}
    found = {
        (group['lr'], group['weight_decay']): [names[p] for p in group['params']]
        for group in groups
    }
    # A key of its own outweighs what is said of biases; what is frozen takes no step.
    assert found == {
        (0.1, 0.1): ['backbone.weight', 'backbone.bias'],
        (0.4, 0.1): ['neck.weight', 'head.weight'],
        (0.4, 0.0): ['neck.bias', 'head.bias'],
    }


def logged(constructor):
    """What the log says of a model's optimizer."""
    lines = []

    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Lines()
    logger.addHandler(handler)
    try:
        optimizer(model(), constructor)
    finally:
        logger.removeHandler(handler)
    return lines


def test_a_line_for_each_group_and_none_for_each_parameter():
    theirs = logged('DefaultOptimWrapperConstructor')
    assert any('frozen.weight is skipped' in line for line in theirs)
    assert any(line.startswith('paramwise_options -- backbone.weight:lr') for line in theirs)
    told = 'optimizer: 2 parameters with lr'
    ours = [line for line in logged('MergedGroupsConstructor') if 'parameter' in line]
    assert ours == [
        f'{told} 0.1, weight_decay 0.1',
        f'{told} 0.4, weight_decay 0.1',
        f'{told} 0.4, weight_decay 0',
    ]
    # The log is not left without what others say.
    assert logged('DefaultOptimWrapperConstructor') == theirs


def test_steps_are_those_of_single_groups():
    modules = model(), model()
    constructors = 'DefaultOptimWrapperConstructor', 'MergedGroupsConstructor'
    for module, constructor in zip(modules, constructors, strict=True):
        made = optimizer(module, constructor)
        for _ in range(2):
            sum(p.square().sum() for p in module.parameters() if p.requires_grad).backward()
            made.step()
    single, merged = modules
    for name, parameter in single.named_parameters():
        assert torch.equal(parameter, merged.get_parameter(name)), name


def test_one_group_where_all_have_the_same_settings():
    (group,) = optimizer(model(), 'MergedGroupsConstructor', None).param_groups
    assert len(group['params']) == 8


def test_a_parameter_of_several_modules_takes_one_step():
    shared = nn.Linear(2, 2)
    module = nn.ModuleDict(dict(one=nn.Sequential(shared), two=nn.Sequential(shared)))
    with pytest.raises(ValueError, match=r'several modules; set paramwise_cfg\.bypass_duplicate=T'):
        optimizer(module, 'MergedGroupsConstructor')
    paramwise = dict(PARAMWISE, bypass_duplicate=True)
    groups = optimizer(module, 'MergedGroupsConstructor', paramwise).param_groups
    assert sum(len(group['params']) for group in groups) == 2
