"""Which score thresholds suit a detector."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from ssod.pseudo_labels.sweep import (
    THRESHOLDS,
    ClassSweep,
    Sweep,
    selector_of,
    sweep_table,
    sweep_validation,
)

BOXES = [[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]]


def instances(boxes, labels, scores=None):
    made = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels).long(),
    )
    if scores is not None:
        made.scores = torch.tensor(scores)
    return made


NONE = instances([], [])


def test_nothing():
    (row,) = Sweep(['a']).rows()
    assert (row.truths, set(row.kept), set(row.right)) == (0, {0}, {0})
    assert row.recommended is None
    assert row.precision(0.5) is None
    assert row.recall(0.5) is None


def test_one_image():
    sweep = Sweep(['a', 'b'])
    # Of class a a right box, one that finds the same truth again, and one on the other class's;
    # of class b nothing.
    found = instances([BOXES[0], [0, 0, 10, 9], BOXES[1]], [0, 0, 0], [0.92, 0.62, 0.32])
    sweep.add(found, instances(BOXES, [0, 1, 0]), NONE)
    a, b = sweep.rows()
    assert (a.name, a.truths, b.name, b.truths) == ('a', 2, 'b', 1)
    kept = dict(zip(THRESHOLDS, a.kept, strict=True))
    assert [kept[t] for t in (0.05, 0.3, 0.35, 0.6, 0.65, 0.9, 0.95)] == [3, 3, 2, 2, 1, 1, 0]
    assert a.right == (1,) * 18 + (0,)
    assert (a.precision(0.1), a.precision(0.5), a.recall(0.5)) == (pytest.approx(1 / 3), 0.5, 0.5)
    # F1 is 0.4, 0.5 and from 0.65 on 2 / 3: the highest threshold that gives it.
    assert a.recommended == 0.9
    assert b.recommended is None


def test_crowds_do_not_count():
    sweep = Sweep(['a'])
    found = instances([BOXES[0], BOXES[1]], [0, 0], [0.9, 0.9])
    sweep.add(found, instances([BOXES[0]], [0]), instances([BOXES[1]], [0]))
    (row,) = sweep.rows()
    assert (row.kept[0], row.right[0], row.truths) == (1, 1, 1)


def test_tables(tmp_path):
    counts = tuple(4 if t < 0.5 else 2 if t < 0.8 else 0 for t in THRESHOLDS)
    right = tuple(2 if t < 0.8 else 0 for t in THRESHOLDS)
    rows = [ClassSweep('cat', 2, counts, right), ClassSweep('dog', 3, (0,) * 19, (0,) * 19)]
    lines = sweep_table(rows).splitlines()
    assert lines[2:] == ['| cat | 2 | 0.75 | 1.00 | 1.00 |', '| dog | 3 | - | - | - |']
    # As lines of somebody's own config.
    (tmp_path / 'a.py').write_text("_base_ = ['b.py']\n" + selector_of(rows))
    (tmp_path / 'b.py').write_text(
        "default_hooks = dict(teacher=dict(burn_in=3, selector=dict(type='x', threshold=0.7)))"
    )
    assert Config.fromfile(tmp_path / 'a.py').default_hooks.teacher == dict(
        burn_in=3, selector=dict(type='ClassScoreSelector', thresholds=[0.75, 1.0])
    )


def test_a_class_without_true_boxes_has_the_threshold_of_the_others():
    def always(name, truths, until):
        kept = tuple(truths if t <= until else 0 for t in THRESHOLDS)
        return ClassSweep(name, truths, kept, kept)

    rows = [always('cat', 2, 0.3), always('dog', 0, 0.3), always('cow', 1, 0.6)]
    note, line = selector_of(rows).splitlines()
    assert note == '# No true box of dog: 0.3, the median of the others.'
    assert 'thresholds=[0.3, 0.3, 0.6]' in line
    # Nobody knows anything.
    assert 'thresholds=[1.0]' in selector_of(rows[1:2])


def test_validation_images(scored_cfg):
    scored_cfg.val_dataloader.update(num_workers=0, batch_size=3)
    torch.manual_seed(0)
    model = MODELS.build(scored_cfg.model)
    model.init_weights()
    rows = sweep_validation(scored_cfg, model)
    assert [row.name for row in rows] == [str(digit) for digit in range(10)]
    # All true boxes of the four scenes.
    assert sum(row.truths for row in rows) >= 4
    # What an untrained detector finds has low scores.
    assert sum(row.kept[0] for row in rows) > 0
    assert sum(row.kept[-1] for row in rows) == 0


def test_no_validation_images(scored_cfg):
    scored_cfg.val_dataloader = None
    with pytest.raises(ValueError, match='has no val_dataloader, whose images the thresholds need'):
        sweep_validation(scored_cfg, None)
