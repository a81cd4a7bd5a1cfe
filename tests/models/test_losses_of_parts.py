"""The losses of parts of a batch, against mmdet's loss of each part alone."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from ssod.data.sampler import DRAW
from ssod.models import quick_matching
from ssod.models.box_weights import weighted_boxes
from ssod.models.features import features_of, given_features
from ssod.models.losses_of_parts import is_faster_rcnn, learns_proposals_alone, losses_of_parts
from ssod.models.quick_matching import quicken_matching
from ssod.models.region_sampling import region_samplers, sampling_by_image

DIGITS = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model.detector


def build(detector=DIGITS):
    torch.manual_seed(0)
    model = MODELS.build(detector)
    model.init_weights()
    return model.train()


def sample(number, *boxes, **more):
    meta = dict(img_shape=(64, 64), pad_shape=(64, 64), batch_input_shape=(64, 64))
    made = DetDataSample(metainfo={**meta, DRAW: (0, number)})
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    made.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 10, **more)
    made.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return made


def parts(**of_first_box):
    """Three images of the first part, two of the second; some without boxes."""
    return (
        [sample(0, (4, 4, 30, 40), (20, 30, 50, 60)), sample(1), sample(2, (0, 0, 20, 20))],
        [
            sample(3, (10, 12, 40, 44), **of_first_box),
            sample(4, **{k: v[:0] for k, v in of_first_box.items()}),
        ],
    )


def alone(model, features, first, samples):
    """mmdet's own loss of one part."""
    of_part = features_of(features, first, first + len(samples))
    with (
        given_features(model, of_part),
        weighted_boxes(model, samples),
        sampling_by_image(region_samplers(model), samples),
    ):
        return model.loss(torch.zeros(len(samples), 3, 64, 64), samples)


def check(model, found, expected):
    """Losses and their gradients."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda m, name=name: f'{name}: {m}')
    gradients = []
    for losses in (found, expected):
        total, _ = model.parse_losses(losses)
        parameters = [p for n, p in model.named_parameters() if not n.startswith('backbone')]
        gradients.append(
            torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('weights', [{}, dict(weights=torch.tensor([0.25]))])
@pytest.mark.parametrize('kind', ['BatchedRPNHead', 'RPNHead'])
def test_each_part_has_mmdets_loss(weights, kind):
    model = build(dict(DIGITS, rpn_head=dict(DIGITS.rpn_head, type=kind)))
    features = model.extract_feat(torch.rand(5, 3, 64, 64))
    first, second = parts(**weights)
    found = losses_of_parts(model, region_samplers(model), features, first, second, True)
    first, second = parts(**weights)
    check(model, found[0], alone(model, features, 0, first))
    check(model, found[1], alone(model, features, 3, second))
    if weights:
        full = alone(model, features, 3, parts()[1])
        assert found[1]['loss_bbox'] < full['loss_bbox']


def test_matched_and_drawn_as_on_a_gpu_the_loss_is_the_same(monkeypatch):
    """Where all are drawn, for otherwise others are."""
    model = build()
    quicken_matching(model)
    for sampler in region_samplers(model):
        sampler.num = 10**5
    features = model.extract_feat(torch.rand(5, 3, 64, 64))
    losses = []
    for devices in (set(), {'cpu'}):
        monkeypatch.setattr(quick_matching, 'QUICK_ON', devices)
        samplers = region_samplers(model)
        losses.append(losses_of_parts(model, samplers, features, *parts(), True))
    for found, expected in zip(*losses, strict=True):
        check(model, found, expected)


def test_a_part_may_teach_proposals_alone():
    model = build()
    features = model.extract_feat(torch.rand(5, 3, 64, 64))
    found = losses_of_parts(model, region_samplers(model), features, *parts(), False)
    first, second = parts()
    check(model, found[0], alone(model, features, 0, first))
    expected = alone(model, features, 3, second)
    check(model, found[1], {name: v for name, v in expected.items() if 'rpn' in name})


def test_the_heads_run_once():
    model = build()
    features = model.extract_feat(torch.rand(5, 3, 64, 64))
    calls = []
    for head in (model.rpn_head, model.roi_head.bbox_roi_extractor, model.roi_head.bbox_head):
        head.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    losses_of_parts(model, region_samplers(model), features, *parts(), True)
    assert calls == ['BatchedRPNHead', 'PyramidRoIExtractor', 'BatchedShared2FCBBoxHead']


@pytest.mark.parametrize(
    ('name', 'known'),
    [
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', True),
        # Its regions go through a stage of the backbone, with batch norms.
        ('faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco', False),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', False),
        ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', False),
        ('pisa/faster-rcnn_r50_fpn_pisa_1x_coco', False),
        ('guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco', False),
        ('retinanet/retinanet_r50_fpn_1x_coco', False),
        ('fast_rcnn/fast-rcnn_r50_fpn_1x_coco', False),
        ('sabl/sabl-faster-rcnn_r50_fpn_1x_coco', False),
    ],
)
def test_what_is_a_faster_rcnn(name, known):
    detector = get_config(f'mmdet::{name}.py').model
    detector.backbone.init_cfg = None
    assert is_faster_rcnn(MODELS.build(detector)) is known


@pytest.mark.parametrize(
    ('name', 'factors', 'alone'),
    [
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', dict(loss_cls=0, loss_bbox=0), True),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', dict(loss_cls=0, loss_bbox=0.1), False),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', dict(loss_cls=0), False),
        # Masks have a loss as well; a cascade calls its losses otherwise; no proposals at all.
        ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', dict(loss_cls=0, loss_bbox=0), False),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', dict(loss_cls=0, loss_bbox=0), False),
        ('retinanet/retinanet_r50_fpn_1x_coco', dict(loss_cls=0, loss_bbox=0), False),
    ],
)
def test_who_learns_proposals_alone(name, factors, alone):
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.init_cfg = None
    assert learns_proposals_alone(MODELS.build(cfg), factors) is alone


@pytest.mark.parametrize(
    ('norm', 'known'),
    [(dict(type='BN'), False), (dict(type='SyncBN'), False), (dict(type='GN', num_groups=8), True)],
)
def test_a_head_whose_outputs_depend_on_other_images(norm, known):
    head = dict(DIGITS.roi_head.bbox_head, type='Shared4Conv1FCBBoxHead', norm_cfg=norm)
    detector = build(dict(DIGITS, roi_head=dict(DIGITS.roi_head, bbox_head=head)))
    assert is_faster_rcnn(detector) is known


def test_a_head_with_more_losses_does_not_learn_proposals_alone():
    heads = dict(DIGITS.roi_head.bbox_head, type='TwoHeadBBoxHead')
    two = build(dict(DIGITS, roi_head=dict(DIGITS.roi_head, bbox_head=heads)))
    none = dict(loss_cls=0.0, loss_bbox=0.0)
    assert is_faster_rcnn(two)
    assert not learns_proposals_alone(two, none)
    assert learns_proposals_alone(build(), none)


def test_ignored_boxes_are_ignored_by_proposals_too():
    model = build()
    model.rpn_head.assigner.ignore_iof_thr = 0.5
    features = model.extract_feat(torch.rand(5, 3, 64, 64))
    first, second = parts()
    first[0].ignored_instances = InstanceData(bboxes=torch.tensor([[0.0, 0, 60, 60]]))
    found = losses_of_parts(model, region_samplers(model), features, first, second, True)
    check(model, found[0], alone(model, features, 0, first))
