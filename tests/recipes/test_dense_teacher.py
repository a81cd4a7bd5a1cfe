"""Dense Teacher: its losses against the original's formulas, and what it refuses."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.checkpoints import load_checkpoint
from ssod.recipes.dense_teacher import _cells, _joined, dense_losses

CONFIG = 'configs/denseteacher_fcos_digits10pct.py'
FLIP = torch.tensor([[-1.0, 0, 64], [0, 1, 0], [0, 0, 1]])


def cells(logits, distances, quality):
    return (
        torch.tensor(logits, dtype=torch.float32),
        torch.tensor(distances, dtype=torch.float32),
        torch.tensor(quality, dtype=torch.float32),
    )


def logit(p):
    return math.log(p / (1 - p))


def test_one_cell():
    # Teacher 0.8, student 0.5: cross-entropy -ln 0.5, times 0.3², over max(0.8, 1).
    # Boxes 4 × 4 and 4 × 2 around the cell, the second within the first: IoU 1/2, same hull.
    # Quality 0.5 against 0.9: -ln 0.5.
    teacher = cells([[logit(0.8)]], [[2, 2, 2, 2]], [logit(0.9)])
    student = cells([[0.0]], [[2, 1, 2, 1]], [0.0])
    losses = dense_losses(student, teacher, share=0.01)
    wanted = [math.log(2) * 0.09, 0.5, math.log(2)]
    assert [x.item() for x in losses] == pytest.approx(wanted, rel=1e-5)


def test_cells_outside_of_the_region_are_background():
    # The region is the cell of 0.9: there the student is right. The other one is taught 0, not 0.6.
    teacher = cells([[logit(0.6)], [logit(0.9)]], [[5, 5, 5, 5], [1, 1, 1, 1]], [0, logit(0.9)])
    student = cells([[0.0], [logit(0.9)]], [[1, 9, 1, 9], [1, 1, 1, 1]], [7.0, logit(0.9)])
    of_class, of_box, of_quality = dense_losses(student, teacher, share=0.5)
    assert of_class.item() == pytest.approx(math.log(2) * 0.25, rel=1e-5)
    assert of_box.item() == pytest.approx(0, abs=1e-6)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert of_quality.item() == pytest.approx(entropy, rel=1e-5)


def original(student, teacher, share):
    """The original's ``get_distill_loss`` and ``QFLv2`` from their description, cell by cell."""
    of_class, of_box, of_quality, richness = 0.0, [], [], 0.0
    best = [max(torch.sigmoid(row).tolist()) for row in teacher[0]]
    order = sorted(range(len(best)), key=lambda i: -best[i])
    region = set(order[: int(share * len(best))])
    for i in range(len(best)):
        for x, y in zip(student[0][i].sigmoid(), teacher[0][i].sigmoid(), strict=True):
            wanted = y if i in region else torch.tensor(0.0)
            of_class += F.binary_cross_entropy(x, wanted).item() * (wanted - x).item() ** 2
        if i not in region:
            continue
        richness += best[i]
        a, b = student[1][i].tolist(), teacher[1][i].tolist()
        sides = [min(a[k], b[k]) for k in range(4)]
        hulls = [max(a[k], b[k]) for k in range(4)]

        def area(s):
            return (s[0] + s[2]) * (s[1] + s[3])

        union = area(a) + area(b) - area(sides)
        of_box.append(1 - area(sides) / union + (area(hulls) - union) / area(hulls))
        pair = student[2][i].sigmoid(), teacher[2][i].sigmoid()
        of_quality.append(F.binary_cross_entropy(*pair).item())
    return of_class / richness, sum(of_box) / len(region), sum(of_quality) / len(region)


def test_the_losses_are_the_originals():
    g = torch.Generator().manual_seed(0)

    def drawn():
        return (
            torch.randn(200, 7, generator=g),
            torch.rand(200, 4, generator=g) * 40 + 1,
            torch.randn(200, generator=g),
        )

    student, teacher = drawn(), drawn()
    losses = [x.item() for x in dense_losses(student, teacher, share=0.1)]
    assert losses == pytest.approx(original(student, teacher, 0.1), rel=1e-4)


def test_only_the_student_learns():
    g = torch.Generator().manual_seed(0)
    shapes = [(50, 3), (50, 4), (50,)]
    student, teacher = (
        [torch.rand(s, generator=g).requires_grad_() for s in shapes] for _ in range(2)
    )
    sum(dense_losses(tuple(student), tuple(teacher), share=0.1)).backward()
    assert all(part.grad is None for part in teacher)
    # All cells learn classes; five learn distances and quality.
    taught = [part.grad.reshape(50, -1).any(dim=1).sum().item() for part in student]
    assert taught == [50, 5, 5]


def test_a_teacher_that_sees_nothing_does_not_explode():
    # Where all its scores are 0 the sum that divides would be 0.
    teacher = cells([[-200.0]] * 4, [[0, 0, 0, 0]] * 4, [0.0] * 4)
    student = cells([[0.0]] * 4, [[0, 0, 0, 0]] * 4, [0.0] * 4)
    of_class, of_box, _ = dense_losses(student, teacher, share=0.5)
    assert of_class.item() == pytest.approx(4 * math.log(2) * 0.25, rel=1e-5)
    assert math.isfinite(of_box.item())


@pytest.fixture
def model():
    return built()


def view(shape, **meta):
    sample = DetDataSample(
        metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), **meta)
    )
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.zeros(0, 4)), labels=torch.zeros(0).long()
    )
    return sample


def branch(*shapes):
    g = torch.Generator().manual_seed(1)
    pictures = [torch.randint(0, 256, (3, *s), generator=g, dtype=torch.uint8) for s in shapes]
    return {'inputs': pictures, 'data_samples': [view(s) for s in shapes]}


def test_the_cells_of_an_image_are_those_without_its_padding(model):
    # 70 × 50 pixels are 9 × 7, 5 × 4 and 3 × 2 cells of 8, 16 and 32 pixels; the batch is 96 × 96.
    _, soft_targets = model.teach(branch((70, 50), (96, 96)))
    (shape, first), (_, second) = soft_targets
    assert shape == (70, 50)
    assert [tuple(part.shape) for part in first] == [(89, 10), (89, 4), (89,)]
    assert len(second[0]) == 144 + 36 + 9
    # Level by level and row by row, as the maps have them.
    inputs, _ = model.data_preprocessor.stack(branch((70, 50), (96, 96)))
    maps = model.teacher.bbox_head(model.teacher.extract_feat(inputs))
    assert torch.equal(first[0][9 * 7 + 5], maps[0][1][0, :, 1, 1])
    assert torch.equal(first[1][9 * 7 + 5], maps[1][1][0, :, 1, 1])
    assert torch.equal(second[2][144 + 6], maps[2][1][1, 0, 1, 0])


def test_the_boxes_are_those_of_the_detector(model):
    # One pass of the head gives both the maps and the boxes that are watched.
    inputs, samples = model.data_preprocessor.stack(branch((96, 96)))
    model.teacher.bbox_head.test_cfg.score_thr = 0.0
    predictions, _ = model.teach(branch((96, 96)))
    (wanted,) = model.teacher.predict(inputs, samples, rescale=False)
    assert len(predictions[0]) == 20
    assert torch.equal(predictions[0].bboxes, wanted.pred_instances.bboxes)


def test_distances_are_in_pixels_in_training_too(model):
    head = model.student.bbox_head
    torch.nn.init.constant_(head.conv_reg.bias, 3.0)
    model.teacher.load_state_dict(model.student.state_dict())
    features = model.student.extract_feat(torch.randn(1, 3, 64, 64))
    shapes = [(64, 64)]
    assert head.training
    in_training = _joined(_cells(head, head(features), shapes))
    other = model.teacher.bbox_head
    assert not other.training
    in_test = _joined(_cells(other, other(features), shapes))
    assert in_training[1].min() > 8
    for one, two in zip(in_training, in_test, strict=True):
        assert torch.allclose(one, two)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_in_the_region(model):
    model.share = 1.0
    torch.nn.init.constant_(model.student.bbox_head.conv_reg.bias, 3.0)
    model.teacher.load_state_dict(model.student.state_dict())
    _, soft_targets = model.teach(branch((96, 96)))
    strong = branch((96, 96))
    model.set_soft_targets(soft_targets, strong['data_samples'], torch.eye(3)[None])
    # As in training, where the labelled image is larger and all are padded to it.
    inputs, _ = model.data_preprocessor.stack(branch((96, 96)))
    features = model.student.extract_feat(inputs)
    losses = model.pseudo_loss(features, inputs, strong['data_samples'])
    assert losses['loss_cls'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-4)


def built(**settings):
    cfg = Config.fromfile(CONFIG).model
    cfg.detector.backbone.norm_eval = True
    cfg.update(settings)
    torch.manual_seed(0)
    made = MODELS.build(cfg)
    made.init_weights()
    return made.train()


def test_the_weights():
    model = built(class_weight=1.0)
    _, soft_targets = model.teach(branch((64, 64)))
    strong = branch((64, 64))
    model.set_soft_targets(soft_targets, strong['data_samples'], torch.eye(3)[None])
    features = model.student.extract_feat(torch.randn(1, 3, 64, 64))
    other = built(class_weight=4.0, box_weight=2.0, quality_weight=3.0)
    plain, losses = (m.pseudo_loss(features, None, strong['data_samples']) for m in (model, other))
    factors = {name: (losses[name] / plain[name]).item() for name in losses}
    wanted = {'loss_cls': 4, 'loss_bbox': 2, 'loss_quality': 3}
    assert factors == pytest.approx(wanted)


@pytest.mark.parametrize(
    ('matrix', 'shape'),
    [
        # A flip, a shift by a tenth of a pixel, another size.
        (FLIP, (64, 64)),
        (torch.tensor([[1.0, 0, 0.1], [0, 1, 0], [0, 0, 1]]), (64, 64)),
        (torch.eye(3), (64, 96)),
    ],
)
def test_views_of_different_places_are_refused(model, matrix, shape):
    _, soft_targets = model.teach(branch((64, 64)))
    with pytest.raises(ValueError, match=r'the views of a\.png show .* TwoViews\.common'):
        model.set_soft_targets(soft_targets, [view(shape, img_path='a.png')], matrix[None])


def test_what_cannot_work_is_refused():
    dense = Config.fromfile(CONFIG).model
    faster = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model
    two_stage = dict(dense, detector=faster.detector)
    with pytest.raises(ValueError, match='StandardRoIHead has no maps .* FCOSHead'):
        MODELS.build(two_stage)
    augmented = copy.deepcopy(dense)
    augmented.data_preprocessor.data_preprocessor.batch_augments = [
        dict(type='BatchSyncRandomResize', random_size_range=(64, 96))
    ]
    # Its own remedy: another recipe that resizes nothing would not help.
    message = '^DenseTeacher: batch_augments would .*; remove them from data_preprocessor$'
    with pytest.raises(ValueError, match=message):
        MODELS.build(augmented)
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match=r'share is .* \(0, 1\]'):
            MODELS.build(dict(dense, share=share))
    for name in ('class_weight', 'box_weight', 'quality_weight'):
        with pytest.raises(ValueError, match=f'{name} is -1.0, but must be at least 0'):
            MODELS.build(dict(dense, **{name: -1.0}))


@pytest.fixture
def dense_cfg(digits_cfg):
    leaf = Config.fromfile(CONFIG)
    digits_cfg.model = leaf.model
    digits_cfg.model.update(pseudo_weight=1.0)
    digits_cfg.model.detector.backbone.norm_eval = True
    _, unlabeled = digits_cfg.train_dataloader.dataset.datasets
    unlabeled.pipeline = leaf.unlabeled.pipeline
    digits_cfg.train_cfg.max_iters = 3
    return digits_cfg


def test_it_trains_and_resumes(dense_cfg):
    resumed = copy.deepcopy(dense_cfg)
    runner = Runner.from_cfg(dense_cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    for name in ('cls', 'bbox', 'quality'):
        values = logged[f'train/pseudo_loss_{name}'].data[0]
        assert len(values) == 3
        assert all(math.isfinite(v) and v > 0 for v in values), name
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{dense_cfg.work_dir}/iter_1.pth'))
    other = Runner.from_cfg(resumed)
    other.train()
    ends = [load_checkpoint(f'{r.work_dir}/iter_3.pth')['state_dict'] for r in (runner, other)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_two_views_without_common_are_refused_when_they_differ(dense_cfg):
    _, unlabeled = dense_cfg.train_dataloader.dataset.datasets
    resize = dict(type='RandomResize', scale=(96, 96), ratio_range=(0.6, 1.5))
    unlabeled.pipeline[1] = dict(type='TwoViews', weak=[], strong=[resize])
    with pytest.raises(ValueError, match=r'TwoViews\.common'):
        Runner.from_cfg(dense_cfg).train()
