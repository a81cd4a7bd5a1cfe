"""Anchors that cover the labelled boxes."""

import numpy as np
import pytest
from mmengine.config import ConfigDict

from ssod.fitting import anchors
from ssod.fitting.anchors import (
    anchors_of,
    best_ious,
    coverage,
    fit_anchors,
    fitted_anchors,
    generator_of,
)
from ssod.fitting.given import Given

from .conftest import labels_of

SQUARE = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8, 16])


@pytest.mark.parametrize(
    ('box', 'sizes', 'iou'),
    [
        # Alike and in one place; twice as long.
        ((8, 8), [(8, 8, 0)], 1.0),
        ((8, 16), [(8, 8, 0)], 0.5),
        # The same, but 2 pixels aside in both directions: 6 × 6 of 64 + 64 - 36.
        ((8, 8), [(8, 8, 8)], 36 / 92),
        # A small one stays inside a large one: 16 of 256; too far away: nothing.
        ((4, 4), [(16, 16, 8)], 16 / 256),
        ((4, 4), [(4, 4, 64)], 0.0),
        # The better of two.
        ((8, 16), [(8, 8, 0), (8, 12, 0)], 0.75),
    ],
)
def test_ious(box, sizes, iou):
    found = best_ious(np.array([box], float), np.array(sizes, float))
    np.testing.assert_allclose(found, [iou])


def test_coverage():
    one = np.array([(8, 8, 0)], float)
    # IoUs of 1, 0.5 and 0.25: from a half on, a box is covered.
    assert coverage(np.array([(8, 8), (8, 16), (16, 16)], float), one) == pytest.approx(2 / 3)


def test_mmdets_anchors():
    np.testing.assert_allclose(anchors_of(SQUARE), [(32, 32, 8), (64, 64, 16)])
    # A ratio is height over width; octaves are divided by powers of two.
    octaves = dict(octave_base_scale=4, scales_per_octave=2, ratios=[4.0], strides=[8])
    expected = [(16, 64, 8), (16 * 2**0.5, 64 * 2**0.5, 8)]
    np.testing.assert_allclose(anchors_of(octaves), expected, rtol=1e-5)


def test_sizes_and_ratios_are_found():
    # Boxes of 8 and 16 pixels: anchors of 32 and 64 become a quarter, or the next size, which is
    # less away from its place.
    boxes = np.array([(8, 8), (16, 16)] * 5, float)
    changes = fitted_anchors(SQUARE, boxes)
    assert list(changes) == ['scales']
    assert 1 <= changes['scales'][0] < 2
    # Three times as wide as high, or five times as high as wide; the number of ratios stays.
    boxes = np.array([(60, 20), (20, 100)] * 5, float)
    two = {**SQUARE, 'ratios': [0.5, 1.0]}
    assert fitted_anchors(two, boxes)['ratios'] == [0.333, 5.0]
    octaves = dict(octave_base_scale=4, scales_per_octave=2, ratios=[1.0], strides=[8])
    assert fitted_anchors(octaves, np.array([(128, 128)], float))['octave_base_scale'] > 8


def test_thin_boxes_are_alike_lying_and_standing():
    thin = np.array([(640, h) for h in (16, 18, 20, 22, 24)], float)
    three = {**SQUARE, 'ratios': [0.5, 1.0, 2.0]}
    lying, standing = (fitted_anchors(three, boxes)['ratios'] for boxes in (thin, thin[:, ::-1]))
    assert lying == pytest.approx([1 / ratio for ratio in reversed(standing)], rel=0.01)


def test_the_best_stay():
    assert fitted_anchors(SQUARE, np.array([(32, 32), (64, 64)], float)) == {}


def test_anchors_of_a_config(cfg):
    # In images of 640×480, made 1067×800, which is 5/3, boxes of 6×3 are of 10×5.
    told = fit_anchors(cfg, Given({}), labels_of([(640, 480)], [(6, 3)] * 3))
    setting = cfg.model.detector.rpn_head.anchor_generator
    assert told.startswith(f'anchors: scales {setting.scales}')
    assert told.endswith(' which cover 100% of the labelled boxes instead of 0%')
    assert setting.scales[0] < 3
    assert len(setting.ratios) == 3


def test_anchors_that_cover_stay(cfg):
    before = cfg.to_dict()
    # Squares of 19.2 become those of 32 that there are.
    told = fit_anchors(cfg, Given({}), labels_of([(640, 480)], [(19.2, 19.2)]))
    assert told == "anchors: the config's own cover 100% of the labelled boxes"
    # Nine of ten are enough, though smaller anchors would cover the tenth, of 21 pixels, as well.
    told = fit_anchors(cfg, Given({}), labels_of([(640, 480)], [(19.2, 19.2)] * 9 + [(12.6, 12.6)]))
    assert told == "anchors: the config's own cover 90% of the labelled boxes"
    # Boxes of a pixel or two are never covered.
    told = fit_anchors(cfg, Given({}), labels_of([(640, 480)], [(0.6, 0.6)]))
    assert told == "anchors: the config's own cover 0% of the labelled boxes"
    assert cfg.to_dict() == before


@pytest.mark.parametrize(('after', 'fitted'), [(0.54, False), (0.56, True)])
def test_anchors_change_for_a_gain_alone(cfg, monkeypatch, after, fitted):
    shares = iter([0.5, after])
    monkeypatch.setattr(anchors, 'coverage', lambda *_: next(shares))
    monkeypatch.setattr(anchors, 'fitted_anchors', lambda *_: {'scales': [2]})
    before = cfg.to_dict()
    told = fit_anchors(cfg, Given({}), labels_of([(640, 480)], [(6, 3)]))
    assert (cfg.to_dict() != before) is fitted
    assert ('instead of 50%' in told) is fitted


def test_nothing_to_fit(cfg):
    labels = labels_of([(640, 480)], [(6, 3)])
    given = Given({'model.detector.rpn_head.anchor_generator.ratios': [1, 2, 3]})
    assert fit_anchors(cfg, given, labels) is None
    assert fit_anchors(cfg, Given({}), labels_of([(640, 480)])) is None
    # One anchor at a place is no matter of IoU; others than this kind, or none, are left alone.
    many = dict(SQUARE, ratios=[1, 2])
    for detector, found in (
        (dict(bbox_head=dict(anchor_generator=many)), True),
        (dict(bbox_head=dict(anchor_generator=SQUARE)), False),
        (dict(bbox_head=dict(anchor_generator=dict(many, type='YOLOAnchorGenerator'))), False),
        (dict(bbox_head=dict(strides=[8])), False),
        (dict(rpn_head=None), False),
    ):
        assert (generator_of(ConfigDict(detector)) is not None) is found
