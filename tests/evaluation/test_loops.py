"""Validation and test of teacher and student in real runs."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.evaluation import loops


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
def trained(scored_cfg):
    """A run of two iterations whose teacher differs from its student."""
    scored_cfg.default_hooks.teacher.decay = 0.9
    scored_cfg.optim_wrapper.optimizer.lr = 0.002
    scored_cfg.param_scheduler = []
    _, metrics = run(scored_cfg, 'train')
    return scored_cfg, metrics


def test_both_are_scored_in_one_pass(trained):
    _, metrics = trained
    (scores,) = metrics.found
    assert {k.split('/')[0] for k in scores} == {'teacher', 'student'}
    assert len(scores) == 12
    # One batch holds all the images: none was read twice for the two models.
    assert metrics.batches == 1


def test_scores_meet_through_the_group_of_processes(scored_cfg):
    loop = Runner.from_cfg(scored_cfg).val_loop
    metrics = [m for e in loop.evaluator.evaluators.values() for m in e.metrics]
    assert [metric.collect_device for metric in metrics] == ['gpu', 'gpu']


def test_test_gives_the_validations_last_scores(trained):
    cfg, metrics = trained
    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(Path(cfg.work_dir) / 'iter_2.pth')
    cfg.test_cfg.models = ['student', 'teacher']
    _, tested = run(cfg, 'test')
    assert tested.found == [metrics.found[-1]]


def test_each_models_detections_have_a_file(trained, tmp_path):
    cfg, _ = trained
    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(Path(cfg.work_dir) / 'iter_2.pth')
    cfg.test_evaluator = [
        dict(cfg.test_evaluator, outfile_prefix=str(tmp_path / 'boxes')),
        dict(type='DumpResults', out_file_path=str(tmp_path / 'all.pkl')),
    ]
    cfg.test_cfg.models = ['teacher', 'student']
    run(cfg, 'test')
    both = {f'boxes_{name}.bbox.json' for name in ('teacher', 'student')}
    assert {path.name for path in tmp_path.glob('boxes*')} == both
    assert {path.name for path in tmp_path.glob('all*')} == {'all_teacher.pkl', 'all_student.pkl'}
    cfg.test_cfg.models = ['student']
    run(cfg, 'test')
    assert (tmp_path / 'boxes.bbox.json').exists()


def test_the_metrics_are_logged(trained):
    cfg, metrics = trained
    (log,) = Path(cfg.work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    scored = [row for row in rows if 'teacher/coco/bbox_mAP' in row]
    assert scored[-1]['teacher/coco/bbox_mAP'] == metrics.found[-1]['teacher/coco/bbox_mAP']


def test_save_best_of_the_teacher(scored_cfg):
    scored_cfg.default_hooks.checkpoint.save_best = 'teacher/coco/bbox_mAP'
    run(scored_cfg, 'train')
    (best,) = Path(scored_cfg.work_dir).glob('best_*.pth')
    state = torch.load(best, weights_only=False)['state_dict']
    assert any(name.startswith('teacher.') for name in state)


class Blind(Hook):
    """Lets models detect nothing any more from the second iteration on."""

    def __init__(self, names):
        self.names = names

    @torch.no_grad()
    def before_val(self, runner):
        for name in self.names if runner.iter == 2 else ():
            classifier = getattr(runner.model, name).roi_head.bbox_head.fc_cls
            classifier.weight.zero_()
            classifier.bias.copy_(100.0 * (torch.arange(len(classifier.bias)) == 10))


@pytest.mark.parametrize('names', [['student'], ['teacher', 'student']])
def test_who_detects_nothing_scores_0_with_mmdets_metric(scored_cfg, monkeypatch, names):
    told = []
    monkeypatch.setattr(loops, 'print_log', lambda line, *_: told.append(line.partition(' on ')[0]))
    scored_cfg.val_evaluator.type = 'CocoMetric'
    scored_cfg.train_cfg.val_interval = 1
    # Trap: it fails where there is no such score.
    scored_cfg.default_hooks.checkpoint.save_best = 'student/coco/bbox_mAP'
    runner, metrics = Runner.from_cfg(scored_cfg), Metrics()
    runner.register_hook(metrics)
    runner.register_hook(Blind(names))
    runner.train()
    before, after = metrics.found
    assert before.keys() == after.keys()
    assert len(before) == 12
    assert {after[f'{name}/coco/bbox_mAP'] for name in names} == {0.0}
    assert told == [f'the {name} detects nothing at all' for name in names]


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
def test_refused_settings(scored_cfg, options, message):
    scored_cfg.merge_from_dict(options)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(scored_cfg).train()
