"""Labelled and validation images in the folder of the unlabelled ones, which must not have them."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from PIL import Image

from ssod import own_data
from ssod.checks.before_run import check_data_of, report_on_all
from ssod.checks.leaks import check_shared
from ssod.data.data_sets import data_sets_of
from ssod.fitting.schedule import count_images
from ssod.own_data import OwnData, use_data, use_folder
from ssod.pseudo_labels.images_to_label import ImagesToLabel

CONFIG = Path(__file__).parents[1] / 'configs/mt_fasterrcnn_digits10pct.py'


def write_coco(path, names):
    box = dict(category_id=1, bbox=[1, 1, 4, 4], area=16, iscrowd=0)
    content = {
        'images': [dict(id=i, file_name=n, width=8, height=8) for i, n in enumerate(names)],
        'annotations': [dict(box, id=i + 1, image_id=i) for i, _ in enumerate(names)],
        'categories': [dict(id=1, name='cat')],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def photos(tmp_path):
    """Nine images, two in a sub-folder; one of these has the name of another one."""
    for name in (*(f'{i}.png' for i in range(7)), 'sub/0.png', 'sub/7.png'):
        (tmp_path / 'all' / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / 'all' / name)
    return tmp_path / 'all'


@pytest.fixture
def data(photos, tmp_path):
    """Three labelled and two validation images, in the folder of all."""
    labeled = write_coco(tmp_path / 'train.json', ['0.png', '1.png', '2.png'])
    val = write_coco(tmp_path / 'val.json', ['3.png', 'sub/7.png'])
    return OwnData(labeled, photos, photos, val)


@pytest.fixture
def said(monkeypatch):
    """The lines of the log about a user's data."""
    lines = []
    monkeypatch.setattr(own_data, 'print_log', lambda line, *_: lines.append(line))
    return lines


def put(data, work_dir):
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(work_dir)
    use_data(cfg, data)
    return cfg


def images_of(cfg):
    """The unlabelled images, which all who list or count them must agree on."""
    source = cfg.train_dataloader.dataset.datasets[-1]
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = DATASETS.build(source)
        unlabeled = [d for d in data_sets_of(cfg, ['train']) if d.role == 'unlabeled']
        (report,) = (r for r in report_on_all(cfg, ['train'])[1] if r.data_set.role == 'unlabeled')
        to_label = ImagesToLabel(unlabeled).names
    names = [built.get_data_info(i)['img_id'] for i in range(len(built))]
    assert [os.path.relpath(image.path, source.data_root) for image in report.images] == names
    assert to_label == names
    assert count_images(source) == len(names)
    return names


def test_all_in_one_folder(data, tmp_path, said):
    cfg = put(data, tmp_path / 'run')
    told = f'left out of {tmp_path}/all: 3 labelled and 2 validation images'
    assert said == [told]
    assert images_of(cfg) == ['4.png', '5.png', '6.png', 'sub/0.png']
    # So there is nothing that the checks warn of.
    findings, reports = report_on_all(cfg, ['train', 'val'])
    assert findings + check_shared(reports) == []


def test_the_runs_own_config(data, tmp_path):
    cfg = put(data, tmp_path / 'run')
    again = Config.fromstring(cfg.dump(), '.py')
    assert images_of(again) == images_of(cfg) == ['4.png', '5.png', '6.png', 'sub/0.png']
    # It names files, not thousands of images.
    named = again.train_dataloader.dataset.datasets[-1].exclude
    assert [part.ann_file for part in named] == [str(data.labeled), str(data.val)]


def test_a_part_set_aside_for_validation(data, tmp_path, said):
    write_coco(data.labeled, ['0.png', '1.png', '2.png', '3.png', 'sub/7.png'])
    cfg = put(replace(data, val=None), tmp_path / 'run')
    assert said[1:] == [f'left out of {tmp_path}/all: 4 labelled and 1 validation images']
    assert images_of(cfg) == ['4.png', '5.png', '6.png', 'sub/0.png']


# What each row proves: nothing is left out because of a name alone, and nothing is said; validation
# images that are elsewhere are not counted, nor named in the config.
@pytest.mark.parametrize(
    ('elsewhere', 'told', 'left'),
    [
        (('images', 'val_images'), None, 9),
        (('val_images',), '3 labelled images', 6),
    ],
)
def test_other_folders(data, tmp_path, said, elsewhere, told, left):
    other = dict.fromkeys(elsewhere, tmp_path / 'other')
    cfg = put(replace(data, **other), tmp_path / 'run')
    assert said == ([] if told is None else [f'left out of {tmp_path}/all: {told}'])
    assert len(images_of(cfg)) == left
    named = cfg.train_dataloader.dataset.datasets[-1].get('exclude', [])
    assert [part['ann_file'] for part in named] == ([] if told is None else [str(data.labeled)])


def test_labels_of_another_format(photos, tmp_path):
    box = '<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>'
    for i in range(5):
        (photos / f'{i}.xml').write_text(
            f'<annotation><object><name>cat</name>{box}</object></annotation>'
        )
    cfg = put(OwnData(photos, unlabeled=photos), tmp_path / 'run')
    assert images_of(cfg) == ['5.png', '6.png', 'sub/0.png', 'sub/7.png']


def test_a_data_set_around_the_folder(data, tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(tmp_path)
    sources = cfg.train_dataloader.dataset.datasets
    sources[:] = [ConfigDict(type='RepeatDataset', times=3, dataset=source) for source in sources]
    use_data(cfg, data)
    assert len(sources[1].dataset.exclude) == 2
    assert 'exclude' not in sources[1]


def test_a_json_of_unlabelled_images_stays_as_it_is(data, tmp_path, said, monkeypatch):
    # Its data_root is empty, which is no reason to look into the current directory.
    monkeypatch.chdir(data.images)
    json_file = write_coco(tmp_path / 'more.json', ['0.png', '5.png'])
    cfg = put(replace(data, unlabeled=json_file), tmp_path / 'run')
    assert said == []
    assert 'exclude' not in cfg.train_dataloader.dataset.datasets[-1]


def test_a_folder_to_label_is_labelled_whole(data, tmp_path):
    cfg = put(data, tmp_path / 'run')
    use_folder(cfg, data.images)
    assert len(images_of(cfg)) == 9


def test_nothing_is_left(data, photos, tmp_path):
    for name in ('4.png', '5.png', '6.png', 'sub/0.png'):
        (photos / name).unlink()
    cfg = put(data, tmp_path / 'run')
    told = (
        rf'{photos}: each of its 5 images is also in {data.labeled} or {data.val}, and left out '
        r'for that; give a folder with other images, or remove'
    )
    with pytest.raises(ValueError, match=told):
        count_images(cfg.train_dataloader.dataset.datasets[-1])
    findings, _ = report_on_all(cfg, ['train', 'val'])
    assert re.search(rf'datasets\[1\]: {told}', ' '.join(map(str, findings)))


@pytest.mark.parametrize('content', ['{', '{"images": [7, {"file_name": 7}]}'])
def test_what_is_wrong_is_left_to_the_checks(data, tmp_path, content):
    data.val.write_text(content)
    cfg = put(data, tmp_path / 'run')
    with pytest.raises(ValueError, match=r'val\.json'):
        check_data_of(cfg)
