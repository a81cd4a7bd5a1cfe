"""Non-maximum suppression within groups."""

import pytest
import torch

from ssod.ops.grouped_nms import grouped_nms, plain_nms


def test_none_and_one():
    none = torch.zeros(0)
    assert grouped_nms(torch.zeros(0, 4), none, none, 0.5).tolist() == []
    box = torch.tensor([[1.0, 1.0, 3.0, 3.0]])
    assert grouped_nms(box, torch.tensor([0.1]), torch.tensor([2]), 0.5).tolist() == [0]


@pytest.mark.parametrize(
    ('groups', 'threshold', 'kept'),
    [
        # The first two overlap by 8 x 10 of 12 x 10.
        ([0, 0, 0], 0.6, [1, 2]),
        ([0, 0, 0], 0.7, [1, 0, 2]),
        # Boxes of other classes do not count, though they begin at 0.
        ([0, 1, 1], 0.6, [1, 0, 2]),
    ],
)
def test_overlapping_boxes(groups, threshold, kept):
    boxes = torch.tensor([[0.0, 0, 10, 10], [2.0, 0, 12, 10], [40.0, 40, 50, 50]])
    scores = torch.tensor([0.8, 0.9, 0.1])
    assert grouped_nms(boxes, scores, torch.tensor(groups), threshold).tolist() == kept


def test_settings():
    assert plain_nms(dict(type='nms', iou_threshold=0.5))
    assert plain_nms(dict(iou_threshold=0.5))
    assert not plain_nms(dict(type='soft_nms', iou_threshold=0.5))
    assert not plain_nms(dict(type='nms', iou_threshold=0.5, class_agnostic=True))
    assert not plain_nms({})
