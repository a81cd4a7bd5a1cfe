"""Regions from a pyramid of maps, against mmdet's own extractor."""

import sys
from types import ModuleType

import pytest
import torch
from mmdet.registry import MODELS

STRIDES = [4, 8, 16]


def extractor(kind, strides=STRIDES):
    return MODELS.build(
        dict(
            type=kind,
            roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
            out_channels=5,
            featmap_strides=strides,
        )
    )


def maps(strides=STRIDES, dtype=torch.float32):
    generator = torch.manual_seed(0)
    shapes = [(2, 5, 256 // stride, 320 // stride) for stride in strides]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


# In the order of their sides: levels 1, 0, 2, 0.
REGIONS = torch.tensor(
    [[0.0, 10, 20, 140, 150], [1, 0, 0, 30, 40], [0, 5, 5, 300, 250], [1, 60, 70, 99, 90]]
)


@pytest.mark.parametrize('rows', [[0, 1, 2, 3], [1, 3], [2], [3, 0, 1], []])
@pytest.mark.parametrize('factor', [None, 1.4])
def test_values_and_gradients_are_mmdets(rows, factor):
    feats, regions = maps(), REGIONS[rows]
    ours = extractor('PyramidRoIExtractor')(feats, regions, factor)
    theirs = extractor('SingleRoIExtractor')(feats, regions, factor)
    assert ours.shape == (len(rows), 5, 3, 3)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = (
        torch.autograd.grad((pooled * weight).sum(), feats, allow_unused=True)
        for pooled in (ours, theirs)
        if rows
    )
    for one, other in zip(*gradients, strict=True) if rows else ():
        torch.testing.assert_close(one, other)


def test_without_regions_every_map_has_a_gradient_of_zero():
    feats = maps()
    gradients = torch.autograd.grad(
        extractor('PyramidRoIExtractor')(feats, REGIONS[:0]).sum(), feats
    )
    assert not any(gradient.any() for gradient in gradients)


def test_maps_without_a_region_have_a_gradient():
    feats = maps()
    pooled = extractor('PyramidRoIExtractor')(feats, REGIONS[1:2])
    gradients = torch.autograd.grad(pooled.sum(), feats)
    assert gradients[0].any()
    assert not gradients[1].any()
    assert not gradients[2].any()


@pytest.mark.parametrize('box', [[30, 0, 0, 40], [torch.nan] * 4, [0, 0, torch.inf, 40]])
def test_a_region_of_no_or_no_finite_size_is_empty(box):
    regions = torch.cat([REGIONS, torch.tensor([[0.0, *box]])])
    pooled = extractor('PyramidRoIExtractor')(maps(), regions)
    assert not pooled[-1].any()
    torch.testing.assert_close(pooled[:-1], extractor('PyramidRoIExtractor')(maps(), REGIONS))


def test_one_map():
    feats = maps([8])
    pooled = [
        extractor(kind, [8])(feats, REGIONS)
        for kind in ('PyramidRoIExtractor', 'SingleRoIExtractor')
    ]
    torch.testing.assert_close(*pooled)


def test_places_are_single_where_maps_are_half():
    feats = maps(dtype=torch.bfloat16)
    regions = torch.tensor([[0.0, 201.3, 101.7, 222.9, 131.1]])
    pooled = extractor('PyramidRoIExtractor')(feats, regions)
    assert pooled.dtype == torch.bfloat16
    single = extractor('SingleRoIExtractor')([feat.float() for feat in feats], regions)
    torch.testing.assert_close(pooled.float(), single, rtol=0.01, atol=0.01)
    theirs = extractor('SingleRoIExtractor')(feats, regions)
    assert (theirs.float() - single).abs().max() > 0.05


def test_compiled_operators_get_maps_and_regions_in_single_precision(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', ModuleType('mmcv._ext'))
    ours = extractor('PyramidRoIExtractor')
    seen = []
    for layer in ours.roi_layers:
        layer.register_forward_pre_hook(lambda _, given: seen.extend(x.dtype for x in given))
    pooled = ours(maps(dtype=torch.float16), REGIONS)
    assert pooled.dtype == torch.float16
    assert seen == [torch.float32] * 6
