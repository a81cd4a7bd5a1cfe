"""The blur of strong views."""

import math

import numpy as np
import pytest

from ssod.data.gaussian_blur import GaussianBlur


def dot():
    image = np.zeros((21, 21, 3), np.uint8)
    image[10, 10] = 255
    return {'img': image}


def test_blur():
    np.random.seed(0)
    blurred = GaussianBlur(prob=1.0, sigma=(1.0, 1.0))(dot())['img']
    # The middle of a Gaussian of deviation 1 in two dimensions: 255 / 2π.
    assert blurred[10, 10, 0] == pytest.approx(255 / (2 * math.pi), abs=2)
    assert blurred.dtype == np.uint8
    assert (GaussianBlur(prob=0.0)(dot())['img'] == dot()['img']).all()


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (dict(prob=2), 'prob is 2'),
        (dict(sigma=(0.0, 1.0)), r'sigma is \(0.0, 1.0\)'),
        (dict(sigma=(2.0, 1.0)), 'sigma'),
        (dict(sigmas=(2.0, 1.0)), "'sigma'"),
    ],
)
def test_impossible_blurs_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        GaussianBlur(**setting)
