"""What a run's log says in one line."""

import json
import re
from pathlib import Path

import pytest
from mmdet.registry import LOG_PROCESSORS
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

from ssod.checkpoint_content import WHOSE
from ssod.evaluation.log_lines import scores_line, training_line


@pytest.mark.parametrize(
    ('values', 'latest', 'left', 'line'),
    [
        # Nothing is known yet.
        ({}, {}, None, 'teacher_mAP: -  student_mAP: -  pseudo_boxes: -  alarms: none'),
        # During the burn-in; half a second each.
        (
            {'time': 0.5, 'loss': 2.5, 'sup_loss_cls': 2.0, 'sup_loss_bbox': 0.5, 'lr': 0.001},
            {},
            3725.9,
            'rate: 2/s  eta: 1:02:05  teacher_mAP: -  student_mAP: -  pseudo_boxes: -  '
            'alarms: none  loss: 2.500  sup: 2.500  lr: 1.00e-03',
        ),
        # Later. An accuracy is no loss; an alarm of 0 is over; the last validation counts.
        (
            {
                'loss': 3.75,
                'sup_loss_rpn': 1.0,
                'sup_acc': 90.0,
                'pseudo_loss_cls': 0.5,
                'pseudo_loss_bbox': 0.25,
                'consistency_loss': 2.0,
                'pseudo_boxes': 1.26,
                'pseudo_precision': 0.5,
                'pseudo_recall': 0.125,
                'memory': 900,
            },
            {
                'val/teacher/coco/bbox_mAP': 0.1234,
                'val/student/coco/bbox_mAP': -1.0,
                'alarm/gap': 1.0,
                'alarm/classes': 0.0,
                'alarm/images': 1.0,
            },
            None,
            'teacher_mAP: 12.3  student_mAP: -  pseudo_boxes: 1.3  pseudo_precision: 0.50  '
            'pseudo_recall: 0.12  alarms: gap, images  loss: 3.750  sup: 1.000  pseudo: 0.750  '
            'consistency: 2.000  memory: 900 MB',
        ),
    ],
)
def test_a_line_of_the_training(values, latest, left, line):
    assert training_line(values, latest, 7, 1000, left) == f'Iter(train) [   7/1000]  {line}'


def test_a_line_of_a_validation():
    values = {f'teacher/coco/bbox_mAP{end}': 0.256 for end in ('', '_50', '_75', '_s', '_m', '_l')}
    values |= {'student/coco/bbox_mAP': 0.25, 'student/coco/bbox_mAP_50': -1.0}
    line = 'teacher_mAP: 25.6  teacher_mAP50: 25.6  student_mAP: 25.0  student_mAP50: -'
    assert scores_line(values) == line
    # Of another metric everything is told.
    values = {'teacher/mine/x': 0.12347, 'n': 3, 'time': 0.1, 'data_time': 0.1}
    assert scores_line(values) == 'teacher/mine/x: 0.1235  n: 3'
    assert scores_line({}) == ''


def test_the_lines_of_a_run(scored_cfg, capfd):
    scored_cfg.train_cfg.update(max_iters=3, val_interval=2)
    Runner.from_cfg(scored_cfg).train()
    log = next(Path(scored_cfg.work_dir).glob('*/*.log')).read_text()
    first, _, third = re.findall(r'Iter\(train\) \[\d/3\]  (.*)', log)
    assert ' eta: ' in first
    assert '  teacher_mAP: -  student_mAP: -  pseudo_boxes: ' in first
    assert '  alarms: none  loss: ' in third
    assert re.search(r'  teacher_mAP: \d+\.\d  student_mAP: \d+\.\d  ', third)
    value = r'\d+\.\d'
    scores = [f'{who}_{name}: {value}' for who in WHOSE for name in ('mAP', 'mAP50')]
    assert len(re.findall(r'Iter\(val\) \[1/1\]  ' + '  '.join(scores) + '\n', log)) == 2
    # COCO's tables do not say of whom they are.
    assert 'Average Precision' not in capfd.readouterr().out


def test_rank_0_alone_writes_the_scores_of_a_test(monkeypatch, scored_cfg):
    runner = Runner.from_cfg(scored_cfg)
    scores = runner.test()
    (path,) = Path(runner.log_dir).glob('*.json')
    written = json.loads(path.read_text())
    assert {name: written[name] for name in scores} == scores
    path.unlink()
    (logger,) = (hook for hook in runner.hooks if isinstance(hook, LoggerHook))
    with monkeypatch.context() as patch:
        patch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
        logger.after_test_epoch(runner, scores)
    assert not path.exists()
    logger.after_test_epoch(runner, scores)
    assert path.exists()


def test_a_setting_that_does_not_exist():
    with pytest.raises(ValueError, match="ShortLogProcessor: unknown setting 'by_epochs'"):
        LOG_PROCESSORS.build(dict(type='ShortLogProcessor', by_epochs=False))
