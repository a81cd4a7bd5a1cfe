"""What an exported detector's images go through."""

import json

import numpy as np
import pytest

from ssod.export.preparation import preparation_of
from ssod.plain_detector import detector_cfg

NAME = 'mt_fasterrcnn_digits10pct'
RGB = (123.675, 116.28, 103.53)


def prepared(cfg, size=None):
    return preparation_of(cfg, detector_cfg(cfg).data_preprocessor, size)


@pytest.fixture
def image():
    """Red, 60 wide and 30 high."""
    pixels = np.zeros((30, 60, 3), np.uint8)
    pixels[:, :, 2] = 200
    return pixels


def test_as_the_config_says(small, image):
    found = prepared(small(NAME))
    assert (found.scale, found.keep_ratio, found.size) == ((96, 96), True, None)
    assert (found.mean, found.network_takes_rgb, found.pad_size_divisor) == (RGB, True, 32)
    pixels = found(image)
    # Twice as large but for the limit of 96; red comes first.
    assert (pixels.shape, pixels.dtype) == ((3, 48, 96), np.float32)
    assert pixels[:, 0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize('size', [None, (30, 20)])
def test_without_its_ratio(small, image, size):
    cfg = small(NAME)
    cfg.test_dataloader.dataset.pipeline[1].update(keep_ratio=False, scale=(40, 50))
    found = prepared(cfg, size)
    height, width = size or (50, 40)
    pixels = found(image)
    assert pixels.shape == (3, height, width)
    # Stretched over all of it, not padded.
    assert (pixels[0] == 200).all()
    told = found.metadata()
    assert json.loads(told['resize']) == {'scale': [width, height], 'keep_ratio': False}
    assert 'boxes' not in told


def test_a_fixed_size(small, image):
    # As large as fits in 80 x 50, wide or high; the rest has the mean colour.
    found = prepared(small(NAME), (50, 80))
    for turned, inside in ((False, (40, 80)), (True, (50, 25))):
        given = image.swapaxes(0, 1) if turned else image
        pixels = found(np.ascontiguousarray(given))
        assert pixels.shape == (3, 50, 80)
        assert (pixels[0] == 200).sum() == inside[0] * inside[1]
        assert (pixels[0, : inside[0], : inside[1]] == 200).all()
        assert pixels[:, -1, -1] == pytest.approx(RGB)
    told = {key: json.loads(value) for key, value in found.metadata().items()}
    assert told['resize'] == {'fit': [80, 50], 'keep_ratio': True, 'pad_colour': list(RGB)}
    # mmdet knows where an image ends, a graph of a fixed size does not.
    assert told['boxes'] == 'clip to the resized image, then divide by the factor'


def test_what_is_done_inside(small):
    cfg = small(NAME)
    cfg.model.data_preprocessor.data_preprocessor.update(pad_value=2, std=[1.0, 2.0, 3.0])
    assert json.loads(prepared(cfg).metadata()['inside']) == {
        'mean': list(RGB),
        'std': [1, 2, 3],
        'pad_size_divisor': 32,
        'pad_value': 2,
    }


@pytest.mark.parametrize('size', [(0, 64), (64, -1)])
def test_a_size_of_nothing_is_refused(small, size):
    with pytest.raises(ValueError, match='height and width must be at least 1'):
        prepared(small(NAME), size)


def test_blue_first(small):
    # A caffe network: means in the order of its channels become those of RGB.
    cfg = small(NAME)
    cfg.model.data_preprocessor.data_preprocessor.update(
        mean=[103.53, 116.28, 123.675], std=[1.0, 2.0, 3.0], bgr_to_rgb=False
    )
    found = prepared(cfg)
    assert (found.mean, found.std, found.network_takes_rgb) == (RGB, (3, 2, 1), False)


def test_one_number_is_a_scale_too(small):
    cfg = small(NAME)
    cfg.test_dataloader.dataset.pipeline[1].scale = 96
    assert prepared(cfg).scale == (96, 96)


def test_no_normalization(small):
    cfg = small(NAME)
    cfg.model.data_preprocessor.data_preprocessor = dict(type='DetDataPreprocessor')
    found = prepared(cfg)
    assert (found.mean, found.std, found.pad_size_divisor) == ((0, 0, 0), (1, 1, 1), 1)


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        ([dict(type='CenterCrop', crop_size=8)], 'pipeline has CenterCrop, which cannot be'),
        ([dict(type='Resize', scale=(8, 8))] * 2, 'pipeline has Resize, which cannot be'),
        ([dict(type='Resize', scale_factor=0.5)], 'pipeline has Resize, which cannot be'),
        ([], 'pipeline has no Resize with a scale'),
        ([dict(type='Resize', scale=(8, 8), backend='pillow')], "Resize with backend='pillow'"),
        (
            [dict(type='Resize', scale=(8, 8), interpolation='nearest')],
            "Resize with interpolation='nearest', which cannot be exported; only 'bilinear'",
        ),
    ],
)
def test_what_cannot_be_prepared(small, steps, message):
    cfg = small(NAME)
    cfg.test_dataloader.dataset.pipeline[1:2] = steps
    with pytest.raises(ValueError, match=message):
        prepared(cfg)
