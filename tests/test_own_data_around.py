"""Own data in configs whose data sets and scores are not as simple as in ours."""

from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from ssod.data.coco_json import read_coco, write_json
from ssod.own_data import OwnData, part_validation, use_data, use_folder
from ssod.runs import load_config

CONFIG = 'configs/mt_fasterrcnn_digits10pct.py'


@pytest.fixture
def data(tmp_path):
    labels = tmp_path / 'labels.json'
    write_json(labels, dict(images=[], annotations=[], categories=[dict(id=1, name='cat')]))
    return OwnData(labels, tmp_path, tmp_path, val=labels)


@pytest.fixture
def cfg(tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(tmp_path)
    return cfg


def test_what_is_around_a_data_set_stays_around_it(cfg, data, tmp_path):
    sources = cfg.train_dataloader.dataset.datasets
    pipelines = [source.pipeline for source in sources]
    sources[:] = [ConfigDict(type='RepeatDataset', times=3, dataset=source) for source in sources]
    use_data(cfg, data)
    for source, kind, pipeline in zip(
        sources, ('CocoDataset', 'UnlabeledFolder'), pipelines, strict=True
    ):
        assert (source.type, source.times) == ('RepeatDataset', 3)
        assert (source.dataset.type, source.dataset.pipeline) == (kind, pipeline)
    use_folder(cfg, tmp_path / 'other')
    assert sources[1].dataset.data_root == str(tmp_path / 'other')


def test_a_data_set_of_several(cfg, data):
    sources = cfg.train_dataloader.dataset.datasets
    sources[0] = ConfigDict(type='ConcatDataset', datasets=[sources[0], sources[0]])
    with pytest.raises(ValueError, match='ConcatDataset holds several data sets, .* leave one of'):
        use_data(cfg, data)


def test_validation_labels_without_some_classes(cfg, data, tmp_path):
    val = tmp_path / 'few.json'
    categories = [dict(id=i, name=name) for i, name in enumerate(('cat', 'cow'), 1)]
    write_json(data.labeled, dict(images=[], annotations=[], categories=categories))
    write_json(val, dict(images=[], annotations=[], categories=categories[1:]))
    use_data(cfg, replace(data, val=val))
    changed = cfg.val_dataloader.dataset.ann_file
    assert changed == cfg.test_evaluator.ann_file == str(tmp_path / 'val_labels/val.json')
    assert [c['name'] for c in read_coco(changed)['categories']] == ['cat', 'cow']


def test_several_evaluators(cfg, data):
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='CocoMetric', ann_file='other.json')]
    use_data(cfg, data)
    assert [one.ann_file for one in cfg.val_evaluator] == [str(data.labeled)] * 2


def test_no_evaluator(cfg, data):
    cfg.test_evaluator = None
    with pytest.raises(
        ValueError, match='digits10pct.py: has no test_evaluator; give the complete'
    ):
        use_data(cfg, data)


def test_a_plain_detectors_config(cfg, data):
    cfg.train_dataloader.dataset = dict(type='CocoDataset', ann_file='a.json')
    told = 'digits10pct.py: train_dataloader.dataset has no datasets, labelled and .* --detector'
    with pytest.raises(ValueError, match=told):
        use_data(cfg, data)


def test_truth_that_nothing_looks_at(cfg, data, tmp_path):
    cfg.default_hooks.quality = None
    truth = replace(data, truth=tmp_path / 'truth.json')
    # As a study does, whose methods are not all ours.
    use_data(cfg, truth)
    options = {'default_hooks.quality': None}
    told = r'default_hooks.quality is None, so nothing uses the truth .*truth.json'
    with pytest.raises(ValueError, match=told):
        load_config(CONFIG, tmp_path, options, data=truth, fit=False)


def test_wrong_labels_are_named_before_they_are_parted(tmp_path):
    labels = tmp_path / 'labels.json'
    images = [dict(id=1, file_name=f'{i}.png', width=9, height=9) for i in range(5)]
    write_json(labels, dict(images=images, annotations=[], categories=[dict(id=1, name='cat')]))
    with pytest.raises(ValueError, match=r'labels.json: 5 images have the id 1; give each'):
        part_validation(labels, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_what_is_not_given(cfg, data, tmp_path):
    with pytest.raises(ValueError, match='names images, but OwnData.images is None; give their'):
        use_data(cfg, OwnData(data.labeled, unlabeled=tmp_path, val=data.val))
    with pytest.raises(ValueError, match='digits10pct.py also learns from unlabelled images, but'):
        use_data(cfg, OwnData(data.labeled, tmp_path, val=data.val))
    alone = Config.fromfile('configs/supervised_fasterrcnn_digits10pct.py')
    alone.work_dir = str(tmp_path)
    use_data(alone, OwnData(data.labeled, tmp_path, val=data.val))
    assert len(alone.train_dataloader.dataset.datasets) == 1


def test_places_may_be_texts():
    assert OwnData('a.json', 'b', 'c') == OwnData(Path('a.json'), Path('b'), Path('c'))
