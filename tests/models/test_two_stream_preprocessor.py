"""Labelled images and strong views in one tensor."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from ssod.models.two_stream_preprocessor import refuse_resizing


def branch(*values):
    """Images of 4 x 6 pixels of one value each, or gaps."""
    images = [None if v is None else torch.full((3, 4, 6), v, dtype=torch.uint8) for v in values]
    samples = [None if v is None else DetDataSample(metainfo={'of': v}) for v in values]
    return images, samples


def preprocessor():
    own = dict(type='DetDataPreprocessor', mean=[0] * 3, std=[1] * 3, pad_size_divisor=8)
    return MODELS.build(dict(type='TwoStreamPreprocessor', data_preprocessor=own))


def test_labelled_images_come_first():
    labeled, strong = branch(None, 5, None), branch(3, None, 4)
    data = {
        'inputs': {'labeled': labeled[0], 'strong': strong[0]},
        'data_samples': {'labeled': labeled[1], 'strong': strong[1]},
    }
    out = preprocessor()(data, training=True)
    assert out['inputs'].shape == (3, 3, 8, 8)
    assert out['inputs'][:, 0, 0, 0].tolist() == [5, 3, 4]
    assert [s.of for s in out['data_samples']['labeled']] == [5]
    assert [s.of for s in out['data_samples']['strong']] == [3, 4]


def test_images_to_be_learnt_lie_pixel_by_pixel_on_a_cpu():
    images, samples = branch(1, 2)
    branches = {'labeled': images, 'strong': images}
    both = {'inputs': branches, 'data_samples': {name: samples for name in branches}}
    out = preprocessor()(both, training=True)
    assert out['inputs'].is_contiguous(memory_format=torch.channels_last)


def test_validation_is_as_the_detectors_own():
    images, samples = branch(1, 2)
    out = preprocessor()({'inputs': images, 'data_samples': samples})
    assert out['inputs'].is_contiguous()


def test_resizing_of_whole_batches_is_refused_and_padding_is_not():
    own = dict(type='DetDataPreprocessor', mean=[0] * 3, std=[1] * 3)
    resize = dict(type='BatchSyncRandomResize', random_size_range=(32, 64))
    refuse_resizing(MODELS.build(own))
    refuse_resizing(
        MODELS.build(dict(own, batch_augments=[dict(type='BatchFixedSizePad', size=(8, 8))]))
    )
    with pytest.raises(ValueError, match='BatchSyncRandomResize in .*; remove it, or use Semi'):
        refuse_resizing(MODELS.build(dict(own, batch_augments=[resize])))
