"""The consistency loss of hand-made predictions, and where its gradient goes."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from ssod.models.consistency import Consistency

from .conftest import batch, build, digits_model, lesson, losses_of

JUNK = [-99.0, -99, 999, 999]
"""The box of a class that nobody asks about."""


@pytest.fixture(scope='module')
def detector():
    """It only says which kind of head there is; all predictions are made by hand."""
    return MODELS.build(digits_model().detector)


def head(softmax, **said):
    """A region head that says what it is told to."""
    return SimpleNamespace(
        softmax=softmax, two_heads=False, comparable=lambda regions, _: regions, **said
    )


def view(img_shape):
    return DetDataSample(metainfo={'img_shape': img_shape})


@pytest.mark.parametrize(
    ('softmax', 'teacher', 'student', 'of_class'),
    [
        # The background is last. Distances (0.1² + 0.1² + 0.2²) / 3 = 0.02 and
        # (0.3² + 0 + 0.3²) / 3 = 0.06, and each region counts the same.
        (True, [[0.6, 0.3, 0.1], [0.05, 0.05, 0.9]], [[0.5, 0.2, 0.3], [0.35, 0.05, 0.6]], 0.04),
        # Sigmoids: 0.2² / 2 = 0.02 and 0.4² / 2 = 0.08.
        (False, [[0.9, 0.2], [0.05, 0.1]], [[0.7, 0.2], [0.05, 0.5]], 0.05),
    ],
)
def test_two_regions(detector, softmax, teacher, student, of_class):
    """The teacher says 0.9 and 0.1 for an object; the student 0.7 and less than 0.6."""
    activated = torch.log if softmax else torch.logit
    # Of images of one region each.
    regions = InstanceData(
        priors=torch.tensor([[0.0, 0, 10, 20], [0, 0, 40, 40]]),
        bboxes=torch.tensor([[0.0, 0, 12, 24], [0, 0, 30, 30]]),
        labels=torch.tensor([0, 1]),
        logits=activated(torch.tensor(teacher)),
    )
    strong = [view((64, 64)), view((64, 64))]
    strong[0].regions, strong[1].regions = regions[:1], regions[1:]
    boxes = torch.tensor([[[1.0, 0, 12, 20], JUNK], [JUNK, [8, 0, 38, 38]]], requires_grad=True)
    logits = activated(torch.tensor(student)).requires_grad_()
    consistency = Consistency(detector)
    predictions = list(zip(logits.split(1), boxes.split(1), strict=True))
    consistency.head = head(softmax, evaluate=lambda *_: predictions)
    losses = consistency.loss(detector, (), strong)
    assert losses['loss_cls'].item() == pytest.approx(of_class)
    # In units of the priors, ((1/10)² + (4/20)²) / 4 = 0.0125 and 3 · (8/40)² / 4 = 0.03, which
    # count as much as the teacher is sure of an object.
    assert losses['loss_bbox'].item() == pytest.approx(0.9 * 0.0125 + 0.1 * 0.03)
    losses['loss_bbox'].backward()
    # The student's box is 1 px too far right, of 10, and 4 px too short, of 20:
    # 0.9 · 2 · 1 / 10² / 4 and 0.9 · 2 · -4 / 20² / 4.
    torch.testing.assert_close(boxes.grad[0, 0], torch.tensor([0.0045, 0, 0, -0.0045]))
    assert boxes.grad[0, 1].tolist() == [0, 0, 0, 0]
    # How sure anybody is gets no gradient of places.
    assert logits.grad is None


def test_what_is_visible_of_a_region_is_its_own_images(detector):
    # Of 40 px squares, an image of 20 x 30 px shows 600 of 1600, and one of 60 px all.
    square = torch.tensor([[0.0, 0, 40, 40]])
    regions = [InstanceData(priors=square), InstanceData(priors=square)]
    said = torch.tensor([[0.2, 0.7, 0.1]]).log(), torch.tensor([[JUNK, [1.0, 2, 3, 4]]])
    consistency = Consistency(detector)
    consistency.head = head(True, propose=lambda *_: (regions, [said, said]))
    found = consistency.regions(detector, (), [view((30, 20)), view((60, 60))])
    assert [region.visible.tolist() for region in found] == [[0.375], [1.0]]
    # The box is the best class's.
    assert [region.labels.tolist() for region in found] == [[1], [1]]
    assert [region.bboxes.tolist() for region in found] == [[[1, 2, 3, 4]]] * 2


def test_the_verifier_is_heard_on_each_images_own_regions(detector):
    # Of the same prediction twice, it says class 0 in the one image and class 1 in the other.
    boxes = torch.zeros(1, 1, 4)
    regions = [InstanceData(priors=torch.tensor([[0.0, 0, x, 40]])) for x in (10, 20)]
    said = torch.tensor([[0.25, 0.25, 0.5]]).log(), boxes
    asked = []

    def verify(priors):
        asked.extend(p.tolist() for p in priors)
        return torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()

    consistency = Consistency(detector)
    consistency.head = head(True, propose=lambda *_: (regions, [said, said]))
    found = consistency.regions(detector, (), [view((64, 64))] * 2, verify)
    assert asked == [[[0, 0, 10, 40]], [[0, 0, 20, 40]]]
    assert [region.labels.tolist() for region in found] == [[0], [1]]


@pytest.mark.parametrize(
    ('name', 'layer'),
    [('faster_rcnn', 'roi_head.bbox_head.fc_reg'), ('retinanet', 'bbox_head.retina_reg')],
)
def test_places_are_learnt_by_the_students_box_branch(name, layer):
    """By the distance between boxes alone, and by nobody else's branch."""
    model = digits_model(consistency=dict(num_regions=12))
    if name == 'retinanet':
        model.detector = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model
        model.detector.backbone.update(depth=18, base_channels=8, init_cfg=None)
        model.detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=32)
        model.detector.bbox_head.update(in_channels=32, feat_channels=32, stacked_convs=1)
    both, data = build(model), batch()
    lesson(both, data)
    losses_of(both, data)['consistency_loss_bbox'].backward()
    assert both.student.get_parameter(f'{layer}.weight').grad.abs().sum() > 0
    # The classifier has no say in it, nor has the teacher.
    classifier = layer.replace('_reg', '_cls')
    assert not has_gradient(both.student.get_submodule(classifier))
    assert not has_gradient(both.teacher)


def has_gradient(module):
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
