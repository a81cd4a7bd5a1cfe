"""Changes of colours: every bit as mmcv's."""

import mmcv
import numpy as np
import pytest

from ssod.data import colours

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (37, 61, 3), dtype=np.uint8)
IMAGES = {
    'one pixel': np.array([[[3, 200, 77]]], np.uint8),
    # Its histogram has one value: there is nothing to stretch.
    'one colour': np.full((5, 7, 3), 90, np.uint8),
    'black': np.zeros((16, 16, 3), np.uint8),
    'white': np.full((16, 16, 3), 255, np.uint8),
    # Few values, and rows that no vector register divides.
    'pale': RNG.integers(100, 103, (33, 35, 3), dtype=np.uint8),
    'extremes': 255 * RNG.integers(0, 2, (40, 40, 3), dtype=np.uint8),
    'noise': NOISE,
    # A view of another image, as mmcv's flip gives it.
    'backwards': NOISE[:, ::-1],
}
FACTORS = [0.0, 0.1, 0.7, 1.0, 1.3, 1.9, 2.0]


@pytest.mark.parametrize('name', IMAGES)
@pytest.mark.parametrize(
    'change', ['adjust_brightness', 'adjust_contrast', 'adjust_color', 'adjust_sharpness']
)
def test_by_a_factor(change, name):
    image = IMAGES[name].copy() if name != 'backwards' else IMAGES[name]
    before = image.copy()
    for factor in FACTORS:
        found = getattr(colours, change)(image, factor)
        assert found.dtype == np.uint8
        assert np.array_equal(found, getattr(mmcv, change)(image, factor)), factor
    assert np.array_equal(image, before)


@pytest.mark.parametrize('name', IMAGES)
@pytest.mark.parametrize(
    ('ours', 'theirs'), [('auto_contrast', 'auto_contrast'), ('equalize', 'imequalize')]
)
def test_by_histogram(ours, theirs, name):
    image = IMAGES[name]
    found = getattr(colours, ours)(image)
    assert found.dtype == np.uint8
    assert np.array_equal(found, getattr(mmcv, theirs)(image))


def test_by_value():
    found = colours.by_value(NOISE, lambda values: mmcv.solarize(values, 128.0))
    assert np.array_equal(found, np.where(NOISE < 128, NOISE, 255 - NOISE))
