"""The batch, and the learning rate for it."""

import logging

import pytest
import torch

from ssod.fitting.batch import (
    fit_batch,
    fit_rate,
    has_both,
    images_in_step,
    megapixels_on,
    rate_factor,
    view_megapixels,
)
from ssod.fitting.given import Given
from ssod.fitting.measures import Machine, machine_at_hand

from .conftest import labels_of

GB = 2**30


@pytest.mark.parametrize(
    ('memory', 'amp', 'megapixels'),
    [
        (None, False, 0.75),
        (None, True, 0.75),
        # 80 % of it, less 2 GB, at 3 GB each; in mixed precision at 1.5.
        (10 * GB, False, 2.0),
        (10 * GB, True, 4.0),
        (85 * GB, False, 22.0),
        # Less than the model itself takes.
        (1 * GB, True, 0.0),
    ],
)
def test_room(memory, amp, megapixels):
    assert megapixels_on(Machine(gpu_memory=memory), amp) == pytest.approx(megapixels)


@pytest.mark.parametrize(
    ('megapixels', 'view', 'period', 'most', 'images'),
    [
        # As many as there is room for, in whole periods.
        (10.0, 1.0, 1, 99, 10),
        (10.0, 1.0, 4, 99, 8),
        # No more than asked for, in whole periods.
        (10.0, 1.0, 2, 5, 4),
        # A period, whatever there is room for.
        (0.0, 1.0, 5, 10, 5),
        (10.0, 1.0, 5, 3, 5),
    ],
)
def test_images_in_a_step(megapixels, view, period, most, images):
    assert images_in_step(megapixels, view, period, most) == images


@pytest.mark.parametrize(
    ('images', 'optimizer', 'factor'),
    [(4, 'SGD', 0.25), (64, 'SGD', 4.0), (4, 'AdamW', 0.5), (64, 'Adam', 2.0), (16, 'AdamW', 1.0)],
)
def test_the_rates_factor(images, optimizer, factor):
    assert rate_factor(images, 16, optimizer) == factor


def test_the_largest_view():
    # Never resized; as large as the larger of two allows: three times, then 300 × 200.
    assert view_megapixels([], (1000, 500)) == 0.5
    assert view_megapixels([(100, 100), (400, 200)], (100, 50)) == pytest.approx(0.08)
    # Among upright ones, too: 400 × 400.
    assert view_megapixels([(400, 200)], (100, 50), both=True) == pytest.approx(0.16)


@pytest.mark.parametrize(
    ('sizes', 'both'),
    [
        # One of twenty is upright; one of 21; one lies; square ones are neither.
        ([(3, 4)] + [(4, 3)] * 19, True),
        ([(3, 4)] + [(4, 3)] * 20, False),
        ([(3, 4)] * 19 + [(4, 3)], True),
        ([(4, 4)] * 19 + [(4, 3)], False),
    ],
)
def test_upright_and_lying_images(sizes, both):
    assert has_both(labels_of(sizes)) is both


def test_upright_and_lying_images_are_padded(cfg):
    # Of 1333 × 1333 8.4 megapixels are four, not six.
    labels, machine = labels_of([(640, 480), (480, 640)]), Machine(1, 34 * GB)
    told, _ = fit_batch(cfg, Given({}), labels, machine)
    assert cfg.train_dataloader.batch_size == 3
    padded = 'views have up to 1.8 megapixels (portrait and landscape padded alike), a GPU'
    assert padded in told
    # What is cut is as large whichever way it was.
    for source in cfg.train_dataloader.dataset.datasets:
        source.pipeline = [
            dict(type='RandomResize', scale=[(1333, 400), (1333, 1200)]),
            dict(type='RandomCrop', crop_size=(1000, 1300)),
        ]
    told, _ = fit_batch(cfg, Given({}), labels, machine)
    assert 'views have up to 1.3 megapixels' in told
    assert cfg.train_dataloader.batch_size == 6


@pytest.mark.parametrize(
    ('machine', 'images', 'told'),
    [
        # A view of 640×480 is made 1333×1000 at most: 1.33 megapixels, as the longer side decides.
        (Machine(), 3, 'batch size 3, the smallest possible: views have up to 1.3 megapixels, '),
        (Machine(1, 24 * GB), 3, 'batch size 3: views have up to 1.3 megapixels, a GPU of 24 GB '),
        # 8.4 megapixels are six views; 15.4 are eleven.
        (Machine(1, 34 * GB), 6, 'batch size 6: '),
        (Machine(1, 60 * GB), 9, 'batch size 9: '),
        # The batch that the config means, 12; two processes have half of it each, four would have
        # 3, but the config has 6.
        (Machine(1, 200 * GB), 12, 'batch size 12: '),
        (Machine(2, 200 * GB), 6, 'batch size 6 for each of 2 processes: '),
        (Machine(4, 200 * GB), 6, 'batch size 6 for each of 4 processes: '),
    ],
)
def test_the_batch_of_a_config(cfg, machine, images, told):
    found, _ = fit_batch(cfg, Given({}), labels_of([(640, 480)]), machine)
    assert found.startswith(told)
    assert cfg.train_dataloader.batch_size == images


@pytest.mark.parametrize(
    ('options', 'amp'),
    [
        ({}, True),
        ({'optim_wrapper.type': 'AmpOptimWrapper'}, False),
        ({'optim_wrapper.type': 'Bfloat16OptimWrapper'}, False),
    ],
)
def test_mixed_precision_takes_half_as_much(cfg, options, amp):
    # 5.7 megapixels are four views, 11.5 are eight.
    labels, machine = labels_of([(640, 480)]), Machine(1, 24 * GB)
    told, _ = fit_batch(cfg, Given({}), labels, machine)
    assert cfg.train_dataloader.batch_size == 3
    assert told.endswith('takes 5.7 per step; --amp needs half as much memory')
    told, _ = fit_batch(cfg, Given(options), labels, machine, amp)
    assert cfg.train_dataloader.batch_size == 6
    assert told.endswith('takes 11 per step')


@pytest.mark.parametrize('machine', [Machine(), Machine(1, 64.5 * GB)])
def test_mixed_precision_is_no_remedy(cfg, machine):
    # A CPU is given little for the sake of time; 16.5 megapixels of a GPU are twelve views,
    # and thirteen are no multiple of three.
    cfg.auto_scale_lr.base_batch_size = 13
    told, _ = fit_batch(cfg, Given({}), labels_of([(640, 480)]), machine)
    assert '--amp' not in told


@pytest.mark.parametrize(
    ('memory', 'ratio', 'amp', 'remedy', 'level'),
    [
        # Three views are 4 megapixels, of which 12 GB have 2.5; in mixed precision 5.1.
        (12 * GB, [1, 2], False, '; --amp needs half as much memory', logging.WARNING),
        (12 * GB, [1, 2], True, ' per step', logging.INFO),
        (
            8 * GB,
            [1, 2],
            True,
            '; use a config with smaller images, or fewer unlabelled ones ('
            'train_dataloader.sampler.source_ratio)',
            logging.WARNING,
        ),
        # No fewer than one of each.
        (4 * GB, [1, 1], True, '; use a config with smaller images', logging.WARNING),
        (2 * GB, [3], True, '; use a config with smaller images', logging.WARNING),
        # A CPU has the memory, and takes longer.
        (
            None,
            [1, 2],
            False,
            'takes 0.75 per step; a step will be slow: use a config for small images, such as '
            'configs/mt_fasterrcnn_small.py',
            logging.WARNING,
        ),
    ],
)
def test_a_batch_that_there_is_no_room_for(cfg, memory, ratio, amp, remedy, level):
    cfg.train_dataloader.sampler.source_ratio = ratio
    labels = labels_of([(640, 480)])
    told, found = fit_batch(cfg, Given({}), labels, Machine(1, memory), amp)
    assert told.endswith(remedy)
    assert (', the smallest possible: ' in told) is (level == logging.WARNING)
    assert (cfg.train_dataloader.batch_size, found) == (sum(ratio), level)


def test_sizes_by_a_ratio_and_by_choice(cfg):
    # 64 times 1.25 are 80: 0.0064 megapixels, of which 0.75 has 117.
    options = {'auto_scale_lr.base_batch_size': 999}
    cfg.auto_scale_lr.base_batch_size = 999
    view = dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 1.25))
    choice = dict(type='RandomChoiceResize', scales=[(16, 16), (32, 32)])
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    labeled.pipeline = [view]
    unlabeled.pipeline = [choice]
    fit_batch(cfg, Given(options), labels_of([(32, 32)]), Machine())
    assert cfg.train_dataloader.batch_size == 117
    labeled.pipeline = [choice]
    told, _ = fit_batch(cfg, Given(options), labels_of([(32, 32)]), Machine())
    # 1024 pixels each.
    assert cfg.train_dataloader.batch_size == 732
    assert 'views have up to 0.001 megapixels' in told


@pytest.mark.parametrize(
    ('crop', 'images'),
    [
        # 64 times 1.25 are 80; no more than 40 × 60 of these are left.
        (dict(crop_size=(40, 60)), 312),
        # Larger than the image: nothing is cut.
        (dict(crop_size=(400, 600)), 117),
        # Shares of a size that is not known.
        (dict(crop_size=(0.5, 0.5), crop_type='relative'), 117),
    ],
)
def test_what_is_cut_is_no_part_of_the_view(cfg, crop, images):
    options = {'auto_scale_lr.base_batch_size': 999}
    cfg.auto_scale_lr.base_batch_size = 999
    steps = [
        dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 1.25)),
        dict(type='RandomCrop', **crop),
    ]
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    labeled.pipeline = unlabeled.pipeline = steps
    fit_batch(cfg, Given(options), labels_of([(32, 32)]), Machine())
    assert cfg.train_dataloader.batch_size == images


def test_the_users_batch_stays(cfg):
    given = Given({'train_dataloader.batch_size': 30})
    assert fit_batch(cfg, given, labels_of([(640, 480)]), Machine()) == (None, logging.INFO)
    assert cfg.train_dataloader.batch_size == 6
    # And is what the learning rate is for: 30 of 12, on two processes 60.
    told = fit_rate(cfg, given, Machine(2))
    assert told == 'learning rate 0.05: 60 images per step, not 12 (scaled in proportion)'
    assert cfg.optim_wrapper.optimizer.lr == 0.05


def test_the_batch_is_a_multiple_of_the_users_ratio(cfg):
    given = Given({'train_dataloader.sampler.source_ratio': [1, 4]})
    fit_batch(cfg, given, labels_of([(640, 480)]), Machine(1, 200 * GB))
    assert cfg.train_dataloader.batch_size == 10


def test_a_mosaic_takes_room(cfg):
    # 15.3 megapixels are eleven views of 1.33; a mosaic of 2.56 leaves room for nine.
    labels, machine = labels_of([(640, 480)]), Machine(1, 60 * GB)
    given = Given({'train_dataloader.sampler.source_ratio': [1]})
    cfg.train_dataloader.sampler = dict(source_ratio=[1])
    fit_batch(cfg, given, labels, machine)
    assert cfg.train_dataloader.batch_size == 11
    cfg.default_hooks.mixpl = dict(type='MixPLHook', mosaic_sides=(400, 800))
    fit_batch(cfg, given, labels, machine)
    assert cfg.train_dataloader.batch_size == 9


def test_the_rate_of_a_config(cfg):
    cfg.optim_wrapper.optimizer.type = 'AdamW'
    cfg.train_dataloader.batch_size = 3
    told = fit_rate(cfg, Given({}), Machine())
    way = 'scaled by the square root, as for Adam'
    assert told == f'learning rate 0.005: 3 images per step, not 12 ({way})'
    # It is not scaled once more.
    assert cfg.auto_scale_lr.base_batch_size == 3
    told = fit_rate(cfg, Given({}), Machine())
    assert told == 'learning rate 0.005: 3 images per step, as in the config'
    # Another setting of the optimizer says nothing of its rate.
    assert fit_rate(cfg, Given({'optim_wrapper.optimizer.weight_decay': 0.1}), Machine()) == told


def test_the_rate_of_accumulated_gradients(cfg):
    # A step of the optimizer is of four batches.
    given = Given({'optim_wrapper.accumulative_counts': 4})
    cfg.train_dataloader.batch_size = 3
    told = fit_rate(cfg, given, Machine(2))
    assert told == 'learning rate 0.02: 24 images per step, not 12 (scaled in proportion)'
    assert cfg.auto_scale_lr.base_batch_size == 24


@pytest.mark.parametrize(
    'options',
    [
        {'optim_wrapper.optimizer.lr': 1.0},
        {'optim_wrapper.optimizer': {'type': 'SGD', 'lr': 1.0}},
        {'optim_wrapper.optimizer.type': 'SGD'},
        {'auto_scale_lr.enable': True},
    ],
)
def test_the_users_rate_stays(cfg, options):
    before = cfg.to_dict()
    assert fit_rate(cfg, Given(options), Machine()) is None
    cfg.pop('auto_scale_lr')
    assert fit_rate(cfg, Given({}), Machine()) is None
    assert cfg.optim_wrapper.to_dict() == before['optim_wrapper']


def test_the_machine(monkeypatch):
    class Properties:
        def __init__(self, index):
            self.total_memory = (24 - index) * GB

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setenv('SLURM_NTASKS', '16')
    monkeypatch.setenv('SLURM_PROCID', '15')
    assert machine_at_hand('none') == Machine(1, None)
    assert machine_at_hand('pytorch') == Machine(4, None, 3)
    assert machine_at_hand('slurm') == Machine(16, None, 15)
    # All ranks count on the smallest.
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', Properties)
    assert machine_at_hand('pytorch') == Machine(4, 23 * GB, 3)
