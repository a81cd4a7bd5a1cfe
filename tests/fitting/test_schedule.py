"""How long to train."""

import pytest
from mmengine.config import ConfigDict
from PIL import Image

from ssod.data.coco_json import write_json
from ssod.fitting.given import Given
from ssod.fitting.measures import Machine
from ssod.fitting.schedule import (
    count_images,
    fit_schedule,
    iterations_for,
    needed_for,
    stretch,
)

from .conftest import labels_of


@pytest.mark.parametrize(
    ('images', 'ratio', 'step', 'own', 'iterations'),
    [
        # Twelve times 1,000 labelled images at 2 in a step; 10,000 unlabelled ones at 4 are more.
        ([1000], [1], 2, 6000, 6000),
        ([1000, 10_000], [1, 2], 6, 30_000, 30_000),
        # Two digits.
        ([1000, 4113], [1, 2], 6, 30_000, 12_000),
        # No less than a tenth of the config's, and no more than three times as many.
        ([10, 10], [1, 2], 6, 30_000, 3000),
        ([10**6, 10], [1, 2], 6, 30_000, 90_000),
        # No fewer than 500, unless the config's own are.
        ([10, 10], [1, 2], 6, 1000, 500),
        ([10, 10], [1, 2], 6, 300, 300),
        # A config for all of COCO asks no tenth of its days of a few images.
        ([32, 100], [1, 4], 5, 1_440_000, 10_000),
        ([12_000, 100_000], [1, 4], 5, 1_440_000, 300_000),
    ],
)
def test_iterations(images, ratio, step, own, iterations):
    assert iterations_for(max(needed_for(images, ratio, step)), own) == iterations


def test_all_that_is_counted_in_iterations(cfg):
    stretch(cfg, 3000)
    assert cfg.train_cfg == dict(max_iters=3000, val_interval=300)
    warm_up, steps, epochs = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 150)
    assert steps.milestones == [2100, 2700]
    # What counts epochs is not meant, nor what counts something else.
    assert epochs.step_size == 2
    hooks = cfg.default_hooks
    assert hooks.teacher.burn_in == 600
    assert hooks.teacher.decay.decay.milestones == [9, 1200]
    # Averages over 10, 100 and 1,000 steps; what is so short is no matter of the training's length.
    assert hooks.teacher.decay.decay['values'] == [0.9, 0.996667, 0.999667]
    assert (hooks.checkpoint.interval, hooks.logger.interval) == (750, 50)
    assert cfg.model.pseudo_weight == dict(type='sigmoid', end=2.0, steps=1200)


def test_gradients_that_are_added_up(cfg):
    # The teacher is updated a fourth as often; what counts iterations stays.
    stretch(cfg, 6000, batches=4)
    assert cfg.default_hooks.teacher.burn_in == 1200
    assert cfg.default_hooks.teacher.decay.decay.milestones == [4, 600]
    assert cfg.model.pseudo_weight.steps == 2400


def test_the_burn_in_is_of_the_labels(cfg):
    # They ask for 600 of 5,000 iterations, so that it is no longer than in the config's 1,000.
    cfg.default_hooks.teacher.burn_in = 300
    stretch(cfg, 5000, for_labels=600)
    assert (cfg.default_hooks.teacher.burn_in, cfg.model.pseudo_weight.steps) == (300, 2000)
    # For twice as many as that it is twice as long, though all come to be three times as many.
    stretch(cfg, 15_000, for_labels=10_000)
    assert cfg.default_hooks.teacher.burn_in == 600


def test_a_short_training_of_a_long_config(cfg):
    cfg.train_cfg.update(max_iters=180_000, val_interval=5000)
    cfg.default_hooks.checkpoint.interval = 5000
    cfg.default_hooks.teacher.burn_in = 2000
    stretch(cfg, 10_000)
    # The teacher begins with a detector that finds something, as the config has it.
    assert cfg.default_hooks.teacher.burn_in == 2000
    assert (cfg.train_cfg.val_interval, cfg.default_hooks.checkpoint.interval) == (278, 278)
    stretch(cfg, 1000)
    assert cfg.default_hooks.teacher.burn_in == 200
    # Nobody wants a validation after every 28.
    assert (cfg.train_cfg.val_interval, cfg.default_hooks.checkpoint.interval) == (100, 100)
    stretch(cfg, 20)
    assert cfg.default_hooks.teacher.burn_in == 4
    assert (cfg.train_cfg.val_interval, cfg.default_hooks.checkpoint.interval) == (20, 20)


def test_the_shortest_of_all(cfg):
    stretch(cfg, 1)
    assert cfg.train_cfg == dict(max_iters=1, val_interval=1)
    # Milestones must increase, intervals are at least 1, and no burn-in stays none.
    assert cfg.param_scheduler[1].milestones == [1, 2]
    assert cfg.default_hooks.checkpoint.interval == 1
    cfg.default_hooks.teacher.burn_in = 0
    stretch(cfg, 10)
    assert cfg.default_hooks.teacher.burn_in == 0


@pytest.mark.parametrize(
    ('decay', 'number', 'stretched'),
    [
        (0.999, 100, 0.99),
        (0.999, 2000, 0.9995),
        # An average over 20 steps is as short as they get.
        (0.999, 1, 0.95),
        (0.99, 100, 0.95),
        # The Π-model has none, and a teacher may stay as it is.
        (0.0, 2000, 0.0),
        (0.9, 2000, 0.9),
        (1.0, 100, 1.0),
        (dict(type='constant', value=0.999), 100, dict(type='constant', value=0.99)),
        (
            dict(
                type='warm_up', decay=dict(type='linear', start=0.99, end=0.999, steps=9), gamma=4
            ),
            3000,
            dict(
                type='warm_up',
                decay=dict(type='linear', start=0.996667, end=0.999667, steps=27),
                gamma=4,
            ),
        ),
    ],
)
def test_the_steps_that_a_teacher_averages_over(cfg, decay, number, stretched):
    cfg.default_hooks.teacher.decay = decay
    stretch(cfg, number)
    assert cfg.default_hooks.teacher.decay == stretched


def test_periods_of_a_rate(cfg):
    cfg.param_scheduler = [dict(type='CosineRestartLR', by_epoch=False, periods=[600, 200, 200])]
    stretch(cfg, 500)
    assert cfg.param_scheduler[0].periods == [300, 100, 100]


def test_one_rate_alone(cfg):
    # mmengine takes it without a list, too.
    cfg.param_scheduler = dict(
        type='OneCycleLR', by_epoch=False, begin=200, total_steps=800, pct_start=0.3
    )
    stretch(cfg, 500)
    rate = cfg.param_scheduler
    assert (rate.begin, rate.total_steps, rate.pct_start) == (100, 400, 0.3)


def test_supervised_training_stays_so(cfg):
    cfg.default_hooks.teacher.burn_in = 1000
    stretch(cfg, 333)
    assert cfg.default_hooks.teacher.burn_in == cfg.train_cfg.max_iters == 333


@pytest.fixture
def folder(tmp_path):
    """Three images, one in a sub-folder."""
    for name in ('a.png', 'b.JPG', 'more/c.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.new('RGB', (2, 2)).save(path)
    return tmp_path / 'images'


def test_unlabelled_images_are_counted(folder, tmp_path):
    assert count_images(ConfigDict(type='UnlabeledFolder', data_root=str(folder))) == 3
    write_json(tmp_path / 'more.json', {'images': [{}] * 7})
    source = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='more.json')
    assert count_images(ConfigDict(source)) == 7
    source = dict(type='CocoDataset', data_root='', ann_file=str(tmp_path / 'more.json'))
    assert count_images(ConfigDict(source)) == 7


@pytest.mark.parametrize(
    ('machine', 'options', 'told'),
    [
        # Twelve times 1,200 images at 2 in a step; the config's 1,000 steps of 12 are 2,000 of 6,
        # and no more than three times as many is allowed.
        (
            Machine(1, 1.0),
            {},
            'iterations 6,000 (1,000 in the config): each labelled image is seen 10 times, '
            'each of 3 unlabelled ones 6,400 times after a burn-in of 1,200',
        ),
        # No more on a CPU than in the config.
        (
            Machine(),
            {},
            'iterations 1,000 (1,000 in the config): each labelled image is seen 1.7 times, '
            'each of 3 unlabelled ones 1,067 times after a burn-in of 200',
        ),
        (
            Machine(1, 1.0),
            {'train_cfg.max_iters': 500},
            "iterations 500: the config's schedule for 1,000 is scaled to that",
        ),
    ],
)
def test_the_iterations_of_a_config(cfg, folder, machine, options, told):
    cfg.train_dataloader.dataset.datasets[1].data_root = str(folder)
    labels = labels_of([(8, 8)] * 1200)
    assert fit_schedule(cfg, Given(options), labels, machine) == told
    # The burn-in is a fifth of it.
    assert cfg.default_hooks.teacher.burn_in == cfg.train_cfg.max_iters / 5


@pytest.mark.parametrize(
    ('labeled', 'unlabeled', 'options', 'iterations', 'burn_in', 'often'),
    [
        # 4,800 are twelve times 1,600 images; labels that ask for 600 want no longer burn-in.
        (100, 1600, {}, 5000, 200, '12 times'),
        # Those that ask for 4,800 themselves have it 4.8 times as long.
        (800, 1600, {}, 5800, 960, '12 times'),
        # In a short training it is a fifth.
        (10, 200, {}, 750, 150, '12 times'),
        # The user's.
        (10, 200, {'default_hooks.teacher.burn_in': 50}, 650, 50, '12 times'),
        (10, 200, {'default_hooks.teacher': None}, 600, 0, '12 times'),
        # No teacher begins.
        (10, 1600, {'default_hooks.teacher.burn_in': 1000}, 500, 1000, '0.0 times'),
    ],
)
def test_unlabelled_images_come_after_the_burn_in(
    cfg, tmp_path, labeled, unlabeled, options, iterations, burn_in, often
):
    file = tmp_path / 'unlabeled.json'
    write_json(file, {'images': [{}] * unlabeled})
    cfg.train_dataloader.dataset.datasets[1] = dict(type='CocoDataset', ann_file=str(file))
    given = Given(options)
    told = fit_schedule(cfg, given, labels_of([(8, 8)] * labeled), Machine(1, 1.0))
    after = f' after a burn-in of {burn_in}' if 0 < burn_in < iterations else ''
    assert told.endswith(f', each of {unlabeled:,} unlabelled ones {often}{after}')
    asked = given.on(cfg)
    assert asked.train_cfg.max_iters == iterations
    assert (asked.default_hooks.teacher or {}).get('burn_in', 0) == burn_in


def test_no_image_at_all_is_left_to_the_checks(cfg, tmp_path):
    nothing = tmp_path / 'none.json'
    nothing.write_text('{"images": []}')
    cfg.train_dataloader.dataset.datasets[1] = dict(type='CocoDataset', ann_file=str(nothing))
    before = cfg.train_cfg.max_iters
    assert fit_schedule(cfg, Given({}), labels_of([(8, 8)]), Machine(1, 1.0)) is None
    assert cfg.train_cfg.max_iters == before


def test_labelled_images_alone(cfg):
    cfg.train_dataloader.update(dataset=dict(datasets=[{}]), sampler=dict(source_ratio=[1]))
    told = fit_schedule(cfg, Given({}), labels_of([(8, 8)] * 500), Machine(1, 1.0))
    assert told == 'iterations 1,000 (1,000 in the config): each labelled image is seen 12 times'


def test_days_on_a_cpu(cfg):
    cfg.train_cfg.max_iters = 30_000
    cfg.train_dataloader.update(dataset=dict(datasets=[{}]), sampler=dict(source_ratio=[1]))
    fit_schedule(cfg, Given({}), labels_of([(8, 8)] * 50_000), Machine())
    assert cfg.train_cfg.max_iters == 3000


def test_epochs(cfg):
    cfg.train_cfg = dict(max_epochs=12)
    assert fit_schedule(cfg, Given({}), labels_of([(8, 8)]), Machine()) is None
