"""All of it, on the configs for own data; and what a run starts from."""

import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict

from ssod import runs
from ssod.data.coco_json import write_json
from ssod.fitting import fit, start
from ssod.fitting.given import Given
from ssod.fitting.measures import Machine
from ssod.own_data import OwnData

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def fetched(monkeypatch):
    """What is fetched; nothing is to be had that is called so."""
    references = []

    def fetch(reference):
        references.append(reference)
        if 'nowhere' in reference:
            raise ConnectionError('no way there')
        return Path(reference)

    monkeypatch.setattr(start, 'fetch_weights', fetch)
    return references


@pytest.fixture
def data(tmp_path):
    """Four labelled images of 100×80, boxes of 40×20, and six unlabelled ones."""
    images = [{'id': i, 'file_name': f'{i}.png', 'width': 100, 'height': 80} for i in range(6)]
    box = {'category_id': 1, 'bbox': [0, 0, 40, 20], 'area': 800, 'iscrowd': 0}
    content = {
        'images': images[:4],
        'annotations': [{**box, 'id': i, 'image_id': i} for i in range(4)],
        'categories': [{'id': 1, 'name': 'cat'}],
    }
    write_json(tmp_path / 'labeled.json', content)
    write_json(tmp_path / 'unlabeled.json', {**content, 'images': images, 'annotations': []})
    labeled, unlabeled = tmp_path / 'labeled.json', tmp_path / 'unlabeled.json'
    return OwnData(labeled, tmp_path, unlabeled, labeled)


def load(monkeypatch, name, data, options=None, **arguments):
    """A config as the tools read it, on a CPU."""
    monkeypatch.setattr(runs, 'machine_at_hand', lambda launcher: Machine())
    return runs.load_config(CONFIGS / name, options=options, data=data, **arguments)


def test_the_config_for_own_data(monkeypatch, data, fetched):
    cfg = load(monkeypatch, 'mt_fasterrcnn_custom.py', data)
    # Boxes are of 28 pixels, so that images are made larger by 32 / 28; views at most by 151 / 100.
    assert cfg.fitted == [
        'image size 113×91: 95% of the labelled images are up to 100×80, but a tenth of their '
        'boxes are below 28 pixels',
        "anchors: the config's own cover 100% of the labelled boxes",
        'batch size 8: views have up to 0.018 megapixels, the CPU takes 0.75 per step',
        'iterations 3,000 (30,000 in the config): each labelled image is seen 3,000 times, '
        'each of 6 unlabelled ones 1,600 times after a burn-in of 600',
        'learning rate 0.005: 8 images per step, as in the config',
        f'start weights: the detector {cfg.load_from}',
    ]
    assert fetched == [cfg.load_from, 'torchvision://resnet50']
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (151, 91)
    assert cfg.param_scheduler[1].milestones == [2000, 2700]
    # What the run's folder keeps is what was fitted.
    assert Config.fromstring(cfg.dump(), '.py').fitted == cfg.fitted


def test_a_data_set_around_the_labelled_one(monkeypatch, data, fetched):
    options = {'train_cfg.max_iters': 7}
    plain = load(monkeypatch, 'mt_fasterrcnn_custom.py', data, options).fitted
    use_data = runs.use_data

    def wrapped(cfg, *rest):
        sources = cfg.train_dataloader.dataset.datasets
        for number, kind in enumerate(('ClassBalancedDataset', 'RepeatDataset')):
            sources[number] = ConfigDict(type=kind, dataset=sources[number])
        use_data(cfg, *rest)

    monkeypatch.setattr(runs, 'use_data', wrapped)
    assert load(monkeypatch, 'mt_fasterrcnn_custom.py', data, options).fitted == plain
    cfg = load(monkeypatch, 'mt_fasterrcnn_custom.py', data)
    assert any('each of 6 unlabelled ones' in line for line in cfg.fitted)


def test_the_users_values_win(monkeypatch, data, fetched):
    options = {
        'train_dataloader.batch_size': 4,
        'optim_wrapper.optimizer.lr': 0.5,
        'train_cfg.max_iters': 300,
        'default_hooks.teacher.burn_in': 7,
        'test_dataloader.dataset.pipeline.1.scale': (64, 64),
        'load_from': 'mine.pth',
        'model.detector.rpn_head.anchor_generator.scales': [2],
    }
    cfg = load(monkeypatch, 'mt_fasterrcnn_custom.py', data, options)
    asked = cfg.copy()
    asked.merge_from_dict(options)
    assert cfg.to_dict() == asked.to_dict()
    assert cfg.fitted == [
        "iterations 300: the config's schedule for 30,000 is scaled to that",
        'start weights: the detector mine.pth',
    ]
    assert cfg.param_scheduler[1].milestones == [200, 270]


def test_small_pictures_on_two_cores(monkeypatch, data, fetched):
    cfg = load(monkeypatch, 'mt_fasterrcnn_small.py', data)
    fitted = [line.partition(':')[0] for line in cfg.fitted]
    assert fitted == [
        'image size 113×91',
        'anchors',
        'batch size 6',
        'iterations 500 (2,000 in the config)',
        'learning rate 0.001',
        'start weights',
    ]
    assert (
        cfg.fitted[-1] == 'start weights: the backbone, mobilenet_v2 IMAGENET1K_V1 of torchvision'
    )
    assert fetched == []
    transforms = cfg.train_dataloader.dataset.datasets[0].pipeline[2].transforms
    assert transforms[0].scale == (113, 113)


def test_the_batch_is_for_the_precision_that_is_asked_for(monkeypatch, data, fetched):
    monkeypatch.setattr(runs, 'machine_at_hand', lambda launcher: Machine(1, 16 * 2**30))
    # Views of 1.4 megapixels, of 3.6 and 7.2.
    options = {'test_dataloader.dataset.pipeline.1.scale': (1333, 800)}
    for amp, images in ((False, 2), (True, 4)):
        config = CONFIGS / 'mt_fasterrcnn_custom.py'
        cfg = runs.load_config(config, options=options, data=data, amp=amp)
        assert cfg.train_dataloader.batch_size == images


def test_who_only_looks_at_data_fetches_nothing(monkeypatch, data, fetched, tmp_path):
    run = load(monkeypatch, 'mt_fasterrcnn_custom.py', data)
    fetched.clear()
    cfg = load(monkeypatch, 'mt_fasterrcnn_custom.py', data, data_dir=tmp_path / 'made')
    assert fetched == []
    # All else is fitted.
    assert cfg.fitted == run.fitted[:-1]
    assert cfg.test_dataloader.to_dict() == run.test_dataloader.to_dict()


def test_another_detector_has_another_start(monkeypatch, data, fetched):
    detector = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    cfg = load(monkeypatch, 'mt_fasterrcnn_custom.py', data, detector=detector)
    # The config's own is a Faster R-CNN.
    assert (cfg.load_from, fetched) == (None, [])
    assert cfg.fitted[-1] == 'start weights: the backbone, torchvision://resnet50'


def test_nothing_is_fitted_if_not_wanted(monkeypatch, data, fetched):
    plain = load(monkeypatch, 'mt_fasterrcnn_small.py', data, fit=False)
    assert 'fitted' not in plain
    assert plain.train_cfg == Config.fromfile(CONFIGS / 'mt_fasterrcnn_small.py').train_cfg
    # Nor without own data.
    assert 'fitted' not in load(monkeypatch, 'mt_fasterrcnn_small.py', None)


def test_lines_are_in_the_log(monkeypatch, cfg, data, fetched):
    said = []
    monkeypatch.setattr(fit, 'print_log', lambda line, logger, level: said.append((line, level)))
    cfg.train_dataloader.dataset.datasets[0].ann_file = str(data.labeled)
    source = dict(type='CocoDataset', ann_file=str(data.unlabeled))
    cfg.train_dataloader.dataset.datasets[1].update(source)
    cfg.model.detector.backbone = {}
    fit.fit_config(cfg, {}, Machine())
    assert [line for line, _ in said] == cfg.fitted
    # Only what is likely to be regretted is a warning.
    assert [level for _, level in said] == [logging.INFO] * 5 + [logging.WARNING]
    # So is a batch that there is no room for.
    said.clear()
    fit.fit_config(cfg, {}, Machine(1, 2**30))
    warned = [line.partition(':')[0] for line, level in said if level == logging.WARNING]
    assert warned == ['batch size 3, the smallest possible', 'start weights']
    # One process says it.
    said.clear()
    fit.fit_config(cfg, {}, Machine(2, rank=1))
    assert said == []


def test_the_start(cfg, fetched):
    # The backbone's weights, where the config names no detector's.
    told = 'start weights: the backbone, torchvision://resnet50'
    assert start.fit_start(cfg, Given({}), Machine()) == (told, logging.INFO)
    cfg.load_from = 'detector.pth'
    told = 'start weights: the detector detector.pth'
    assert start.fit_start(cfg, Given({}), Machine()) == (told, logging.INFO)
    # It cannot be had: the backbone's, and that is said.
    cfg.load_from = 'http://nowhere/x.pth'
    told, level = start.fit_start(cfg, Given({}), Machine())
    assert (cfg.load_from, level) == (None, logging.WARNING)
    assert told == (
        'start weights: the backbone, torchvision://resnet50; the detector cannot be downloaded: '
        'no way there'
    )


@pytest.mark.parametrize(
    ('keys', 'prefix'),
    [
        (['backbone.x', 'neck.x'], 'backbone'),
        (['student.backbone.x'], 'student.backbone'),
        (['neck.x'], None),
    ],
)
@pytest.mark.parametrize('one_of_several', [False, True])
def test_a_backbone_that_the_detector_has(cfg, fetched, tmp_path, keys, prefix, one_of_several):
    own = cfg.model.detector.backbone.init_cfg
    if one_of_several:
        cfg.model.detector.backbone.init_cfg = [ConfigDict(type='Kaiming', layer='Conv2d'), own]
        own = cfg.model.detector.backbone.init_cfg[1]
    file = tmp_path / 'detector.pth'
    torch.save({'state_dict': dict.fromkeys(keys, torch.zeros(1))}, file)
    cfg.load_from = str(file)
    # Where it can be had, it stays: the detector's may not fit.
    told, _ = start.fit_start(cfg, Given({}), Machine())
    assert (told, own.checkpoint) == (f'start weights: the detector {file}', fetched[-1])
    own.checkpoint = 'http://nowhere/resnet.pth'
    told, _ = start.fit_start(cfg, Given({}), Machine())
    end = ', because http://nowhere/resnet.pth cannot be downloaded'
    assert told.endswith(end) is (prefix is not None)
    # So has the verifier, whose backbone begins as this one does.
    assert own.get('prefix') == prefix
    assert own.checkpoint == ('http://nowhere/resnet.pth' if prefix is None else str(file))


def test_the_users_start_is_not_replaced(cfg, fetched):
    with pytest.raises(ConnectionError, match='no way there'):
        start.fit_start(cfg, Given({'load_from': 'http://nowhere/x.pth'}), Machine())
    # Nor is any where another process may have it.
    cfg.load_from = 'http://nowhere/x.pth'
    with pytest.raises(ConnectionError, match='no way there'):
        start.fit_start(cfg, Given({}), Machine(2))


def test_a_random_start_is_said(cfg, fetched):
    cfg.model.detector.backbone.init_cfg = None
    # The verifier's weights start no detector.
    cfg.model.verifier = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='x.pth')))
    told, level = start.fit_start(cfg, Given({}), Machine())
    assert level == logging.WARNING
    assert told.startswith('start weights: all random: the config names none; ')
    cfg.load_from = 'http://nowhere/x.pth'
    told, level = start.fit_start(cfg, Given({}), Machine())
    assert told.startswith('start weights: all random; the detector cannot be downloaded: ')


@pytest.mark.parametrize(
    ('options', 'key', 'found'),
    [
        ({}, 'a', False),
        ({'a.b': 1}, 'a.b', True),
        # A part of it, and what it is a part of; a name that only begins so is neither.
        ({'a.b': 1}, 'a', True),
        ({'a': 1}, 'a.b', True),
        ({'a.bc': 1}, 'a.b', False),
        ({'a': {'b': {'c': 1}}}, 'a.b.c', True),
        ({'a': {'b': 1}}, 'a.c', False),
        ({'a': {}}, 'a.c', True),
    ],
)
def test_what_is_given(options, key, found):
    assert Given(options).has(key) is found
