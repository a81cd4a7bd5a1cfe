"""Steps of the graph with numbers computed by hand."""

import math

import pytest
import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder, DistancePointBBoxCoder

from ssod.export.boxes import best, chosen, decode, larger


def test_deltas_become_boxes():
    # Around (20, 10), 20 x 10 large; a tenth of a deviation is 2 to the right, the height doubles.
    anchors = torch.tensor([[10.0, 5.0, 30.0, 15.0]])
    deltas = torch.tensor([[1.0, 0.0, 0.0, math.log(2) / 0.2]])
    coder = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    assert decode(coder, anchors, deltas, (50, 50))[0].tolist() == pytest.approx([12, 0, 32, 20])
    # Clipped to an image of 16 x 24.
    assert decode(coder, anchors, deltas, (16, 24))[0].tolist() == pytest.approx([12, 0, 24, 16])


def test_distances_become_boxes():
    points, distances = torch.tensor([[20.0, 10.0]]), torch.tensor([[25.0, 2.0, 3.0, 4.0]])
    coder = DistancePointBBoxCoder()
    assert decode(coder, points, distances, (50, 50))[0].tolist() == [0, 8, 23, 14]
    assert decode(coder, points, distances, (12, 22))[0].tolist() == [0, 8, 22, 12]


def test_none_and_one():
    none = torch.zeros(0)
    assert [part.tolist() for part in best(none, 3)] == [[], []]


def test_the_best():
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7])
    assert best(scores, 2)[1].tolist() == [1, 3]
    # Fewer than so many.
    assert best(scores, 9)[1].tolist() == [1, 3, 2, 0]


def test_rows_of_all_parts():
    first, second = chosen(torch.tensor([True, False, True]), torch.arange(3), -torch.arange(3))
    assert (first.tolist(), second.tolist()) == ([0, 2], [0, -2])


def test_sides():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 9.0, 4.0], [0.0, 0.0, 5.0, 6.0]])
    # Both sides must be longer.
    assert larger(boxes, 4).tolist() == [False, False, True]
    assert larger(torch.zeros(2, 4), -1).tolist() == [True, True]
