"""Consistent-Teacher's head: where it looks boxes up, its losses by hand, mixed precision."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from torchvision.ops import deform_conv2d

from ssod.recipes.consistent_teacher import sample

CONFIG = 'configs/consistentteacher_retinanet_digits10pct.py'
LN2 = math.log(2)


def ramp(height=5, width=6):
    """A map that says where it is, twice: x + 10 y, and minus that."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    place = (x + 10 * y).float()
    return torch.stack([place, -place])[None]


def test_looking_up_elsewhere():
    offsets = torch.zeros(1, 4, 5, 6)
    torch.testing.assert_close(sample(ramp(), offsets), ramp())
    # (dy, dx) of the first channel, then of the second.
    offsets[0, :, 2, 3] = torch.tensor([1.0, -0.5, 0.25, 1.0])
    got = sample(ramp(), offsets)[0, :, 2, 3]
    torch.testing.assert_close(got, torch.tensor([32.5, -26.5]))
    # Beyond the border is what is at the border, not zero.
    offsets[0, :, 4, 5] = torch.tensor([3.0, 0.0, 0.0, 3.0])
    torch.testing.assert_close(sample(ramp(), offsets)[0, :, 4, 5], torch.tensor([45.0, -45.0]))


def test_equal_to_deformable_convolution_inside():
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 4, 9, 9, generator=g)
    offsets = 2 * torch.rand(2, 8, 9, 9, generator=g) - 1
    expected = deform_conv2d(maps, offsets, torch.ones(4, 1, 1, 1))
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(sample(maps, offsets)[inside], expected[inside])


def head(**changes):
    """The digits' head, initialized."""
    torch.manual_seed(0)
    detector = Config.fromfile(CONFIG).model.detector
    detector.bbox_head.update(train_cfg=detector.train_cfg, test_cfg=detector.test_cfg, **changes)
    built = MODELS.build(detector.bbox_head)
    built.init_weights()
    return built


def features(count=2, sizes=(12, 6, 3)):
    g = torch.Generator().manual_seed(1)
    return tuple(torch.randn(count, 64, s, s, generator=g) for s in sizes)


def align(biases, boxes=(10.0, 20.0, 40.0)):
    """Levels of one box each, aligned with offsets that are the same everywhere."""
    built = head()
    torch.nn.init.zeros_(built.offset.weight)
    with torch.no_grad():
        built.offset.bias.copy_(torch.tensor(biases))
    sizes = (12, 6, 3)
    maps = [
        torch.tensor([0.0, 0, b, b]).view(1, 4, 1, 1).expand(1, 4, s, s)
        for b, s in zip(boxes, sizes, strict=True)
    ]
    hints = [torch.zeros(1, 16, s, s) for s in sizes]
    with torch.no_grad():
        return [built._align(maps, hints, level)[0, :, 1, 1].tolist() for level in range(3)]


@pytest.mark.parametrize(
    ('climb', 'expected'),
    [
        # Not at all.
        (0.0, (10, 20, 40)),
        # A quarter from the coarser level; the coarsest has none.
        (0.25, (12.5, 25, 40)),
        # Half from the finer level; the finest has none.
        (-0.5, (10, 15, 30)),
        # Never further than the next level.
        (3.0, (20, 40, 40)),
        (-3.0, (10, 10, 20)),
    ],
)
def test_looking_up_at_another_level(climb, expected):
    assert align([0.0] * 8 + [climb] * 4) == [pytest.approx([0, 0, e, e]) for e in expected]


def test_each_coordinate_has_a_level_of_its_own():
    # x2 from the coarser level, y2 from the finer one.
    got = align([0.0] * 8 + [0.0, 0.0, 0.5, -0.5])
    assert got == [pytest.approx(b) for b in ([0, 0, 15, 10], [0, 0, 30, 15], [0, 0, 40, 30])]


@pytest.mark.parametrize('changed', [0, 1, 2])
def test_offsets_are_read_from_three_levels(changed):
    built = head()
    with torch.no_grad():
        built.offset.weight.mul_(100)
        boxes = built(features())[1]
        hints = [torch.zeros(2, 16, s, s) for s in (12, 6, 3)]
        before = built._align(boxes, hints, 1)
        hints[changed] = hints[changed] + 1
        assert not torch.allclose(built._align(boxes, hints, 1), before)


def test_a_box_that_is_turned_inside_out_stays_as_it_was():
    # Its left edge from three cells further right: anchors are 2.5 cells wide.
    built = head()
    for layer in (built.offset, built.regress):
        torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        plain = built(features())[1]
        built.offset.bias[1] = 3.0
        turned = built(features())[1]
        built.offset.bias[1] = 2.0
        narrowed = built(features())[1]
    # The first level is twelve cells of 8 pixels wide.
    torch.testing.assert_close(turned[0][..., :9], plain[0][..., :9])
    moved = plain[0].clone()
    moved[:, 0] += 16
    torch.testing.assert_close(narrowed[0][..., :10], moved[..., :10])


def loss(built, logits, boxes, gt, labels, pad_shape=(96, 96)):
    instances = InstanceData(bboxes=torch.tensor(gt).reshape(-1, 4), labels=torch.tensor(labels))
    instances.labels = instances.labels.long()
    metas = [dict(img_shape=(96, 96), pad_shape=pad_shape)]
    return built.loss_by_feat(logits, boxes, [instances], metas)


def one_cell(built, box):
    """One anchor for each level; the first predicts ``box``, and the others one far away."""
    logits = [torch.zeros(1, 10, 1, 1) for _ in range(3)]
    boxes = [torch.tensor(b).view(1, 4, 1, 1) for b in (box, *[[500.0, 500, 510, 510]] * 2)]
    return logits, boxes


def test_losses_by_hand():
    built = head()
    logits, boxes = one_cell(built, [-8.0, -8, 8, 0])
    got = loss(built, logits, boxes, [-8.0, -8, 8, 8], [3])
    # IoU and GIoU of the first anchor's box are 1/2: 2 (1 - 1/2), weighted by 1/2. The others' IoU
    # is 0. Sums are divided by 1, as the IoUs make less.
    assert got['loss_bbox'].item() == pytest.approx(0.5)
    # Thirty scores of 1/2, one of them for a right class.
    assert got['loss_cls'].item() == pytest.approx((29 * 0.1875 + 0.0625) * LN2, rel=1e-5)


def test_losses_are_divided_by_the_qualities():
    # Three boxes of one anchor each, which predicts its upper half: IoUs make 1.5.
    built = head()
    logits = [torch.zeros(1, 10, 1, 4), *(torch.zeros(1, 10, 1, 1) for _ in range(2))]
    gt = [[8.0 * i - 3, -3, 8.0 * i + 3, 3] for i in (1, 2, 3)]
    halves = [[x1, y1, x2, 0.0] for x1, y1, x2, _ in gt]
    first = torch.tensor([[500.0, 500, 510, 510], *halves]).T.reshape(1, 4, 1, 4)
    far = torch.tensor([500.0, 500, 510, 510]).view(1, 4, 1, 1)
    got = loss(built, logits, [first, far, far], gt, [0, 1, 2])
    assert got['loss_bbox'].item() == pytest.approx(3 * 0.5 * 2 * (1 - 0.5) / 1.5, rel=1e-5)
    expected = (57 * 0.1875 + 3 * 0.0625) * LN2 / 1.5
    assert got['loss_cls'].item() == pytest.approx(expected, rel=1e-5)


def test_losses_without_a_box():
    built = head()
    got = loss(built, *one_cell(built, [0.0, 0, 8, 8]), [], [])
    assert got['loss_bbox'].item() == 0
    assert got['loss_cls'].item() == pytest.approx(30 * 0.1875 * LN2, rel=1e-5)


def test_what_fills_up_an_image_is_not_learnt():
    # An image of 48 × 96 pixels in a batch of 96 × 96: half of the anchors are beyond it.
    built = head()
    logits, boxes = built(features(count=1))
    whole = loss(built, [torch.zeros_like(m) for m in logits], boxes, [], [])
    half = loss(built, [torch.zeros_like(m) for m in logits], boxes, [], [], pad_shape=(48, 96))
    # 6 of 12, 3 of 6 and 2 of 3 rows.
    share = (6 * 12 + 3 * 6 + 2 * 3) / (12 * 12 + 6 * 6 + 3 * 3)
    assert half['loss_cls'].item() == pytest.approx(share * whole['loss_cls'].item(), rel=1e-5)


@pytest.mark.parametrize(
    'boxes', [[[10.0, 10, 40, 50], [30, 30, 60, 60]], [[10.0, 10, 40, 50]], []]
)
def test_every_parameter_learns(boxes):
    # Trap: in a distributed run, a parameter without gradient stops it.
    built = head()
    got = loss(built, *built(features(count=1)), boxes, [3] * len(boxes))
    sum(got.values()).backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert (built.offset.weight.grad.abs().sum() > 0) == bool(boxes)


def test_initial_scores_are_low():
    # RetinaNet's prior: one of a hundred.
    logits, boxes = head()(features())
    scores = torch.cat([m.flatten() for m in logits]).sigmoid()
    assert scores.mean().item() == pytest.approx(0.01, rel=0.1)
    # Boxes begin near their anchors, 20 pixels wide on the first level.
    assert (boxes[0][:, 2] - boxes[0][:, 0]).mean().item() == pytest.approx(20, rel=0.05)


def test_predictions_lie_in_the_image():
    built = head()
    built.test_cfg.score_thr = 0.0
    metas = [dict(img_shape=(96, 90), scale_factor=(1.0, 1.0))] * 2
    for results in built.predict_by_feat(*built(features()), batch_img_metas=metas):
        assert len(results) == 20
        assert (results.bboxes >= 0).all()
        assert results.bboxes[:, 2].max() <= 90
        assert ((results.scores > 0) & (results.scores < 0.05)).all()


def test_mixed_precision_does_not_move_boxes():
    # The towers may be coarse, the geometry may not: bfloat16 knows 96 from 96.5 but not 96.2.
    built = head()
    with torch.no_grad():
        torch.nn.init.zeros_(built.regress.weight)
        torch.nn.init.zeros_(built.offset.weight)
        # Deltas that bfloat16 knows, unlike what they make of an anchor.
        built.regress.bias.copy_(torch.tensor([0.75, -0.875, 1.25, 2.125]))
        anchors = built(features())[1]
        with torch.autocast('cpu', torch.bfloat16):
            half_logits, boxes = built(features())
    assert all(m.dtype == torch.float32 for m in (*half_logits, *boxes))
    for level, anchor in zip(boxes, anchors, strict=True):
        torch.testing.assert_close(level, anchor, atol=1e-3, rtol=0)


def test_mixed_precision_learns():
    built = head()
    with torch.autocast('cpu', torch.bfloat16):
        got = loss(built, *built(features(count=1)), [[10.0, 10, 40, 50]], [3])
    assert all(value.dtype == torch.float32 for value in got.values())
    sum(got.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in built.parameters())


def test_one_anchor_for_each_cell():
    generator = dict(type='AnchorGenerator', scales=[4, 8], ratios=[1.0], strides=[8, 16, 32])
    with pytest.raises(ValueError, match='FAM3DHead: anchor_generator gives 2 anchors'):
        head(anchor_generator=generator)
    with pytest.raises(ValueError, match="FAM3DHead: .*'stacked_convs'"):
        head(stacked_conv=3)
