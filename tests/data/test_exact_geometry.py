"""Rotations and shears say exactly where things go: seen in the pixels."""

import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS

from ssod.data.quick_transforms import QUICK, quicken
from ssod.projection import project_boxes
from ssod.seeds import seed_all

HEIGHT, WIDTH = 192, 256


def square(x, y, side=10):
    """An image that is black but for a white square, as loaded with that box."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y : y + side, x : x + side] = 255
    return {'img': image, 'img_shape': (HEIGHT, WIDTH)}, [x, y, x + side, y + side]


def centre_of_white(image):
    """Where the white is, in places: the first pixel's centre is at (0.5, 0.5)."""
    weights = image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape) + 0.5
    return [(weights * numbers).sum() / weights.sum() for numbers in (columns, rows)]


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('place', [(100, 90), (128, 80), (60, 100)])
@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        *((kind, dict(min_mag=20.0, max_mag=20.0)) for kind in ('Rotate', 'ShearX', 'ShearY')),
        *((kind, dict(min_mag=0.1, max_mag=0.1)) for kind in ('TranslateX', 'TranslateY')),
        ('RandomFlip', dict(direction=['horizontal', 'vertical', 'diagonal'])),
    ],
)
def test_a_box_goes_where_its_pixels_go(kind, settings, place, seed):
    results, box = square(*place)
    black = {} if kind == 'RandomFlip' else dict(img_border_value=0)
    transforms = [TRANSFORMS.build(dict(type=kind, prob=1.0, **black, **settings))]
    quicken(transforms)
    seed_all(seed)
    results = transforms[0](results)
    matrix = torch.from_numpy(results['homography_matrix'])
    x1, y1, x2, y2 = project_boxes(torch.tensor([box], dtype=torch.float32), matrix)[0].tolist()
    # mmdet's own are off by up to 0.4.
    expected = centre_of_white(results['img'])
    np.testing.assert_allclose([(x1 + x2) / 2, (y1 + y2) / 2], expected, atol=0.02)


@pytest.mark.parametrize('kind', ['Rotate', 'ShearX', 'ShearY'])
def test_mmdets_is_off(kind):
    # If this fails, mmdet has mended it, and ours is no longer needed.
    results, box = square(60, 100)
    moved = TRANSFORMS.build(
        dict(type=kind, prob=1.0, min_mag=20.0, max_mag=20.0, img_border_value=0)
    )
    assert type(moved) in QUICK
    seed_all(0)
    results = moved(results)
    matrix = torch.from_numpy(results['homography_matrix'])
    x1, y1, x2, y2 = project_boxes(torch.tensor([box], dtype=torch.float32), matrix)[0].tolist()
    off = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - centre_of_white(results['img'])
    assert np.abs(off).max() > 0.1
