"""NMS, soft-NMS and NMS-match against loops over plain numbers."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms


def _iou(a, b, offset=0):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return inter / (sum(areas) - inter)


def _nms(boxes, scores, threshold, offset=0):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(_iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def _soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    left, kept = dict(enumerate(scores)), []
    while left:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        for i in list(left):
            iou = _iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                left[i] *= math.exp(-iou * iou / sigma)
            elif iou >= threshold:
                left[i] *= 1 - iou if method == 'linear' else 0
            if left[i] < min_score:
                del left[i]
    return kept


def _random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 40
    sizes = torch.rand(count, 2, generator=generator) * 30 + 1
    return torch.cat([corners, corners + sizes], 1), torch.rand(count, generator=generator)


@pytest.mark.parametrize(
    ('boxes', 'scores', 'kept'),
    [
        # Nothing in, nothing out.
        ([], [], []),
        # One box always stays, even of no extent (IoU 0 / 0).
        ([[1, 1, 1, 1]], [0.1], [0]),
        # IoU of 81 / 119 = 0.68: the better goes first, the worse goes.
        ([[0, 0, 10, 10], [1, 1, 11, 11]], [0.5, 0.9], [1]),
        # IoU of 50 / 100 is not above the threshold of 0.5: both stay, best first.
        ([[0, 0, 10, 10], [0, 0, 10, 5]], [0.5, 0.9], [1, 0]),
        # The middle box would remove the last, but is removed itself.
        ([[0, 0, 10, 10], [0, 0, 14, 10], [4, 0, 18, 10]], [0.9, 0.8, 0.7], [0, 2]),
    ],
)
def test_nms_by_hand(boxes, scores, kept):
    dets, indices = nms(torch.tensor(boxes).float().view(-1, 4), torch.tensor(scores), 0.5)
    assert indices.tolist() == kept
    assert dets.shape == (len(kept), 5)


def test_offset_makes_the_last_pixel_count():
    # 3x4 and 3x3 pixels: 9 / 12 = 0.75 with offset 1, (2 * 2) / (2 * 3) = 0.67 without.
    boxes, scores = torch.tensor([[0.0, 0, 2, 3], [0, 0, 2, 2]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.7, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.7, offset=1)[1].tolist() == [0]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.8])
def test_nms_equals_the_loop(threshold, offset):
    boxes, scores = _random_boxes(80, seed=0)
    expected = _nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert nms(boxes, scores, threshold, offset)[1].tolist() == expected


def test_nms_of_half_precision_and_of_arrays():
    boxes, scores = _random_boxes(30, seed=1)
    expected = _nms(boxes.half().tolist(), scores.half().tolist(), 0.5)
    assert nms(boxes.half(), scores.half(), 0.5)[1].tolist() == expected
    kept = nms(boxes.numpy(), scores.numpy(), 0.5)[1]
    assert isinstance(kept, np.ndarray)
    assert kept.tolist() == _nms(boxes.tolist(), scores.tolist(), 0.5)


def test_score_threshold_and_maximum_number():
    boxes = torch.tensor([[0.0, 0, 1, 1], [2, 0, 3, 1], [4, 0, 5, 1]])
    indices = nms(boxes, torch.tensor([0.2, 0.5, 0.9]), 0.5, score_threshold=0.3, max_num=1)[1]
    assert indices.tolist() == [2]


def test_batched_nms_keeps_classes_apart():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]])
    scores, classes = torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 0, 1])
    kept = batched_nms(boxes, scores, classes, {'type': 'nms', 'iou_threshold': 0.5})[1]
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('count', [0, 1, 40])
def test_soft_nms_equals_the_loop(count, method, offset):
    boxes, scores = (tensor.double() for tensor in _random_boxes(count, seed=2))
    dets, indices = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    expected = _soft_nms(boxes.tolist(), scores.tolist(), 0.3, 0.5, 0.05, method, offset)
    assert indices.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([s for _, s in expected]).double())
    torch.testing.assert_close(dets[:, :4], boxes[indices])


def test_soft_nms_leaves_its_input_alone():
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]]), torch.tensor([0.9, 0.8])
    soft_nms(boxes, scores)
    assert scores.tolist() == torch.tensor([0.9, 0.8]).tolist()


def test_nms_match_groups_by_hand():
    # 1 takes 0 (IoU 0.8) and 3 (equal to it); 2 is alone. At the threshold, it joins.
    dets = torch.tensor(
        [[0, 0, 10, 8, 0.7], [0, 0, 10, 10, 0.9], [50, 50, 60, 60, 0.8], [0, 0, 10, 10, 0.6]]
    )
    assert [group.tolist() for group in nms_match(dets, 0.8)] == [[1, 0, 3], [2]]
    assert [group.tolist() for group in nms_match(dets, 0.81)] == [[1, 3], [2], [0]]
    assert nms_match(dets[:0], 0.5) == []
