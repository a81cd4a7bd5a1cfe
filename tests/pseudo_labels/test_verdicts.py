"""Verdicts on detections, worked out by hand."""

import pytest
import torch
from mmengine.structures import InstanceData

from ssod.pseudo_labels.verdicts import judge

A = (0, 0, 10, 10)
HALF_A = (0, 0, 10, 5)  # overlaps A with 0.5
FIFTH_A = (0, 0, 10, 2)  # with 0.2
SLIVER_A = (0, 0, 10, 0.9)  # with 0.09
STRIP_A = (0, 0, 10, 1.1)  # with 0.11
FAR = (50, 50, 60, 60)


def found(*rows):
    """Detections, each (box, score, label)."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels).long(),
    )


def true(*rows):
    """True boxes, each (box, label)."""
    boxes, labels = zip(*rows, strict=True) if rows else ((), ())
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.tensor(labels).long()
    )


@pytest.mark.parametrize(
    ('detections', 'truth', 'expected'),
    [
        # Nothing on either side, or on one.
        ([], [], []),
        ([], [(A, 0)], []),
        ([(A, 0.9, 0)], [], [('background', None)]),
        # On an object of its class, of another one, and beside one of either.
        ([(A, 0.9, 0)], [(A, 0)], [('right', 0)]),
        ([(A, 0.9, 1)], [(A, 0)], [('wrong class', 0)]),
        ([(FIFTH_A, 0.9, 0)], [(A, 0)], [('wrong place', 0)]),
        ([(FIFTH_A, 0.9, 1)], [(A, 0)], [('wrong place', 0)]),
        # Both overlaps at which the verdict changes.
        ([(HALF_A, 0.9, 0)], [(A, 0)], [('right', 0)]),
        ([(SLIVER_A, 0.9, 0)], [(A, 0)], [('background', None)]),
        ([(STRIP_A, 0.9, 0)], [(A, 0)], [('wrong place', 0)]),
        # The surest one chooses first, wherever it stands.
        ([(HALF_A, 0.5, 0), (A, 0.9, 0)], [(A, 0)], [('found twice', 0), ('right', 0)]),
        # Even if the other one fits better and nothing else is near enough for it.
        (
            [((2.2, 0, 12.2, 10), 0.9, 0), (A, 0.5, 0)],
            [(A, 0), ((4.5, 0, 14.5, 10), 0)],
            [('right', 0), ('found twice', 0)],
        ),
        # Each finds its own, in whatever order they stand.
        ([(A, 0.9, 1), (FAR, 0.8, 0)], [(FAR, 0), (A, 1)], [('right', 1), ('right', 0)]),
        # The right class counts even if another object is nearer.
        ([(A, 0.9, 0)], [(A, 1), (HALF_A, 0)], [('right', 1)]),
        # What one has found is left to no other, which takes the next best.
        ([(A, 0.9, 0), (A, 0.8, 0)], [(A, 0), (HALF_A, 0)], [('right', 0), ('right', 1)]),
        # The number is that of the object in question.
        ([(A, 0.9, 0)], [(FAR, 0), (A, 1)], [('wrong class', 1)]),
    ],
)
def test_verdicts(detections, truth, expected):
    assert judge(found(*detections), true(*truth)) == expected


@pytest.mark.parametrize(
    ('detection', 'truth', 'expected'),
    [
        # In a crowd a detection is no mistake, whatever else there is.
        ((A, 0.9, 0), [], 'ignored'),
        ((A, 0.9, 0), [(HALF_A, 1)], 'ignored'),
        # What is right stays right.
        ((A, 0.9, 0), [(A, 0)], 'right'),
        # A detection elsewhere is one.
        ((FAR, 0.9, 0), [], 'background'),
        # So is one of another class, as in COCO's scores.
        ((A, 0.9, 1), [], 'background'),
        ((A, 0.9, 1), [(A, 0)], 'wrong class'),
    ],
)
def test_crowds(detection, truth, expected):
    crowd = true(((0, 0, 40, 40), 0))
    assert judge(found(detection), true(*truth), crowd)[0].kind == expected


def test_a_detection_of_which_less_than_half_lies_in_a_crowd_counts():
    crowd = true(((0, 0, 10, 4), 0))
    assert judge(found((A, 0.9, 0)), true(), crowd)[0].kind == 'background'
