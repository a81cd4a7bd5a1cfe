"""Counts of what the teacher finds and teaches, by hand."""

import torch
from mmengine.structures import InstanceData

from ssod.pseudo_labels.verdicts import Verdict
from ssod.teachers.box_counts import BoxCounts
from ssod.visualization.report.classes import BINS, LessonCounts
from ssod.visualization.report.looks import Lesson

LABELS = BoxCounts(images=4, with_boxes=4, classes=[2, 6])


def lesson(rows, kinds=None):
    """An image in which the teacher found ``rows`` of (score, label, taught)."""
    scores, labels, taught = zip(*rows, strict=True) if rows else ((), (), ())
    found = InstanceData(
        bboxes=torch.zeros(len(rows), 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels).long(),
    )
    verdicts = None if kinds is None else [Verdict(kind, None) for kind in kinds]
    chosen = torch.tensor(taught, dtype=torch.bool)
    return Lesson(found, chosen, verdicts, None, None, found)


def test_no_image_and_an_image_without_a_box():
    counts = LessonCounts(['cat', 'dog'])
    for images in (0, 1):
        rows = counts.rows(LABELS)
        assert counts.images == images
        # The class with the most labels comes first; shares of nothing are 0.
        assert [(r.name, r.labels, r.label_share) for r in rows] == [
            ('dog', 6, 0.75),
            ('cat', 2, 0.25),
        ]
        assert [(r.pseudo, r.pseudo_share, r.precision) for r in rows] == [(0, 0.0, None)] * 2
        assert counts.histogram(0.5).missing == 'The teacher finds no box on these images.'
        counts.add(lesson([]))


def test_no_labels_at_all():
    counts = LessonCounts(['cat'])
    assert counts.rows(BoxCounts(0, 0, [0]))[0].label_share == 0.0


def test_boxes_are_counted_by_class_and_score():
    counts = LessonCounts(['cat', 'dog'])
    counts.add(lesson([(0.92, 0, True), (0.07, 0, False), (1.0, 1, True)]))
    counts.add(lesson([(0.93, 0, True), (0.0, 1, False)]))
    dog, cat = counts.rows(LABELS)
    assert (cat.pseudo, dog.pseudo) == (2, 1)
    assert (cat.pseudo_share, dog.pseudo_share) == (2 / 3, 1 / 3)
    # Bins of 0.05: 0.92 and 0.93 are in the 19th, 0.07 in the second, 1 in the last, 0 in the first
    assert {i: n for i, n in enumerate(cat.bars) if n} == {1: 1, 18: 2}
    assert {i: n for i, n in enumerate(dog.bars) if n} == {0: 1, BINS - 1: 1}
    # The truth is not known.
    assert cat.precision is None
    keys = counts.histogram(None).keys
    assert [(key.name, key.value, key.colour) for key in keys] == [('all boxes', '5', 'teacher')]


def test_known_truth_tells_right_from_wrong():
    counts = LessonCounts(['cat'])
    kinds = ['right', 'background', 'found twice', 'right']
    counts.add(lesson([(0.9, 0, True), (0.8, 0, True), (0.7, 0, True), (0.1, 0, False)], kinds))
    # Of another image it is not known.
    counts.add(lesson([(0.9, 0, True)]))
    (cat,) = counts.rows(BoxCounts(1, 1, [1]))
    # Of three that are taught and known one is right; what is not taught does not count.
    assert (cat.pseudo, cat.precision) == (4, 1 / 3)
    keys = counts.histogram(0.5).keys
    assert [(key.name, key.value, key.colour) for key in keys] == [
        ('right', '2', 'teacher'),
        ('wrong', '2', 'student'),
        ('not known', '1', 'muted'),
        ('threshold', '0.5', 'muted'),
    ]


def test_boxes_on_a_crowd_are_neither_right_nor_wrong():
    counts = LessonCounts(['cat'])
    kinds = ['right', 'ignored', 'background', 'ignored']
    counts.add(lesson([(0.9, 0, True), (0.8, 0, True), (0.7, 0, True), (0.6, 0, True)], kinds))
    (cat,) = counts.rows(BoxCounts(1, 1, [1]))
    assert (cat.pseudo, cat.precision) == (4, 1 / 2)
    keys = counts.histogram(None).keys
    assert [(key.name, key.value) for key in keys] == [
        ('right', '1'),
        ('wrong', '1'),
        ('not known', '2'),
    ]


def test_crowds_alone_tell_no_precision():
    counts = LessonCounts(['cat'])
    counts.add(lesson([(0.9, 0, True)], ['ignored']))
    assert counts.rows(BoxCounts(1, 1, [1]))[0].precision is None
    assert [key.name for key in counts.histogram(None).keys] == ['not known']
