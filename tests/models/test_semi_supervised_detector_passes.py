"""How often the parts of a model are asked in one step."""

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hub import get_config
from torch import nn

from ssod.data.branches import pop_branch
from ssod.models import SemiSupervisedDetector, regions
from ssod.models.regions import boxes_of_class

from .conftest import batch, build, digits_model, lesson, losses_of


def test_one_pass_of_the_backbone():
    model = build(digits_model())
    data = batch()
    lesson(model, data)
    sizes = []
    model.student.backbone.register_forward_pre_hook(lambda _, x: sizes.append(tuple(x[0].shape)))
    losses_of(model, data)
    assert sizes == [(4, 3, 64, 64)]


def test_a_loss_of_the_students_that_somebody_overrides(monkeypatch):
    """It is asked for labelled images and for pseudo-boxes, though both could share a pass."""
    counts = []

    class Own(SemiSupervisedDetector):
        def student_loss(self, features, inputs, samples):
            counts.append(len(samples))
            return super().student_loss(features, inputs, samples)

    monkeypatch.setitem(MODELS.module_dict, 'Own', Own)
    model, data = build({**digits_model(), 'type': 'Own'}), batch()
    lesson(model, data)
    losses_of(model, data)
    assert counts == [2, 2]


@pytest.mark.parametrize('name', ['retinanet', 'atss', 'gfl'])
def test_a_dense_head_looks_once_at_strong_views(name, monkeypatch):
    """Whatever these are taught; the losses are the same."""
    results, looks = [], {}
    for alone in (True, False):
        model = digits_model(consistency=dict(num_regions=12))
        model.detector = get_config(f'mmdet::{name}/{name}_r50_fpn_1x_coco.py').model
        model.detector.backbone.update(depth=18, base_channels=8, init_cfg=None)
        model.detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=32)
        model.detector.bbox_head.update(in_channels=32, feat_channels=32, stacked_convs=1)
        detector, data = build(model), batch()
        lesson(detector, data)
        looks[alone] = Counter()
        layer = [m for m in detector.student.bbox_head.modules() if isinstance(m, nn.Conv2d)][-1]
        layer.register_forward_hook(
            lambda _, x, y, seen=looks[alone]: seen.update([x[0].shape[2:]])
        )
        if alone:
            monkeypatch.setattr(regions, 'one_pass', lambda *_: nullcontext())
        losses = losses_of(detector, data)
        monkeypatch.undo()
        total, _ = detector.parse_losses(losses)
        total.backward()
        gradients = [p.grad for p in detector.student.parameters()]
        results.append((losses, [g for g in gradients if g is not None]))
    # At the labelled images, and at the strong views once or twice.
    (_, times), *_ = looks[True].most_common(1)
    assert looks[True] == {size: 3 * count // 2 for size, count in looks[False].items()}
    assert times >= 3
    assert len(results[0][1]) > 50
    torch.testing.assert_close(*results)


def test_proposals_are_made_once_for_predictions_and_regions():
    model = build(digits_model(consistency=dict(num_regions=7)))
    weak = pop_branch(batch(), 'weak')
    plain = build(digits_model())
    expected, _ = plain.teach(copy.deepcopy(weak))
    calls, looks = [], []
    predict = model.teacher.rpn_head.predict
    model.teacher.rpn_head.predict = lambda *args, **kw: calls.append(1) or predict(*args, **kw)
    model.teacher.roi_head.bbox_head.register_forward_hook(lambda *_: looks.append(1))
    predictions, regions = model.teach(weak)
    # Nor is a region judged twice.
    assert len(calls) == len(looks) == 1
    assert [len(of_image) for of_image in regions] == [7, 7]
    features = model.teacher.extract_feat(model.data_preprocessor.stack(weak)[0])
    evaluated = model.consistency.head.evaluate(model.teacher, features, regions)
    for region, (logits, boxes) in zip(regions, evaluated, strict=True):
        torch.testing.assert_close(region.logits, logits)
        torch.testing.assert_close(region.bboxes, boxes_of_class(boxes, region.labels))
    for found, wanted in zip(predictions, expected, strict=True):
        torch.testing.assert_close(found.bboxes, wanted.bboxes)
        torch.testing.assert_close(found.scores, wanted.scores)
