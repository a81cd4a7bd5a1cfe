"""Each value of docs/from-mmdet.md, against mmdet's config and classes and ours."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config
from mmengine.hub import get_config

ROOT = Path(__file__).parents[2]
THEIRS = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
OURS = ROOT / 'configs/softteacher_fasterrcnn_coco10pct.py'
# `key=value` at the beginning of a cell of mmdet's (first) or ours (second).
CELL = re.compile(r'`([\w.]+)=([^`]+)`')
ROWS = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in (ROOT / 'docs/from-mmdet.md').read_text(encoding='utf-8').splitlines()
    if line.startswith('| ')
]


def values(column):
    found = [match.groups() for row in ROWS if (match := CELL.match(row[column]))]
    return [(key, ast.literal_eval(value)) for key, value in found]


def look_up(cfg, key):
    """A value of a config, or the default of a class."""
    first, _, rest = key.partition('.')
    kind = HOOKS.get(first) or MODELS.get(first) if first[0].isupper() else None
    if kind is not None:
        return inspect.signature(kind).parameters[rest].default
    for part in key.split('.'):
        cfg = cfg[int(part)] if isinstance(cfg, list) else cfg[part]
    return cfg


@pytest.fixture(scope='module')
def configs():
    return get_config(THEIRS), Config.fromfile(OURS)


@pytest.mark.parametrize(('key', 'value'), values(0))
def test_what_mmdet_has(configs, key, value):
    assert look_up(configs[0], key) == value


@pytest.mark.parametrize(('key', 'value'), values(1))
def test_what_we_have(configs, key, value):
    assert look_up(configs[1], key) == value


def test_no_setting_of_mmdets_is_passed_over(configs):
    named = {key for key, _ in values(0)}
    model = configs[0].model
    for part in ('semi_train_cfg', 'semi_test_cfg'):
        assert {f'model.{part}.{name}' for name in model[part]} <= named
    hook = inspect.signature(HOOKS.get('MeanTeacherHook')).parameters
    assert {f'MeanTeacherHook.{name}' for name in hook} <= named
    assert {f'train_dataloader.sampler.{name}' for name in configs[0].train_dataloader.sampler} <= (
        named
    )
