"""Validation and test of teacher and student in real runs."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


class Metrics(Hook):
    """Keeps what each validation or test found, and which images were read."""

    def __init__(self):
        self.found, self.batches = [], 0

    def after_val_iter(self, *args, **kwargs):
        self.batches += 1

    def after_val_epoch(self, runner, metrics=None):
        self.found.append(metrics)

    def after_test_epoch(self, runner, metrics=None):
        self.found.append(metrics)


def run(cfg, what):
    runner, metrics = Runner.from_cfg(cfg), Metrics()
    runner.register_hook(metrics)
    getattr(runner, what)()
    return runner, metrics


@pytest.fixture
def trained(digits_cfg):
    """A run of two iterations whose teacher differs from its student."""
    digits_cfg.default_hooks.teacher.decay = 0.9
    digits_cfg.optim_wrapper.optimizer.lr = 0.05
    digits_cfg.param_scheduler = []
    _, metrics = run(digits_cfg, 'train')
    return digits_cfg, metrics


def test_both_are_scored_in_one_pass(trained):
    _, metrics = trained
    (start, last) = metrics.found
    assert {k.split('/')[0] for k in last} == {'teacher', 'student'}
    assert len(last) == 12
    # At the start the teacher is the student.
    assert all(start[k] == start[k.replace('teacher', 'student')] for k in start)
    # Two validations of one batch each: no image is read twice for the two models.
    assert metrics.batches == 2


def test_test_gives_the_validations_last_scores(trained):
    cfg, metrics = trained
    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(Path(cfg.work_dir) / 'iter_2.pth')
    cfg.test_cfg.models = ['student', 'teacher']
    _, tested = run(cfg, 'test')
    assert tested.found == [metrics.found[-1]]


def test_the_metrics_are_logged(trained):
    cfg, metrics = trained
    (log,) = Path(cfg.work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    scored = [row for row in rows if 'teacher/coco/bbox_mAP' in row]
    assert scored[-1]['teacher/coco/bbox_mAP'] == metrics.found[-1]['teacher/coco/bbox_mAP']


def test_save_best_of_the_teacher(digits_cfg):
    digits_cfg.default_hooks.checkpoint.save_best = 'teacher/coco/bbox_mAP'
    run(digits_cfg, 'train')
    (best,) = Path(digits_cfg.work_dir).glob('best_*.pth')
    state = torch.load(best, weights_only=False)['state_dict']
    assert any(name.startswith('teacher.') for name in state)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        # Trap: the metric has another name, and the best checkpoint would never be saved.
        (
            {'default_hooks.checkpoint.save_best': 'coco/bbox_mAP'},
            "save_best is 'coco/bbox_mAP'.*use 'teacher/coco/bbox_mAP'",
        ),
        (
            {
                'default_hooks.checkpoint.save_best': 'student/coco/bbox_mAP',
                'val_cfg.models': ['teacher'],
            },
            'metrics begin with teacher/',
        ),
        ({'val_cfg.models': ['techer']}, "models is .*must name 'teacher'"),
        ({'val_cfg.models': []}, 'must name'),
        ({'val_cfg.model': ['teacher']}, "did you mean 'models'"),
    ],
)
def test_refused_settings(digits_cfg, options, message):
    digits_cfg.merge_from_dict(options)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(digits_cfg).train()
