"""The numbers of mmdet's preprocessor."""

from copy import deepcopy

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from ssod.models.quick_preprocessor import QuickDetDataPreprocessor, build_preprocessor

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
CFG = dict(type='DetDataPreprocessor', **IMAGENET, bgr_to_rgb=True, pad_size_divisor=32)


def batch(*sizes, channels=3, dtype=torch.uint8, in_rows=False):
    """Random images (height, width) as loaded: planes, or with the pixels of a row in order."""
    draw = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (channels, *s), generator=draw).to(dtype) for s in sizes]
    if in_rows:
        images = [i.permute(1, 2, 0).contiguous().permute(2, 0, 1) for i in images]
    samples = [DetDataSample(metainfo=dict(img_shape=s)) for s in sizes]
    return {'inputs': images, 'data_samples': samples}


@pytest.mark.parametrize('in_rows', [False, True])
@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(bgr_to_rgb=False),
        dict(bgr_to_rgb=False, rgb_to_bgr=True),
        dict(pad_size_divisor=1, pad_value=7),
        dict(mean=[127.5], std=[64.0]),
        dict(mean=None, std=None),
        dict(batch_augments=[dict(type='BatchFixedSizePad', size=(160, 160), img_pad_value=3)]),
    ],
)
def test_the_numbers_are_mmdets(settings, in_rows):
    cfg = {key: value for key, value in {**CFG, **settings}.items() if value is not None}
    data = batch((70, 50), (64, 96), (33, 101), in_rows=in_rows)
    preprocessors = build_preprocessor(cfg), own(cfg)
    for training in (False, True):
        found, wanted = (p(deepcopy(data), training) for p in preprocessors)
        assert torch.equal(found['inputs'], wanted['inputs'])
        assert [s.metainfo for s in found['data_samples']] == [
            s.metainfo for s in wanted['data_samples']
        ]


@pytest.mark.parametrize(
    'data',
    [
        batch((40, 30), dtype=torch.float32),
        {'inputs': torch.stack(batch((40, 30), (40, 30))['inputs'])},
    ],
)
def test_other_images_too(data):
    found, wanted = (p(dict(data)) for p in (build_preprocessor(CFG), own(CFG)))
    assert torch.equal(found['inputs'], wanted['inputs'])


def test_grey_images_have_one_mean():
    cfg = dict(CFG, mean=[127.5], std=[64.0], bgr_to_rgb=False)
    data = batch((40, 30), channels=1)
    found, wanted = (p(dict(data)) for p in (build_preprocessor(cfg), own(cfg)))
    assert torch.equal(found['inputs'], wanted['inputs'])


def test_images_lie_pixel_by_pixel():
    inputs = build_preprocessor(CFG)(batch((40, 30), (20, 64)))['inputs']
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_images_as_loaded_stay_as_they_are():
    data = batch((40, 30))
    before = deepcopy(data['inputs'])
    build_preprocessor(CFG)(data)
    assert torch.equal(data['inputs'][0], before[0])


def test_no_image_fails_as_with_mmdet():
    with pytest.raises(AssertionError):
        build_preprocessor(CFG)({'inputs': []})


def test_only_mmdets_own_is_exchanged():
    class Own(DetDataPreprocessor):
        """Someone's own."""

    assert type(build_preprocessor(CFG)) is QuickDetDataPreprocessor
    assert type(build_preprocessor(dict(CFG, type=Own))) is Own


def own(cfg):
    """mmdet's."""
    return DetDataPreprocessor(**{key: cfg[key] for key in cfg if key != 'type'})


def test_what_is_predicted_is_not_written_into_the_loaders_samples():
    data = batch((40, 30))
    found = build_preprocessor(CFG)(data, training=False)
    found['data_samples'][0].set_metainfo({'written': 1})
    assert 'written' not in data['data_samples'][0].metainfo


def test_a_gpu_is_not_waited_for():
    """But where a config asks for it."""
    settings = dict(mean=[0, 0, 0], std=[1, 1, 1])
    assert QuickDetDataPreprocessor(**settings)._non_blocking
    assert not QuickDetDataPreprocessor(**settings, non_blocking=False)._non_blocking
