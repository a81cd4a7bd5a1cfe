"""A study in small: two tiny data sets, and three methods."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

CONFIGS = Path(__file__).parents[2] / 'configs'

STUDY = f"""
data = dict(
    cells=dict(percents=[50, 25], settings={{'train_cfg.max_iters': 2}}),
    scenes=dict(percents=[25], train='train.json', val='val.json', images='pictures'),
)
methods = dict(
    supervised='{CONFIGS}/supervised_fasterrcnn_digits10pct.py',
    teacher='{CONFIGS}/mt_fasterrcnn_digits10pct.py',
    eager=dict(
        config='{CONFIGS}/mt_fasterrcnn_digits10pct.py',
        settings={{'default_hooks.teacher.burn_in': 1}},
    ),
)
seeds = [1, 2]
settings = {{'train_cfg.max_iters': 3}}
"""


def write_set(root, train, val, images, count):
    """Images of one grey and a box each, in COCO's format."""
    (root / images).mkdir(parents=True)
    for number, file in enumerate((train, val)):
        (root / file).parent.mkdir(exist_ok=True)
        names = [f'{number}_{i:02}.png' for i in range(count)]
        for i, name in enumerate(names):
            cv2.imwrite(str(root / images / name), np.full((48, 64, 3), 20 * i, np.uint8))
        content = {
            'images': [
                {'id': i, 'file_name': name, 'width': 64, 'height': 48}
                for i, name in enumerate(names)
            ],
            'annotations': [
                {
                    'id': i,
                    'image_id': i,
                    'category_id': 1 + i % 2,
                    'bbox': [4, 4, 20 + i, 20],
                    'area': 20 * (20 + i),
                    'iscrowd': 0,
                }
                for i in range(count)
            ],
            'categories': [{'id': 1, 'name': 'red'}, {'id': 2, 'name': 'white'}],
        }
        (root / file).write_text(json.dumps(content))


@pytest.fixture
def data_root(tmp_path):
    """Twelve training and twelve validation images in ``cells``, eight of each in ``scenes``."""
    root = tmp_path / 'data'
    annotations = [f'annotations/instances_{part}.json' for part in ('train', 'val')]
    write_set(root / 'cells', *annotations, 'images', 12)
    write_set(root / 'scenes', 'train.json', 'val.json', 'pictures', 8)
    return root


@pytest.fixture
def study_file(tmp_path):
    """The study's file."""
    path = tmp_path / 'studies/small.py'
    path.parent.mkdir()
    path.write_text(STUDY)
    return path


@pytest.fixture
def started_study_file(study_file):
    """The same, but all methods start from what the labels gave in one more iteration."""
    start = f"start = dict(config='{CONFIGS}/supervised_fasterrcnn_digits10pct.py', settings="
    study_file.write_text(f"{STUDY}{start}{{'default_hooks.teacher.burn_in': 4}})\n")
    return study_file
