"""The config for one's own data that data/README.md shows."""

from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from ssod.data.coco_json import write_json

ROOT = Path(__file__).parents[2]


def make_images(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((30, 40, 3), 50 * i, np.uint8)).save(folder / f'{i}.png')


def make_coco(path, count):
    box = {'category_id': 2, 'bbox': [4, 6, 8, 12], 'area': 96, 'iscrowd': 0}
    write_json(
        path,
        {
            'images': [
                {'id': i, 'file_name': f'{i}.png', 'width': 40, 'height': 30} for i in range(count)
            ],
            'annotations': [{**box, 'id': i + 1, 'image_id': i} for i in range(count)],
            'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
        },
    )


def test_a_copy_of_the_config_for_own_data(tmp_path, monkeypatch):
    mine = tmp_path / 'data' / 'mine'
    make_images(mine / 'images', 2)
    make_images(mine / 'unlabeled' / 'more', 3)
    make_coco(mine / 'labeled.json', 2)
    make_coco(mine / 'val.json', 1)
    text = (ROOT / 'configs/mt_fasterrcnn_custom.py').read_text(encoding='utf-8')
    for present, edited in (
        ("'./mt", f"'{ROOT}/configs/mt"),
        ("'data/custom/', 'data/custom/unlabeled/'", "'data/mine/', 'data/mine/unlabeled/'"),
        ("'train.json', 'train/'", "'labeled.json', 'images/'"),
        ("'val.json', 'val/'", "'val.json', 'images/'"),
    ):
        assert text.count(present) == 1
        text = text.replace(present, edited)
    own = tmp_path / 'mine.py'
    own.write_text(text, encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(own)
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 2
    with DefaultScope.overwrite_default_scope('mmdet'):
        train = DATASETS.build(cfg.train_dataloader.dataset)
        val = DATASETS.build(cfg.val_dataloader.dataset)
    assert train.metainfo['classes'] == val.metainfo['classes'] == ('cat', 'dog')
    assert train.cumulative_sizes == [2, 5]
    labeled = train[0]['data_samples']['labeled'].gt_instances
    assert labeled.labels.tolist() == [1]
    assert train[4]['data_samples']['strong'].img_id == 'more/2.png'
    assert len(val) == 1
    assert val[0]['data_samples'].gt_instances.labels.tolist() == [1]
