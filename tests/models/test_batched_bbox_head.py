"""Boxes of regions, against mmdet's own head."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

SHAPES = [(96, 96), (80, 90), (96, 64), (40, 30)]
COUNTS = [30, 20, 0, 25]
CLASSES = 3


def both(**settings):
    cfg = dict(in_channels=2, roi_feat_size=1, fc_out_channels=4, num_classes=CLASSES, **settings)
    kinds = ('BatchedShared2FCBBoxHead', 'Shared2FCBBoxHead')
    return [MODELS.build(dict(cfg, type=kind)) for kind in kinds]


def said(boxes=CLASSES, scale=3.0):
    """Regions, scores and deltas of four images; of the third there is no region."""
    generator = torch.Generator().manual_seed(0)
    regions, scores, deltas = [], [], []
    for i, count in enumerate(COUNTS):
        corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values.flatten(1)
        regions.append(torch.cat([torch.full((count, 1), i), corners * 96], dim=1))
        scores.append(scale * torch.randn(count, CLASSES + 1, generator=generator))
        deltas.append(torch.randn(count, 4 * boxes, generator=generator))
    return tuple(regions), tuple(scores), tuple(deltas)


def metas():
    return [dict(img_shape=shape, scale_factor=(0.5, 2.0)) for shape in SHAPES]


def settings(**changes):
    return ConfigDict(
        dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100) | changes
    )


@pytest.mark.parametrize('rescale', [False, True])
@pytest.mark.parametrize(
    'test_cfg',
    [
        settings(),
        settings(score_thr=0.6, max_per_img=5),
        settings(max_per_img=-1),
        # As ours sees that it knows no such thing.
        settings(nms=dict(type='soft_nms', iou_threshold=0.5)),
    ],
)
def test_boxes_are_mmdets(test_cfg, rescale):
    found, wanted = (of.predict_by_feat(*said(), metas(), test_cfg, rescale) for of in both())
    assert len(found[2]) == 0
    assert len(found[0]) > 3
    same(found, wanted)


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name in set(one.keys()):
            torch.testing.assert_close(
                one[name], other[name], rtol=0, atol=0, check_dtype=len(one) > 0
            )


def test_boxes_of_all_classes_together():
    found, wanted = (
        of.predict_by_feat(*said(boxes=1), metas(), settings())
        for of in both(reg_class_agnostic=True)
    )
    same(found, wanted)


def test_no_box_at_all():
    ours, _ = both()
    found = ours.predict_by_feat(*said(), metas(), settings(score_thr=1.0))
    assert [tuple(f.bboxes.shape) for f in found] == [(0, 4)] * len(SHAPES)


def test_no_region_at_all():
    ours, _ = both()
    nothing = [tuple(part[:0] for part in parts) for parts in said()]
    found = ours.predict_by_feat(*nothing, metas(), settings())
    assert [tuple(f.bboxes.shape) for f in found] == [(0, 4)] * len(SHAPES)


def test_scores_without_suppression_are_mmdets():
    """Asked for by augmentation at test time."""
    found, wanted = (of.predict_by_feat(*said(), metas(), None) for of in both())
    same(found, wanted)
