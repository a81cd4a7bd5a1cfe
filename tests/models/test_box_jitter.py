"""How surely a teacher places its boxes."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from ssod.models.box_jitter import BoxJitter, relative_spread

SIZE = 96


@pytest.mark.parametrize(
    ('boxes', 'spread'),
    [
        # Always the same place.
        ([[[0.0, 0, 10, 20]], [[0.0, 0, 10, 20]]], [0.0]),
        # One coordinate, 9 and 11: its deviation is √2, of a width of 10; a mean over four.
        ([[[0.0, 0, 9, 20]], [[0.0, 0, 11, 20]]], [2**0.5 / 10 / 4]),
        # Narrower than a pixel: relative to one pixel.
        ([[[1.0, 0, 1, 20]], [[1.0, 0, 1.4, 20]]], [0.4 / 2**0.5 / 4]),
        # Two boxes, of which one is sure.
        (
            [[[0.0, 0, 8, 8], [0.0, 0, 8, 8]], [[0.0, 0, 8, 8], [0.0, 4, 8, 12]]],
            [0.0, 2 * 4 / 2**0.5 / 8 / 4],
        ),
    ],
)
def test_relative_spread(boxes, spread):
    assert relative_spread(torch.tensor(boxes)).tolist() == pytest.approx(spread)


@pytest.mark.filterwarnings('error')
def test_no_boxes_no_spread():
    assert relative_spread(torch.zeros(10, 0, 4)).shape == (0,)


@pytest.fixture
def teacher():
    cfg = get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').model
    cfg.backbone.update(depth=18, base_channels=16, init_cfg=None)
    cfg.neck.update(in_channels=[16, 32, 64, 128])
    cfg.roi_head.bbox_head.fc_out_channels = 64
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def view():
    meta = {'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE), 'scale_factor': (1.0, 1.0)}
    return DetDataSample(metainfo=meta)


def predicted(*scores):
    boxes = torch.tensor([[10.0, 20, 50, 70]]).repeat(len(scores), 1)
    labels = torch.full((len(scores),), 7)
    return InstanceData(bboxes=boxes, scores=torch.tensor(scores), labels=labels)


@torch.no_grad()
def test_only_boxes_of_some_score_are_asked_about(teacher):
    features = teacher.extract_feat(torch.randn(3, 3, SIZE, SIZE))
    predictions = [predicted(0.9, 0.3, 0.5), predicted(), predicted(0.1)]
    torch.manual_seed(1)
    BoxJitter(teacher, times=4).mark(teacher, features, [view()] * 3, predictions)
    sure, none, unsure = (p.uncertainties for p in predictions)
    assert sure.isfinite().tolist() == [True, False, True]
    assert (sure > 0).all()
    assert none.shape == (0,)
    assert unsure.tolist() == [float('inf')]


@torch.no_grad()
def test_boxes_that_stay_where_they_are_are_sure(teacher):
    features = teacher.extract_feat(torch.randn(1, 3, SIZE, SIZE))
    (prediction,) = predictions = [predicted(0.9)]
    BoxJitter(teacher, scale=0.0).mark(teacher, features, [view()], predictions)
    assert prediction.uncertainties.item() == pytest.approx(0, abs=1e-5)


@torch.no_grad()
def test_the_more_the_boxes_move_the_less_sure_they_are(teacher):
    # A region head that refines nothing gives back what it was given.
    torch.nn.init.zeros_(teacher.roi_head.bbox_head.fc_reg.weight)
    features = teacher.extract_feat(torch.randn(1, 3, SIZE, SIZE))
    (prediction,) = predictions = [predicted(0.9)]
    BoxJitter(teacher, times=2000, scale=0.06).mark(teacher, features, [view()], predictions)
    # Half of the coordinates move by a share of the width, half by one of the height.
    assert prediction.uncertainties.item() == pytest.approx(0.06, rel=0.05)


def test_boxes_are_cut_at_the_borders_of_their_own_image(teacher):
    # Refined to 10 and 14 px of width: in an image of 10 px it is the same place. In the other the
    # deviation is 4 / √2, of a mean width of 12; a mean over four.
    refined = torch.tensor([[[0.0, 0, 10, 20]], [[0.0, 0, 14, 20]]])
    jitter = BoxJitter(teacher, times=2)
    jitter.head = SimpleNamespace(evaluate=lambda *_: [(None, refined)] * 2)
    views = [view(), view()]
    views[0].set_metainfo({'img_shape': (SIZE, 10)})
    predictions = [predicted(0.9), predicted(0.9)]
    jitter.mark(teacher, (), views, predictions)
    spreads = [prediction.uncertainties.item() for prediction in predictions]
    assert spreads == pytest.approx([0, 4 / 2**0.5 / 12 / 4])


@pytest.mark.parametrize(
    ('name', 'settings', 'message'),
    [
        ('retinanet/retinanet_r50_fpn_1x_coco', {}, 'box_jitter: RetinaNet has no region head'),
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco', {}, 'GridRCNN .*, or set box_jitter=None'),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', {'times': 1}, 'times is 1, but must be at'),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', {'time': 9}, "'times'"),
    ],
)
def test_what_cannot_work_is_refused(name, settings, message):
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.init_cfg = None
    with pytest.raises(ValueError, match=message):
        BoxJitter(MODELS.build(cfg), **settings)
