"""Boxes that count as much as their weights say."""

from functools import cache

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from ssod.models.box_weights import check_weighable, weighted_boxes

# Of each the losses of boxes and those of classes.
HEADS = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': (['loss_bbox', 'loss_rpn_bbox'], 'loss_cls'),
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco': (['s2.loss_bbox', 'loss_rpn_bbox'], 's2.loss_cls'),
    'retinanet/retinanet_r50_fpn_1x_coco': (['loss_bbox'], 'loss_cls'),
    'atss/atss_r50_fpn_1x_coco': ([], 'loss_cls'),
    'gfl/gfl_r50_fpn_1x_coco': ([], 'loss_cls'),
}

# Region heads do not count regions of weight 0.
TINY = 1e-6


@cache
def detector(name):
    """A small one of a kind, in train mode."""
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.update(depth=18, base_channels=16, init_cfg=None)
    cfg.neck.update(in_channels=[16, 32, 64, 128])
    if 'roi_head' in cfg:
        # So many that no region is left out by lot.
        cfg.train_cfg.rpn.sampler.num = 10**6
        stages = cfg.train_cfg.rcnn
        for stage in stages if isinstance(stages, list) else [stages]:
            stage.sampler.num = 10**4
    torch.manual_seed(0)
    return MODELS.build(cfg).train()


@pytest.fixture(params=HEADS)
def losses(request):
    """The kind of detector, and its losses on two images by their boxes' weights."""

    def loss(*weights):
        torch.manual_seed(0)
        images = torch.randn(2, 3, 96, 96)
        made, model = samples(weights), detector(request.param)
        with weighted_boxes(model, made), torch.no_grad():
            return model.loss(images, made)

    return request.param, loss


def samples(weights):
    """Two images of 96 × 80 pixels with two boxes in the first and one in the second."""
    meta = {'img_shape': (80, 96), 'ori_shape': (80, 96), 'scale_factor': (1.0, 1.0)}
    meta |= {'batch_input_shape': (96, 96), 'pad_shape': (96, 96)}
    images = [[[4.0, 4, 40, 44], [50, 30, 90, 70]], [[20.0, 10, 70, 60]]]
    made = []
    for i, of_image in enumerate(images):
        sample = DetDataSample(metainfo=meta)
        boxes = torch.tensor(of_image)
        if weights:
            # As many boxes as there are weights.
            boxes = boxes[: len(weights[i])]
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)))
        if weights:
            sample.gt_instances.weights = torch.tensor(weights[i])
        made.append(sample)
    return made


def total(value):
    return float(sum(v.sum() for v in value)) if isinstance(value, list) else float(value)


def test_full_weights_change_nothing(losses):
    _, loss = losses
    plain, weighted = loss(), loss([1.0, 1.0], [1.0])
    assert {k: total(v) for k, v in plain.items()} == {k: total(v) for k, v in weighted.items()}


def test_half_weights_halve_what_boxes_teach(losses):
    name, loss = losses
    of_boxes, of_classes = HEADS[name]
    full, half = loss([1.0, 1.0], [1.0]), loss([0.5, 0.5], [0.5])
    for key in of_boxes:
        assert total(half[key]) == pytest.approx(total(full[key]) / 2, rel=1e-5)
    nothing = loss([TINY, TINY], [TINY])
    # Background counts in full, so the loss is a straight line in the weights.
    middle = (total(full[of_classes]) + total(nothing[of_classes])) / 2
    assert total(half[of_classes]) == pytest.approx(middle, rel=1e-4)
    assert total(nothing[of_classes]) < total(full[of_classes])


def test_each_box_has_its_own_weight(losses):
    name, loss = losses
    key = HEADS[name][1]
    full, nothing = total(loss([1.0, 1.0], [1.0])[key]), total(loss([TINY, TINY], [TINY])[key])
    parts = [loss([1.0, TINY], [TINY]), loss([TINY, 1.0], [TINY]), loss([TINY, TINY], [1.0])]
    shares = [total(part[key]) - nothing for part in parts]
    assert all(share > 0 for share in shares)
    assert sum(shares) == pytest.approx(full - nothing, rel=1e-3)


def test_no_box_at_all(losses):
    name, loss = losses
    key = HEADS[name][1]
    assert 0 < total(loss([], [])[key]) < float('inf')


@pytest.mark.parametrize(
    ('name', 'head'),
    [
        ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', 'FCOSHead'),
        # Subclasses of those that can, with losses or targets of their own.
        ('free_anchor/freeanchor_r50_fpn_1x_coco', 'FreeAnchorRetinaHead'),
        ('vfnet/vfnet_r50_fpn_1x_coco', 'VFNetHead'),
        ('paa/paa_r50_fpn_1x_coco', 'PAAHead'),
        ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 'RTMDetSepBNHead'),
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco', 'GridRoIHead'),
        ('pisa/faster-rcnn_r50_fpn_pisa_1x_coco', 'PISARoIHead'),
        ('sabl/sabl-cascade-rcnn_r50_fpn_1x_coco', 'SABLHead'),
    ],
)
def test_heads_that_cannot_weigh_are_refused(name, head):
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.init_cfg = None
    with pytest.raises(ValueError, match=f'{head} cannot weight boxes by their scores; use Faster'):
        check_weighable(MODELS.build(cfg))
