"""Non-maximum suppression within groups."""

import pytest
import torch
import torchvision
from mmcv.ops import batched_nms

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


@pytest.mark.parametrize('most', [0, 1, 7, 40, 199, 500])
@pytest.mark.parametrize('threshold', [0.1, 0.7])
def test_the_first_of_many(most, threshold):
    draw = torch.Generator().manual_seed(most)
    corner = torch.rand(500, 2, generator=draw) * 50
    boxes = torch.cat([corner, corner + 5 + torch.rand(500, 2, generator=draw) * 20], dim=1)
    # Many have the same score.
    scores = torch.randint(0, 50, (500,), generator=draw) / 50
    groups = torch.randint(0, 3, (500,), generator=draw)
    wanted = batched_nms(boxes, scores, groups, dict(type='nms', iou_threshold=threshold))[1]
    found = grouped_nms(boxes, scores, groups, threshold, most)
    assert found.tolist() == (wanted[:most] if most else wanted).tolist()


def test_few_are_looked_at_where_few_are_wanted(monkeypatch):
    sizes, nms = [], torchvision.ops.nms
    monkeypatch.setattr(
        torchvision.ops, 'nms', lambda *args: sizes.append(len(args[0])) or nms(*args)
    )
    corner = torch.arange(100.0)[:, None] * torch.tensor([20.0, 0.0])
    boxes = torch.cat([corner, corner + 10], dim=1)
    # The twenty best are the same box.
    boxes[:20] = boxes[0]
    scores, groups = torch.linspace(1, 0.5, 100), torch.zeros(100)
    assert grouped_nms(boxes, scores, groups, 0.5, 4).tolist() == [0, 20, 21, 22]
    assert sizes == [8, 16, 32]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('most', [0, 1])
def test_half_precision(dtype, most):
    """As mmcv does it, whose operator computes in float32."""
    boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7], [0, 0, 8, 7], [20, 20, 30, 30]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25, 0.125], dtype=dtype)
    groups = torch.tensor([0, 0, 1, 1])
    _, expected = batched_nms(boxes, scores, groups, dict(type='nms', iou_threshold=0.5))
    found = grouped_nms(boxes, scores, groups, 0.5, most)
    assert found.tolist() == expected.tolist()[: most or None] == [1, 2, 3][: most or None]


def test_settings():
    assert plain_nms(dict(type='nms', iou_threshold=0.5))
    assert plain_nms(dict(iou_threshold=0.5))
    assert not plain_nms(dict(type='soft_nms', iou_threshold=0.5))
    assert not plain_nms(dict(type='nms', iou_threshold=0.5, class_agnostic=True))
    assert not plain_nms({})
    # mmcv's word for no suppression at all.
    assert not plain_nms(None)
