"""Trap 6: a view that does not record its geometry is refused when it is built."""

import random

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.registry import DefaultScope

from ssod.data.geometry_check import check_geometry


def check(*transforms):
    # Wrappers build what they wrap in the scope of the run.
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]
    check_geometry('strong', built)


def test_nothing_is_fine():
    check()


RECORDED = [
    dict(type='Resize', scale=(200, 150), keep_ratio=True),
    dict(type='Resize', scale=(200, 150), keep_ratio=False),
    dict(type='Resize', scale_factor=3.0),
    dict(type='RandomResize', scale=[(1333, 400), (1333, 1200)], keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[(333, 200), (300, 400)], keep_ratio=True),
    dict(type='FixShapeResize', width=200, height=200, keep_ratio=True),
    dict(type='FixScaleResize', scale=(100, 300), keep_ratio=True),
    dict(type='ResizeShortestEdge', scale=80, max_size=200),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomFlip', prob=[0.3] * 3, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='RandomCrop', crop_size=(64, 64), allow_negative_crop=True),
    dict(
        type='RandomCrop',
        crop_size=(0.3, 0.3),
        crop_type='relative_range',
        allow_negative_crop=True,
    ),
    dict(type='Rotate', max_mag=15.0),
    dict(type='ShearX', max_mag=15.0),
    dict(type='ShearY', max_mag=15.0),
    dict(type='TranslateX'),
    dict(type='TranslateY'),
]

# They move nothing; Pad enlarges the image at the right and the bottom.
HARMLESS = [
    dict(type='PhotoMetricDistortion'),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='CutOut', n_holes=3, cutout_shape=(8, 8)),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
    dict(type='RandomErasing', n_patches=(0, 1), ratio=(0.1, 0.2)),
    dict(type='RandomErasing', n_patches=(0, 3), ratio=(0.1, 0.4)),
    dict(type='Pad', size_divisor=100),
    dict(type='Pad', size=(100, 130)),  # works on images up to that size only
    dict(type='RandomGrayscale', prob=0.2),
    dict(type='AutoContrast'),
    dict(type='Brightness'),
    dict(type='Color'),
    dict(type='ColorTransform'),
    dict(type='Contrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Posterize'),
    dict(type='Sharpness'),
    dict(type='Solarize'),
    dict(type='SolarizeAdd'),
]

# They move boxes and do not say so.
UNRECORDED = [
    dict(type='RandomAffine'),
    dict(type='RandomAffine', max_rotate_degree=0, max_shear_degree=0, max_translate_ratio=0),
    dict(type='RandomShift', max_shift_px=4),
    dict(type='Expand'),
    dict(type='Expand', prob=0.01),
    dict(type='MinIoURandomCrop'),
]

MIXING = [
    dict(type='Mosaic'),
    dict(type='CachedMosaic'),
    dict(type='MixUp'),
    dict(type='CachedMixUp'),
    dict(type='CopyPaste'),
]


@pytest.mark.parametrize('transform', RECORDED + HARMLESS, ids=lambda t: t['type'])
def test_accepted(transform):
    check(transform)


@pytest.mark.parametrize('transform', UNRECORDED, ids=lambda t: t['type'])
def test_refused(transform):
    name = transform['type']
    message = rf'^strong view: {name} moves boxes by \d+ pixels without recording.*; use Resize'
    with pytest.raises(ValueError, match=message):
        check(transform)


@pytest.mark.parametrize('transform', MIXING, ids=lambda t: t['type'])
def test_other_images_refused(transform):
    with pytest.raises(ValueError, match=f'{transform["type"]} mixes in other images'):
        check(transform)


BAD = dict(type='RandomAffine')
GOOD = dict(type='RandomFlip', prob=0.5)


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='RandomApply', transforms=[BAD], prob=0.01),
        dict(type='RandomChoice', transforms=[*[[GOOD]] * 30, [BAD]]),
        dict(type='RandomOrder', transforms=[GOOD, BAD]),
        dict(type='AutoAugment', policies=[[GOOD], [GOOD, BAD]]),
        dict(type='RandAugment', aug_space=[*[[GOOD]] * 30, [BAD]], aug_num=1),
        dict(
            type='RandomApply',
            prob=0.01,
            transforms=[dict(type='RandomChoice', transforms=[[GOOD], [BAD]])],
        ),
    ],
    ids=lambda t: t['type'],
)
def test_a_rare_offender_within_a_wrapper_is_found(wrapper):
    with pytest.raises(ValueError, match='strong view: RandomAffine moves'):
        check(wrapper)


# Hulls of hulls, and boxes pushed out of the image and back, are where they should be.
@pytest.mark.parametrize(
    'transforms',
    [
        RECORDED[:1] + RECORDED[8:],
        [
            dict(
                type='RandomOrder',
                transforms=[dict(type='Pad', size_divisor=100), dict(type='PhotoMetricDistortion')],
            )
        ],
        [dict(type='RandAugment')],
        [dict(type='AutoAugment')],
        [dict(type='RandomOrder', transforms=[dict(type='Rotate'), dict(type='ShearX')])],
        [
            dict(
                type='RandomOrder',
                transforms=[
                    dict(type='TranslateX', prob=1.0, min_mag=0.3, max_mag=0.3, reversal_prob=0.0),
                    dict(type='TranslateX', prob=1.0, min_mag=0.3, max_mag=0.3, reversal_prob=1.0),
                ],
            )
        ],
    ],
    ids=[
        'a long chain',
        'padded and coloured',
        'RandAugment',
        'AutoAugment',
        'two hulls',
        'out and back',
    ],
)
def test_compositions(transforms):
    check(*transforms)


def test_an_offender_at_the_end_of_a_chain_is_found():
    with pytest.raises(ValueError, match='strong view: Expand'):
        check(*RECORDED[:1], GOOD, dict(type='Rotate', max_mag=15.0), dict(type='Expand'))


class Custom(BaseTransform):
    """A user's transform: its name says nothing."""

    def __init__(self, change):
        self.change = change

    def transform(self, results):
        """Change the results."""
        return self.change(results)


def shift(results):
    results['gt_bboxes'].translate_([5, 0])
    return results


def shift_and_record(results):
    matrix = np.array([[1, 0, 5], [0, 1, 0], [0, 0, 1]], np.float32)
    return {**shift(results), 'homography_matrix': matrix @ results['homography_matrix']}


def shift_and_forget_the_rest(results):
    matrix = np.array([[1, 0, 5], [0, 1, 0], [0, 0, 1]], np.float32)
    return {**shift(results), 'homography_matrix': matrix}


def shift_and_record_the_inverse(results):
    matrix = np.array([[1, 0, -5], [0, 1, 0], [0, 0, 1]], np.float32)
    return {**shift(results), 'homography_matrix': matrix @ results['homography_matrix']}


def crop_large_images(results):
    if results['ori_shape'][1] <= 400:
        return results
    results['gt_bboxes'].translate_([-100, 0])
    return {**results, 'img': results['img'][:, 100:]}


def shrink_the_image_alone(results):
    return {**results, 'img': results['img'][::2, ::2].copy()}


def lose_labels(results):
    return {**results, 'gt_bboxes_labels': results['gt_bboxes_labels'][1:]}


def add_a_box(results):
    boxes = results['gt_bboxes']
    labels = np.append(results['gt_bboxes_labels'], 999)
    return {**results, 'gt_bboxes': boxes.cat([boxes, boxes[:1]]), 'gt_bboxes_labels': labels}


def drop_every_box(results):
    return {**results, 'gt_bboxes': results['gt_bboxes'][:0], 'gt_bboxes_labels': []}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda results: results, None),
        (lambda results: {**results, 'gt_bboxes': results['gt_bboxes'].numpy()}, None),
        (lambda results: {**results, 'img': results['img'].astype(np.float32)}, None),
        (shift_and_record, None),
        (shift, 'Custom moves boxes by 5 pixels without recording'),
        (shift_and_record_the_inverse, 'homography_matrix that misplaces boxes by 10 pixels'),
        (shift_and_forget_the_rest, 'homography_matrix that misplaces boxes by'),
        (crop_large_images, 'Custom moves boxes by 100 pixels'),
        (shrink_the_image_alone, 'Custom changes the size of the image without recording'),
        (lose_labels, 'Custom leaves boxes and labels that do not match'),
        (add_a_box, 'Custom leaves boxes and labels that do not match'),
        (drop_every_box, 'Custom failed in a trial: it left no boxes; fix it'),
        (lambda results: None, 'Custom failed in a trial: it returned nothing'),
        (lambda results: results['depth'], "Custom failed in a trial: KeyError: 'depth'"),
    ],
)
def test_custom(change, message):
    if message is None:
        check(Custom(change))
    else:
        with pytest.raises(ValueError, match=f'strong view: .*{message}'):
            check(Custom(change))


def test_a_crop_that_gives_up_empty_images_is_refused():
    crop = dict(type='RandomCrop', crop_size=(64, 64))
    message = r'RandomCrop failed on an image without boxes.*allow_negative_crop=True'
    with pytest.raises(ValueError, match=message):
        check(crop)


def test_global_random_states_stay():
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1)
    for fails in (False, True):
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        if fails:
            with pytest.raises(ValueError, match='Expand'):
                check(*RECORDED, dict(type='Expand'))
        else:
            check(*RECORDED)
        assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_transforms_stay_as_they_were():
    apply = dict(type='RandomApply', transforms=[dict(type='RandomFlip', prob=0.25)], prob=0.125)
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = TRANSFORMS.build(apply)
    check(built)
    assert built.prob == 0.125
    assert built.transforms.transforms[0].prob == 0.25
