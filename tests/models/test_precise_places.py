"""Boxes and points in float32, whatever autocast computes the rest in."""

import copy
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.dense_heads import TOODHead
from mmdet.models.dense_heads.gfl_head import Integral
from mmdet.models.detectors import semi_base, soft_teacher
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_project
from mmengine.hub import get_config
from torch import nn

from ssod.models.precise_places import PrecisePlacesHook, keep_places_precise

SIZE = 128


def test_distances_are_those_of_float32():
    # bfloat16 does not know most of them: above 8 strides its steps are of 1/16.
    holder = nn.ModuleList([Integral(16)])
    logits = torch.randn(50, 68, generator=torch.manual_seed(0)) * 3
    wanted = holder[0](logits)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert (holder[0](logits) - wanted).abs().max() > 1e-3
        keep_places_precise(holder)
        assert torch.equal(holder[0](logits), wanted)


@pytest.mark.parametrize(
    'name',
    [
        'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
        'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    ],
)
def test_points_that_boxes_are_reckoned_from(name):
    model = detr(name)
    keep_places_precise(model)
    seen = []
    model.bbox_head.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    shape = (SIZE, SIZE)
    sample = DetDataSample(
        metainfo=dict(img_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
    )
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, *shape))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            model.bbox_head.predict(
                **model.forward_transformer(features, [sample]),
                batch_data_samples=[sample],
                rescale=False,
            )
    references = seen[0][0] if isinstance(seen[0], list) else seen[0]
    assert references.dtype == torch.float32
    assert (references != references.bfloat16()).float().mean() > 0.5


def test_losses_of_probabilities_are_outside_autocast():
    # A GPU's autocast refuses binary cross entropy of probabilities.
    head = MODELS.build(get_config('mmdet::tood/tood_r50_fpn_1x_coco.py').model.bbox_head)
    holder, seen = nn.ModuleList([head]), []
    keep_places_precise(holder)
    copied = copy.deepcopy(holder)[0]

    def losses(*given):
        seen.append((*given, torch.is_autocast_enabled('cpu')))

    with (
        mock.patch.object(TOODHead, 'loss_by_feat', losses),
        torch.autocast('cpu', dtype=torch.bfloat16),
    ):
        head.loss_by_feat('maps')
        copied.loss_by_feat('others')
        assert torch.is_autocast_enabled('cpu')
    # A copy's losses are its own.
    assert [given[0] is of for given, of in zip(seen, (head, copied), strict=True)] == [True, True]
    assert [given[1:] for given in seen] == [('maps', False), ('others', False)]


def test_what_attention_samples_is_float32():
    attention = MultiScaleDeformableAttention(embed_dims=8, num_heads=2, num_levels=1, num_points=2)
    seen = []
    attention.value_proj.register_forward_hook(lambda _, __, given: seen.append(given.dtype))
    keep_places_precise(attention)
    attention.value_proj.register_forward_hook(lambda _, __, given: seen.append(given.dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        attention(
            torch.randn(3, 1, 8),
            value=torch.randn(16, 1, 8),
            reference_points=torch.rand(1, 3, 1, 2),
            spatial_shapes=torch.tensor([[4, 4]]),
            level_start_index=torch.tensor([0]),
        )
    assert seen == [torch.bfloat16, torch.float32]


def detr(name):
    """One of mmdet's with a backbone of few channels."""
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.update(depth=18, base_channels=8, init_cfg=None, style='pytorch')
    cfg.neck.in_channels = [channels // 32 for channels in cfg.neck.in_channels]
    for layers in (cfg.encoder, cfg.decoder):
        layers.num_layers = 1
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    model.init_weights()
    return model


def test_the_hook_sees_to_all_detectors_of_a_model():
    pair = nn.ModuleDict({name: nn.ModuleList([Integral(16)]) for name in ('student', 'teacher')})
    PrecisePlacesHook().before_run(SimpleNamespace(model=pair))
    logits = torch.randn(50, 68, generator=torch.manual_seed(0))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert [pair[name][0](logits).dtype for name in pair] == [torch.float32] * 2


def test_mmdets_methods_carry_boxes_without_rounding(monkeypatch):
    for module in (semi_base, soft_teacher):
        monkeypatch.setattr(module, 'bbox_project', module.bbox_project)
    boxes = torch.tensor([[130.3, 20.7, 300.6, 99.9]])
    moved = torch.tensor([[0.937, 0.0, 3.3], [0.0, 0.937, 0.0], [0.0, 0.0, 1.0]])
    expected = bbox_project(boxes, moved, (400, 400))
    PrecisePlacesHook().before_run(SimpleNamespace(model=nn.ModuleList()))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert (bbox_project(boxes, moved, (400, 400)) - expected).abs().max() > 0.3
        for module in (semi_base, soft_teacher):
            assert torch.equal(module.bbox_project(boxes, moved, (400, 400)), expected)
