"""The size that images are made."""

import numpy as np
import pytest

from ssod.fitting.given import Given
from ssod.fitting.images import fit_images, fitted_size, resize_factor, told_tiny, usual_size
from ssod.fitting.measures import Machine, measure_labels

from .conftest import labels_of


@pytest.mark.parametrize(
    ('size', 'scale', 'factor'),
    [
        # The shorter side decides, then the longer, whichever way both are turned.
        ((400, 400), (1000, 800), 2.0),
        ((100, 400), (800, 1000), 2.5),
        ((400, 100), (1000, 800), 2.5),
    ],
)
def test_what_keeps_the_ratio(size, scale, factor):
    assert resize_factor(size, scale) == factor


def test_a_few_giants_do_not_decide():
    # 19 of 20 are no larger than 400×300, some of them upright; each side is judged apart.
    assert usual_size(labels_of([(300, 400)] * 10 + [(400, 200)] * 9 + [(4000, 3000)])) == (
        400,
        300,
    )
    assert usual_size(labels_of([(7, 9)])) == (9, 7)


@pytest.mark.parametrize(
    ('size', 'boxes', 'made'),
    [
        # As they are: no boxes to look at; large ones; as large as is needed.
        ((640, 480), [], (640, 480)),
        ((640, 480), [(64, 64)], (640, 480)),
        ((640, 480), [(32, 32)], (640, 480)),
        # A box of 25.6 becomes one of 32; of its sides, the mean counts.
        ((640, 480), [(12.8, 51.2)], (800, 600)),
        # Smaller still: no more than the config's 1333×800 allows, which is 800 / 480.
        ((640, 480), [(2, 2)], (1067, 800)),
        # Large images become as small as the config has them: 800 / 2000 and 1333 / 4000.
        ((2000, 2000), [(500, 500)], (800, 800)),
        ((1000, 4000), [], (1333, 333)),
        # One tiny box in ten is no reason, two are: 32 / 16.
        ((64, 48), [(16, 16)] + [(40, 40)] * 10, (64, 48)),
        ((64, 48), [(16, 16)] * 2 + [(40, 40)] * 8, (128, 96)),
    ],
)
def test_the_size(size, boxes, made):
    assert fitted_size(labels_of([size], boxes), (1333, 800)).made == made


@pytest.mark.parametrize(
    ('size', 'boxes', 'made', 'why'),
    [
        # By 5 / 3; as much as COCO's own, and no more than the config allows: 800 / 600.
        ((300, 240), [], (500, 400), "enlarged 5/3 times like COCO's own, because there is a GPU"),
        ((300, 240), [(24, 24)], (500, 400), "like COCO's own, because there is a GPU"),
        ((640, 480), [], (1067, 800), 'the largest that the config allows; 95% of the labelled'),
        ((800, 600), [(64, 64)], (1067, 800), 'the largest that the config allows; 95% of the '),
        ((800, 600), [(16, 16)], (1067, 800), 'below 16 pixels; the config allows no more'),
        ((1067, 800), [], (1067, 800), ': 95% of the labelled images are no larger'),
        ((2000, 2000), [], (800, 800), ': the largest that the config allows; '),
        # For the sake of boxes even more: 32 / 16.
        ((300, 240), [(16, 16)], (600, 480), 'but a tenth of their boxes are below 16 pixels'),
    ],
)
def test_small_images_on_a_gpu(cfg, size, boxes, made, why):
    told = fit_images(cfg, Given({}), labels_of([size], boxes), Machine(1, 2**30))
    assert told.startswith(f'image size {made[0]}×{made[1]}: ')
    assert why in told
    scored = scales(cfg)[1]
    assert resize_factor(size, scored) == pytest.approx(made[0] / size[0], rel=0.01)


def scales(cfg):
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    views = [
        labeled.pipeline[0].transforms,
        unlabeled.pipeline[0].weak,
        unlabeled.pipeline[0].strong,
    ]
    return [view[0].scale for view in views], cfg.test_dataloader.dataset.pipeline[0].scale


def test_views_stay_in_proportion(cfg):
    # 640×480 at most was 1067×800: all by 480 / 800.
    told = fit_images(cfg, Given({}), labels_of([(640, 480)]), Machine())
    assert told == 'image size 640×480: 95% of the labelled images are no larger'
    views, scored = scales(cfg)
    assert views == [[(800, 240), (800, 720)]] * 3
    assert scored == (800, 480)
    assert cfg.val_dataloader.dataset.pipeline[0].scale == (800, 480)


def test_sizes_to_choose_from(cfg):
    view = dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True)
    cfg.train_dataloader.dataset.datasets[0].pipeline[0].transforms = [view]
    fit_images(cfg, Given({}), labels_of([(640, 480)]), Machine())
    chosen = cfg.train_dataloader.dataset.datasets[0].pipeline[0].transforms[0].scales
    assert chosen == [(800, 384), (800, 480)]


@pytest.mark.parametrize(
    ('sizes', 'boxes', 'told'),
    [
        (
            [(640, 480)],
            [(25.6, 25.6)],
            'image size 800×600: 95% of the labelled images are up to 640×480, but a tenth of '
            'their boxes are below 26 pixels',
        ),
        (
            [(640, 480)],
            [(2, 2)],
            'image size 1067×800: 95% of the labelled images are up to 640×480, but a tenth of '
            'their boxes are below 2 pixels; the config allows no more',
        ),
        (
            [(2000, 2000)],
            [],
            'image size 800×800: the largest that the config allows; 95% of the labelled images '
            'are up to 2000×2000',
        ),
        ([], [], 'image size up to 1333×800: no labelled image has a size in its JSON'),
    ],
)
def test_the_reason(cfg, sizes, boxes, told):
    assert fit_images(cfg, Given({}), labels_of(sizes, boxes), Machine()) == told


@pytest.mark.parametrize(
    'options',
    [
        {'test_dataloader.dataset.pipeline.0.scale': (64, 64)},
        {'train_dataloader.dataset.datasets.0.pipeline': []},
        {'test_dataloader': {'dataset': {'pipeline': []}}},
    ],
)
def test_the_users_size_stays(cfg, options):
    before = cfg.to_dict()
    assert fit_images(cfg, Given(options), labels_of([(640, 480)]), Machine()) is None
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    'options',
    [
        {'train_dataloader.dataset.datasets.0.pipeline.0.transforms.0.keep_ratio': False},
        # Scales of something else.
        {'model.detector.rpn_head.anchor_generator.scales': [4]},
        {'model': {'box_jitter': {'times': 10, 'scale': 0.06}}},
    ],
)
def test_other_settings_are_no_size(cfg, options):
    assert fit_images(cfg, Given(options), labels_of([(640, 480)]), Machine()) is not None


@pytest.mark.parametrize(
    ('size', 'box', 'told'),
    [
        # At 800 × 800 and 256 × 3 pixels.
        ((9000, 9000), (12, 12), 'boxes: a tenth of the labelled ones are below 1.1 pixels after'),
        (
            (100_000, 1200),
            (60, 60),
            'boxes: a tenth of the labelled ones are below 0.8 pixels after',
        ),
        ((640, 480), (8, 8), None),
    ],
)
def test_objects_too_small_to_be_found(cfg, size, box, told):
    labels = labels_of([size], [box] * 10)
    fit_images(cfg, Given({}), labels, Machine())
    found = told_tiny(cfg, Given({}), labels)
    assert found is None if told is None else found.startswith(told)


def test_no_box_is_not_too_small(cfg):
    assert told_tiny(cfg, Given({}), labels_of([(640, 480)])) is None


def test_what_is_measured():
    box = {'image_id': 1, 'bbox': [5, 5, 20, 10]}
    content = {
        'images': [
            {'id': 1, 'width': 40, 'height': 30},
            # None of these has a size; the checks of the data say so.
            {'id': 2},
            {'id': 3, 'width': 0, 'height': 30},
            {'id': 4, 'width': '40', 'height': 30},
            'x',
            {'id': [5], 'width': 8, 'height': 9},
        ],
        'annotations': [
            box,
            # Of these boxes none counts: a crowd, one in no such image, empty, not finite, none.
            {**box, 'iscrowd': 1},
            {**box, 'ignore': True},
            {**box, 'image_id': 2},
            {**box, 'image_id': [1]},
            {**box, 'bbox': [5, 5, 0, 10]},
            {**box, 'bbox': [5, 5, float('inf'), 10]},
            {**box, 'bbox': [5, 5, 20]},
            {'image_id': 1},
            None,
        ],
    }
    labels = measure_labels(content)
    assert labels.images == 6
    np.testing.assert_array_equal(labels.sizes, [[40, 30], [8, 9]])
    np.testing.assert_array_equal(labels.boxes, [[20, 10]])
    np.testing.assert_array_equal(labels.owners, [0])
    nothing = measure_labels({'images': [], 'annotations': []})
    assert (nothing.sizes.shape, nothing.boxes.shape) == ((0, 2), (0, 2))
