"""Consistent-Teacher's assigner against hand-computed numbers and its formulas written out."""

import math

import pytest
import torch
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from ssod.recipes import AdaptiveAssigner
from ssod.recipes.consistent_teacher import Truth

LN2 = math.log(2)


def truth(*images):
    """Boxes and labels of each image."""
    return Truth.of(
        [
            InstanceData(
                bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                labels=torch.tensor(labels).long(),
            )
            for boxes, labels in images
        ]
    )


# Four anchors in a row, 8 pixels apart.
ROW = torch.tensor([[4.0, 4, 8], [12, 4, 8], [20, 4, 8], [28, 4, 8]])
FIRST_HALF = [0.0, 0, 16, 8]


def assign_row(boxes, images, logits=None, valid=None, **settings):
    """Assign the row's anchors in one image."""
    boxes = torch.tensor([boxes], dtype=torch.float32)
    logits = torch.zeros(1, 4, 2) if logits is None else torch.tensor([logits])
    valid = torch.ones(1, 4, dtype=torch.bool) if valid is None else torch.tensor([valid])
    assigner = AdaptiveAssigner(**settings)
    index, quality = assigner.assign(logits, boxes, ROW, valid, truth(images))
    return index[0].tolist(), quality[0].tolist()


@pytest.mark.parametrize(
    ('boxes', 'images', 'valid', 'index', 'quality'),
    [
        # No box at all.
        ([FIRST_HALF] * 4, ([], []), None, [-1] * 4, [0] * 4),
        # One box: IoUs 1 and 0.5 in it make 1.5, so that one anchor is taken. The anchors
        # outside predict the box just as well and do not count.
        (
            [FIRST_HALF, [0, 0, 8, 8], FIRST_HALF, FIRST_HALF],
            ([FIRST_HALF], [1]),
            None,
            [0, -1, -1, -1],
            [1, 0, 0, 0],
        ),
        # IoUs 1 and 1 make two.
        ([FIRST_HALF] * 4, ([FIRST_HALF], [1]), None, [0, 0, -1, -1], [1, 1, 0, 0]),
        # The second anchor is beyond the image.
        (
            [FIRST_HALF] * 4,
            ([FIRST_HALF], [1]),
            [True, False, True, True],
            [0, -1, -1, -1],
            [1, 0, 0, 0],
        ),
        # All IoUs are 0: one anchor still, and it weighs nothing.
        ([[50, 50, 60, 60]] * 4, ([[0, 0, 10, 8]], [0]), None, [0, -1, -1, -1], [0] * 4),
        # A box with no centre inside and no other box around it.
        ([[5, 0, 11, 8]] * 4, ([[5, 0, 11, 8]], [0]), None, [-1] * 4, [0] * 4),
        # Two boxes want all anchors; each goes to the one it predicts.
        (
            [FIRST_HALF, FIRST_HALF, [16, 0, 32, 8], [16, 0, 32, 8]],
            ([[16, 0, 32, 8], FIRST_HALF], [0, 0]),
            None,
            [1, 1, 0, 0],
            [1, 1, 1, 1],
        ),
    ],
)
def test_what_anchors_are_assigned(boxes, images, valid, index, quality):
    got = assign_row(boxes, images, valid=valid)
    assert got[0] == index
    assert got[1] == pytest.approx(quality)


def test_scores_break_a_tie_of_boxes():
    # Both predict the box at IoU 0.5; one is taken, the one whose scores are for its class.
    half = [0, 0, 8, 8]
    for better in (0, 1):
        logits = [[-2.0, -2.0] for _ in range(4)]
        logits[better] = [-2.0, 2.0]
        index, _ = assign_row([half] * 4, ([FIRST_HALF], [1]), logits)
        assert index == [0 if i == better else -1 for i in range(4)]


def test_without_a_weight_distance_is_nothing():
    # Two wide boxes with centres 60 strides away, where the power of ten would be infinite.
    wide = [[0.0, 0, 968, 8], [16, 0, 984, 8]]
    predicted = [wide[0], wide[1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert assign_row(predicted, (wide, [0, 0]), distance_weight=0.0)[0][1] == 1


def test_the_class_cost_is_the_focal_loss():
    # At probabilities of 1/2: 0.25 · 1/4 · ln 2 for the class and 0.75 · 1/4 · ln 2 for the others.
    cost = AdaptiveAssigner()._class_cost(torch.zeros(1, 1, 3), torch.tensor([[2, -1]]))
    assert cost[0, 0, 0].item() == pytest.approx((0.0625 + 2 * 0.1875) * LN2)


def plain_assignment(logits, boxes, points, valid, gt, labels, iou_weight, topk=13):
    """The cost and the matching of one image, written out box by box (section 3.2)."""
    owner, quality = [-1] * len(points), [0.0] * len(points)
    centres = points[:, :2]
    inside = ((centres[:, None] > gt[:, :2]) & (centres[:, None] < gt[:, 2:])).all(-1).any(1)
    candidates = (inside & valid).nonzero()[:, 0].tolist()
    if not candidates:
        return owner, quality
    chance = logits[candidates].sigmoid().double()
    ious = box_iou(boxes[candidates].double(), gt.double())
    cost = torch.zeros_like(ious)
    for j in range(len(gt)):
        one_hot = torch.zeros_like(chance)
        one_hot[:, labels[j]] = 1
        right = torch.where(one_hot == 1, chance, 1 - chance)
        alpha = torch.where(one_hot == 1, 0.25, 0.75)
        focal = -(alpha * (1 - right) ** 2 * right.log()).sum(1)
        middle = (gt[j, :2] + gt[j, 2:]) / 2
        away = (centres[candidates] - middle).norm(dim=1) / points[candidates, 2]
        cost[:, j] = focal - iou_weight * (ious[:, j] + 1e-7).log() + 0.001 * 10**away
    wanted_by = [[] for _ in candidates]
    for j in range(len(gt)):
        best = ious[:, j].sort(descending=True).values[:topk]
        for i in cost[:, j].argsort()[: max(1, int(best.sum()))].tolist():
            wanted_by[i].append(j)
    for i, wants in enumerate(wanted_by):
        if wants:
            j = wants[0] if len(wants) == 1 else int(cost[i].argmin())
            owner[candidates[i]], quality[candidates[i]] = j, float(ious[i, j])
    return owner, quality


@pytest.mark.parametrize('seed', range(5))
def test_equal_to_the_formula_written_out(seed):
    # Three images of 6, 1 and 0 boxes at once; two levels; anchors of which some are invalid.
    g = torch.Generator().manual_seed(seed)
    grids = [
        torch.cartesian_prod(torch.arange(n) * s, torch.arange(n) * s)
        for n, s in ((16, 8), (8, 16))
    ]
    strides = torch.tensor([8.0] * 256 + [16.0] * 64)
    points = torch.cat([torch.cat(grids).float(), strides[:, None]], dim=1)
    images = []
    for count in (6, 1, 0):
        corner, side = torch.rand(2, count, 2, generator=g)
        gt = torch.cat([corner * 80, corner * 80 + 10 + side * 50], dim=1)
        images.append((gt.tolist(), torch.randint(0, 4, (count,), generator=g).tolist()))
    centres, noise = points[:, :2], torch.rand(3, 320, 4, generator=g)
    sides = (1 + noise[..., 2:] * 2) * points[:, 2:]
    middles = centres + (noise[..., :2] - 0.5) * 16
    boxes = torch.cat([middles - sides, middles + sides], dim=2)
    logits = 2 * torch.randn(3, 320, 4, generator=g) - 2
    valid = torch.rand(3, 320, generator=g) > 0.1
    index, quality = AdaptiveAssigner(iou_weight=3.0).assign(
        logits, boxes, points, valid, truth(*images)
    )
    assert (index[0] >= 0).sum() > 10
    for i, (gt, labels) in enumerate(images):
        expected = plain_assignment(
            logits[i], boxes[i], points, valid[i], torch.tensor(gt).reshape(-1, 4), labels, 3.0
        )
        assert index[i].tolist() == expected[0]
        assert quality[i].tolist() == pytest.approx(expected[1], abs=1e-5)


def test_more_images_do_not_change_an_assignment():
    # What fills up the shorter list of boxes must not count.
    alone = assign_row([FIRST_HALF] * 4, ([FIRST_HALF], [1]))
    both = AdaptiveAssigner().assign(
        torch.zeros(2, 4, 2),
        torch.tensor([[FIRST_HALF] * 4] * 2),
        ROW,
        torch.ones(2, 4, dtype=torch.bool),
        truth(([FIRST_HALF], [1]), ([[0, 0, 32, 8]] * 5, [0] * 5)),
    )
    assert both[0][0].tolist() == alone[0]


@pytest.mark.parametrize(
    'settings', [dict(topk=0), dict(iou_weight=-1.0), dict(distance_weight=-0.1)]
)
def test_assigner_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=f'AdaptiveAssigner: {next(iter(settings))} is '):
        AdaptiveAssigner(**settings)
