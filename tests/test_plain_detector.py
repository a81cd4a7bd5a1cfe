"""One detector taken out of a student and its teacher."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config

from ssod import runs
from ssod.plain_detector import (
    build_detector,
    classes_and_palette,
    detector_cfg,
    load_detector,
    scored_loader,
    weights_of_one,
)
from ssod.publishing import publish

CONFIGS = Path(__file__).parents[1] / 'configs'
ONE, TWO = torch.tensor(1), torch.tensor(2)


def dataset(**settings):
    """A config whose test images are those of a data set of two classes."""
    settings = {'type': 'CocoDataset', 'pipeline': [dict(type='LoadImageFromFile')], **settings}
    return Config(dict(test_dataloader=dict(dataset=settings)))


# What each row proves:
@pytest.mark.parametrize(
    'name',
    [
        'mt_fasterrcnn_coco10pct.py',  # a pair of ours
        'mixpl_dino_digits10pct.py',  # its detector writes into its own config
        # mmdet's own pair is taken apart alike.
        'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',  # a plain one is what it is
    ],
)
def test_the_config(name):
    cfg = get_config(name) if '::' in name else Config.fromfile(CONFIGS / name)
    # The preprocessor of a pair goes before one of its detector.
    used = cfg.model.data_preprocessor
    used.get('data_preprocessor', used).pad_size_divisor = 7
    before = cfg.model.to_dict()
    detector = detector_cfg(cfg)
    assert detector.data_preprocessor.type == 'DetDataPreprocessor'
    assert detector.data_preprocessor.pad_size_divisor == 7
    assert 'detector' not in detector
    assert detector.backbone.type == 'ResNet'
    assert (detector.backbone.get('init_cfg') or {}).get('type') != 'Pretrained'
    assert cfg.model.to_dict() == before
    # Some detectors write into their config when they are built.
    state = MODELS.build(deepcopy(detector)).state_dict()
    built = build_detector(detector, state, 'x.pth')
    assert not built.training
    for key, value in built.state_dict().items():
        # DINO is built with parameters of memory as it was, in which there may be a nan.
        torch.testing.assert_close(value, state[key], rtol=0, atol=0, equal_nan=True)
    assert detector_cfg(cfg) == detector


def test_weights():
    weights = {'student.a': ONE, 'teacher.a': TWO}
    assert weights_of_one(weights, 'teacher', 'x.pth') == {'a': TWO}
    assert weights_of_one(weights, 'student', 'x.pth') == {'a': ONE}
    with pytest.raises(ValueError, match=r'x\.pth has no teacher'):
        weights_of_one({'student.a': ONE}, 'teacher', 'x.pth')


# Of the test, of the validation where there is no test, or where that has no pipeline of its own.
def test_the_loader():
    cfg = dataset()
    assert scored_loader(cfg) == ('test_dataloader', cfg.test_dataloader)
    cfg.val_dataloader = cfg.test_dataloader
    for nothing in (None, dict(dataset=dict(type='CocoDataset'))):
        cfg.test_dataloader = nothing
        assert scored_loader(cfg) == ('val_dataloader', cfg.val_dataloader)


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ('metainfo', 'meta', 'classes', 'palette'),
    [
        # The config alone, the checkpoint alone, in each of mmdet's spellings.
        (dict(classes=['a', 'b'], palette=[RED, BLUE]), None, ('a', 'b'), [RED, BLUE]),
        (
            dict(classes=['a', 'b'], palette=[RED, BLUE]),
            {'dataset_meta': {'classes': ('a', 'b'), 'palette': [BLUE, RED]}},
            ('a', 'b'),
            [RED, BLUE],  # The config's colours, as in mmdet.
        ),
        (
            dict(classes=['a']),
            {'dataset_meta': {'CLASSES': ('a',), 'PALETTE': [RED]}},
            ('a',),
            [RED],
        ),
        (dict(classes=['a']), {'CLASSES': ('a',)}, ('a',), [CocoDataset.METAINFO['palette'][0]]),
        # Each is where it is found first.
        (
            dict(classes=['a']),
            {'dataset_meta': {'palette': [BLUE]}, 'CLASSES': ('a',), 'PALETTE': [RED]},
            ('a',),
            [BLUE],
        ),
        (dict(classes=['a'], palette=[[1, 2, 3]]), {}, ('a',), [(1, 2, 3)]),
        (dict(classes=['a'], palette=[RED]), 'by hand', ('a',), [RED]),
        (None, {}, CocoDataset.METAINFO['classes'], CocoDataset.METAINFO['palette']),
    ],
)
def test_classes_and_colours(metainfo, meta, classes, palette):
    cfg = dataset() if metainfo is None else dataset(metainfo=metainfo)
    checkpoint = {} if meta is None else {'meta': meta}
    told = classes_and_palette(cfg, checkpoint, 'x.pth')
    assert told == {'classes': classes, 'palette': palette}


def test_colours_by_name_become_colours():
    cfg = dataset(metainfo=dict(classes=['a', 'b'], palette='random'))
    palette = classes_and_palette(cfg, {}, 'x.pth')['palette']
    assert len({*palette}) == 2
    assert all(type(part) is int and 0 <= part < 256 for colour in palette for part in colour)


def test_classes_that_are_not_said():
    cfg = dataset(type='BaseDetDataset')
    with pytest.raises(ValueError, match='dataset.metainfo has no classes; list them'):
        classes_and_palette(cfg, {}, 'x.pth')
    # The checkpoint says them, in mmdet 3's place or in mmdet 2's.
    old = {'dataset_meta': {'palette': [RED]}, 'CLASSES': ('a',)}
    for meta in ({'dataset_meta': {'classes': ('a',)}}, old):
        assert classes_and_palette(cfg, {'meta': meta}, 'x.pth')['classes'] == ('a',)


# A label without a name would end what is predicted in the middle.
@pytest.mark.parametrize('number', [2, 4])
def test_a_head_of_another_number_of_classes(number):
    cfg = dataset(metainfo=dict(classes=['a', 'b', 'c']))
    cfg.model = dict(roi_head=dict(bbox_head=dict(num_classes=number)))
    told = rf'^model\.roi_head\.bbox_head\.num_classes: is {number}, .* have 3 classes \(a, b, c\)'
    with pytest.raises(ValueError, match=told):
        classes_and_palette(cfg, {}, 'x.pth')


# Of two stages, of one, and of a transformer, which keeps all boxes.
@pytest.mark.parametrize(
    ('name', 'own'),
    [('mt_fasterrcnn', 0.05), ('mixpl_fcos', 0.05), ('mixpl_dino', None)],
)
def test_the_threshold(tmp_path, name, own):
    cfg = Config.fromfile(CONFIGS / f'{name}_digits10pct.py')
    torch.save(MODELS.build(detector_cfg(cfg)).state_dict(), tmp_path / 'x.pth')
    for asked, found in ((0.5, own), (0.01, own and 0.01)):
        detector, _ = load_detector(cfg, tmp_path / 'x.pth', score_thr=asked)
        head = detector.roi_head if name == 'mt_fasterrcnn' else detector.bbox_head
        assert head.test_cfg.get('score_thr') == found


@pytest.fixture
def published(scored_cfg, tmp_path):
    """A pair's checkpoint, and its teacher as a plain config and a checkpoint."""
    torch.save({'state_dict': MODELS.build(scored_cfg.model).state_dict()}, tmp_path / 'iter_2.pth')
    return tmp_path / 'iter_2.pth', publish(scored_cfg, tmp_path / 'iter_2.pth')


def loaded(cfg, checkpoint, *models):
    """The model that a test would score."""
    runs.set_scored(cfg, models)
    cfg.work_dir, cfg.load_from = str(checkpoint.parent / 'tested'), str(checkpoint)
    runner = runs.build_runner(cfg, ['test'])
    runner.load_or_resume()
    return runner.model


def test_a_test_scores_no_random_weights(published):
    pair, (plain, checkpoint) = published[0], (published[1].config, published[1].checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    for key, value in loaded(Config.fromfile(plain), checkpoint).state_dict().items():
        torch.testing.assert_close(value, content['state_dict'][key], rtol=0, atol=0)
    remedy = r"iter_2\.pth is of a student and a teacher, but .*\.py of one.*the run's own config"
    with pytest.raises(ValueError, match=remedy):
        loaded(Config.fromfile(plain), pair)
    content['meta']['dataset_meta']['classes'] = tuple('9876543210')
    torch.save(content, pair)
    with pytest.raises(ValueError, match=r'on 9, 8, 7.* but the test of .*\.py has 0, 1, 2'):
        loaded(Config.fromfile(plain), pair)
    content['state_dict'].pop('neck.fpn_convs.0.conv.bias')
    torch.save(content['state_dict'], pair)
    with pytest.raises(ValueError, match=r'of another detector: Missing key.*neck\.fpn_convs\.0'):
        loaded(Config.fromfile(plain), pair)


def test_one_models_weights_are_enough_to_score_it(scored_cfg, published):
    pair = published[0]
    content = torch.load(pair, weights_only=True)
    student = {k: v for k, v in content['state_dict'].items() if k.startswith('student.')}
    # What another program wrote into meta does not matter.
    torch.save({'state_dict': student, 'meta': 'by hand'}, pair)
    found = loaded(deepcopy(scored_cfg), pair, 'student').student.state_dict()
    for key, value in found.items():
        torch.testing.assert_close(value, student[f'student.{key}'], rtol=0, atol=0)
    with pytest.raises(
        ValueError, match=r'^\S+iter_2\.pth has no teacher; use a checkpoint of a run'
    ):
        loaded(deepcopy(scored_cfg), pair)
    # Both are to be scored, and one would be random.
    with pytest.raises(ValueError, match=r'iter_2\.pth has no teacher'):
        loaded(deepcopy(scored_cfg), pair, 'student', 'teacher')
