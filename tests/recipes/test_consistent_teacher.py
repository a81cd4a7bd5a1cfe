"""Consistent-Teacher against hand-computed numbers, its formulas written out."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torchvision.ops import box_iou, deform_conv2d

from ssod.checkpoints import load_checkpoint
from ssod.pseudo_labels import ExpectedCountSelector, PeakMixtureSelector
from ssod.recipes import AdaptiveAssigner
from ssod.recipes.consistent_teacher import Truth, sample

CONFIG = 'configs/consistentteacher_retinanet_digits10pct.py'
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
    with pytest.raises(ValueError, match=f'AdaptiveAssigner: .*{next(iter(settings))}='):
        AdaptiveAssigner(**settings)


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


def consistent_model(**changes):
    model = Config.fromfile(CONFIG).model
    for name, value in changes.items():
        model[name] = value
    return MODELS.build(model)


@pytest.mark.parametrize(
    ('counts', 'factor'),
    [([0], 0.01), ([1], 1), ([0, 0, 3], 0.01), ([0, 2], 1), ([0, 0, 1, 1], 1), ([1, 2], 1)],
)
def test_little_is_learnt_where_most_is_background(counts, factor):
    model = consistent_model()
    model.student_loss = lambda *_: dict(loss_cls=torch.tensor(3.0), loss_bbox=torch.tensor(2.0))
    strong = [SimpleNamespace(gt_instances=[None] * count) for count in counts]
    got = model.pseudo_loss((), torch.zeros(1), strong)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(
        dict(loss_cls=3 * factor, loss_bbox=2 * factor)
    )


def test_another_head_is_refused():
    detector = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model.detector
    with pytest.raises(ValueError, match='FasterRCNN has no FAM3DHead.*a RetinaNet with') as error:
        consistent_model(detector=detector)
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match="ConsistentTeacher: .*'background_weight'"):
        consistent_model(backgroundweight=1.0)


@pytest.fixture
def cfg(digits_cfg):
    """The recipe on the small scenes: a teacher that finds boxes at once, and short queues."""
    own = Config.fromfile(CONFIG)
    digits_cfg.model = own.model
    digits_cfg.model.detector.backbone.norm_eval = True
    digits_cfg.model.detector.test_cfg.score_thr = 0.001
    teacher = own.default_hooks.teacher
    teacher.update(burn_in=0)
    teacher.selector.selectors[1].update(length=8, least=2)
    digits_cfg.default_hooks.teacher = teacher
    digits_cfg.train_cfg.max_iters = 3
    digits_cfg.default_hooks.checkpoint.interval = 2
    digits_cfg.randomness = dict(seed=5)
    return digits_cfg


def test_training_and_resuming(cfg):
    resumed = copy.deepcopy(cfg)
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{cfg.work_dir}/iter_2.pth'))
    ends = []
    for settings in (cfg, resumed):
        Runner.from_cfg(settings).train()
        ends.append(load_checkpoint(f'{settings.work_dir}/iter_3.pth'))
    whole, part = ends
    # Every image gives one box at least, and all queues go on from what the checkpoint holds.
    states = [end['teacher']['selector']['remembers'][1]['remembers'] for end in ends]
    assert states[0]['seen'].sum() >= 3 * 3
    assert states[0].keys() == states[1].keys() >= {'queues', 'seen', 'thresholds', 'fitted_at'}
    for name, value in states[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][name])), name
    middle = load_checkpoint(f'{cfg.work_dir}/iter_2.pth')
    assert (
        0
        < middle['teacher']['selector']['remembers'][1]['remembers']['seen'].sum()
        < states[0]['seen'].sum()
    )
    for name, tensor in whole['state_dict'].items():
        assert torch.equal(tensor, part['state_dict'][name]), name
        assert tensor.isfinite().all(), name
    # Both followed their lessons.
    for name in ('student.bbox_head.offset.weight', 'teacher.bbox_head.classify.weight'):
        assert not torch.equal(whole['state_dict'][name], middle['state_dict'][name])


def test_the_numbers_of_the_paper():
    for name, decay, weight, iters in (
        ('10pct', 0.9995, 2.0, 180000),
        ('full', 0.9998, 3.0, 720000),
    ):
        cfg = Config.fromfile(f'configs/consistentteacher_retinanet_coco{name}.py')
        assert cfg.default_hooks.teacher.decay == dict(type='warm_up', decay=decay)
        assert cfg.default_hooks.teacher.burn_in == 10000
        assert cfg.model.pseudo_weight == 2.0
        assert cfg.model.detector.train_cfg.assigner.iou_weight == weight
        assert cfg.train_cfg.max_iters == iters
        loader = cfg.train_dataloader
        assert (loader.batch_size, loader.sampler.source_ratio) == (5, [1, 4])
        assert cfg.optim_wrapper.optimizer.lr == 0.01
        assert cfg.optim_wrapper.clip_grad.max_norm == 20
        # The strong view moves the image; the teacher's does not.
        strong, weak = (loader.dataset.datasets[1].pipeline[1][view] for view in ('strong', 'weak'))
        assert 'Rotate' in str(strong)
        assert 'Rotate' not in str(weak)
        chain = TASK_UTILS.build(cfg.default_hooks.teacher.selector)
        assert [type(s) for s in chain.selectors] == [ExpectedCountSelector, PeakMixtureSelector]
        assert chain.state_dict()[1]['remembers']['queues'].shape == (80, 100)


@pytest.mark.parametrize('percent', ['1', '2', '5', '10'])
def test_the_files_of_a_percentage(percent):
    cfg = Config.fromfile(f'configs/consistentteacher_retinanet_coco{percent.zfill(2)}pct.py')
    split = f'annotations/semi_supervised/instances_train2017.1@{percent}'
    files = [part.ann_file for part in cfg.train_dataloader.dataset.datasets]
    assert files == [split + '.json', split + '-unlabeled.json']
