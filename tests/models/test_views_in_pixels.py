"""Whose pixels the teacher's boxes and regions are in: the weak view's, then the strong view's."""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch.testing import assert_close

from .conftest import build, digits_model

SHAPES = [(64, 64), (48, 32)]


def dense_teacher():
    """Not trained, it is sure of nothing."""
    model = Config.fromfile('configs/denseteacher_fcos_digits10pct.py').model
    model.detector.test_cfg.score_thr = 0.0
    return model


MODELS = {
    'mean teacher': lambda: digits_model(consistency=dict(num_regions=12)),
    'dense teacher': dense_teacher,
}


def weak_views(factor):
    """Two views of two sizes, each so many times as wide and high as its file."""
    g = torch.Generator().manual_seed(1)
    pictures = [torch.randint(0, 256, (3, *s), generator=g, dtype=torch.uint8) for s in SHAPES]
    metas = [dict(img_shape=s, ori_shape=(30, 20), img_id=1, scale_factor=factor) for s in SHAPES]
    return {'inputs': pictures, 'data_samples': [DetDataSample(metainfo=meta) for meta in metas]}


@pytest.mark.parametrize('name', MODELS)
def test_the_teachers_boxes_are_in_the_weak_views_pixels(name):
    """And not in the file's, whatever the view was resized by."""
    model = build(MODELS[name]())
    (boxes, soft_targets), (others, other_targets) = (
        model.teach(weak_views(factor)) for factor in ((1.0, 1.0), (2.0, 0.5))
    )
    assert sum(map(len, boxes)) > 10
    for found, other in zip(boxes, others, strict=True):
        assert_close(other.bboxes, found.bboxes, rtol=0, atol=0)
    if name == 'mean teacher':
        for found, other in zip(soft_targets, other_targets, strict=True):
            assert len(found) == 12
            assert_close(other.priors, found.priors, rtol=0, atol=0)
            assert_close(other.bboxes, found.bboxes, rtol=0, atol=0)
    # They are where mmdet finds them, and inside of each view.
    inputs, samples = model.data_preprocessor.stack(weak_views((1.0, 1.0)))
    expected = model.teacher.predict(inputs, samples, rescale=False)
    for found, sample, (height, width) in zip(boxes, expected, SHAPES, strict=True):
        assert_close(found.bboxes, sample.pred_instances.bboxes)
        assert found.bboxes[:, 2].max() <= width
        assert found.bboxes[:, 3].max() <= height
    large = model.teacher.predict(*model.data_preprocessor.stack(weak_views((2.0, 0.5))))
    assert not torch.equal(large[0].pred_instances.bboxes, boxes[0].bboxes)


def test_what_changes_batches_of_a_training_leaves_the_weak_views():
    cfg = digits_model()
    augment = dict(type='BatchFixedSizePad', size=(96, 96), img_pad_value=0)
    cfg.data_preprocessor.data_preprocessor.batch_augments = [augment]
    model, sizes = build(cfg), []
    model.teacher.backbone.register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[2:]))
    model.teach(weak_views((1.0, 1.0)))
    assert sizes == [(64, 64)]


def test_regions_come_into_the_strong_view():
    model = build(digits_model(consistency=dict(num_regions=12)))
    regions = InstanceData(
        priors=torch.tensor([[4.0, 8.0, 20.0, 24.0], [10.0, 0.0, 30.0, 6.0]]),
        bboxes=torch.tensor([[5.0, 8.0, 21.0, 28.0], [10.0, 2.0, 30.0, 6.0]]),
        visible=torch.ones(2),
    )
    strong = DetDataSample(metainfo=dict(img_shape=(64, 160)))
    # Twice as wide, three pixels further right, and five higher.
    matrix = torch.tensor([[2.0, 0.0, 3.0], [0.0, 1.0, -5.0], [0.0, 0.0, 1.0]])
    model.set_soft_targets([copy.deepcopy(regions)], [strong], matrix[None])
    # Of the second one a sixth is left.
    assert strong.regions.priors.tolist() == [[11, 3, 43, 19]]
    assert strong.regions.bboxes.tolist() == [[13, 3, 45, 23]]
