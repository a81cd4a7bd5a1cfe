"""A small data set with a config of its own, to be damaged in one way after another."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from ssod.checks.before_run import report_on_all
from ssod.checks.images import check_looks, look_at
from ssod.checks.leaks import check_shared
from ssod.checks.settings import check_settings_of

CLASSES = ('cat', 'dog')
WIDTH, HEIGHT = 40, 30
MAX_SHARE = 0.5
IMAGES = {'labeled': 3, 'unlabeled': 4, 'val': 2}


def noise(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(pixels)


def coco(name):
    """A COCO JSON of some images, each with a cat or a dog."""
    count = IMAGES[name]
    boxes = [
        {
            'id': i + 1,
            'image_id': i + 1,
            'category_id': 1 + i % 2,
            'bbox': [4, 6, 8, 12],
            'area': 96,
            'iscrowd': 0,
        }
        for i in range(count)
    ]
    return {
        'images': [
            {'id': i + 1, 'file_name': f'{i}.png', 'width': WIDTH, 'height': HEIGHT}
            for i in range(count)
        ],
        'annotations': [] if name == 'unlabeled' else boxes,
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }


def source(root, name, view):
    return dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file=f'{name}.json',
        data_prefix=dict(img=f'{name}/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type='LoadImage'), dict(type=view)],
    )


class World:
    """Labelled, unlabelled and validation images in a folder, and the config of a run with them.

    Args:
        root: The folder.

    Attributes:
        labeled, unlabeled, val: What their annotation files hold; written by :meth:`told`.
        cfg: The config.
    """

    def __init__(self, root: Path):
        self.root = root
        (root / 'mine.py').touch()
        self.labeled, self.unlabeled, self.val = (coco(name) for name in IMAGES)
        for number, (name, count) in enumerate(IMAGES.items()):
            (root / name).mkdir()
            for i in range(count):
                noise(10 * number + i).save(root / name / f'{i}.png')
        sources = [
            source(root, 'labeled', 'LabeledView'),
            source(root, 'unlabeled', 'TwoViews'),
        ]
        self.cfg: Any = Config(
            dict(
                model=dict(detector=dict(roi_head=dict(bbox_head=dict(num_classes=2)))),
                train_cfg=dict(max_iters=1),
                train_dataloader=dict(dataset=dict(type='ImageSources', datasets=sources)),
                val_cfg=dict(),
                val_dataloader=dict(dataset=source(root, 'val', 'PackDetInputs')),
                val_evaluator=dict(type='CocoMetric', ann_file=str(root / 'val.json')),
                default_hooks=dict(
                    broken_images=dict(type='BrokenImagesHook', max_share=MAX_SHARE)
                ),
            ),
            filename=str(root / 'mine.py'),
        )

    @property
    def sources(self):
        return self.cfg.train_dataloader.dataset.datasets

    def use_folder(self):
        """Take the unlabelled images from a folder, without an annotation file."""
        self.sources[1] = dict(
            type='UnlabeledFolder',
            data_root=str(self.root / 'unlabeled'),
            metainfo=dict(classes=CLASSES),
            pipeline=self.sources[1].pipeline,
        )

    def write(self):
        """Write the annotation files; what is already there was damaged on purpose."""
        for name in IMAGES:
            path = self.root / f'{name}.json'
            if not path.exists() and getattr(self, name) is not None:
                path.write_text(json.dumps(getattr(self, name)))

    def told(self):
        """What ``tools/check_data.py`` prints."""
        check_settings_of(self.cfg)
        findings, reports = report_on_all(self.cfg, ('train', 'val', 'test'))
        digests = {}
        for report in reports:
            looks = [look_at(image) for image in report.images]
            findings += check_looks(report, looks, MAX_SHARE)
            digests.update({look.image.path: look.digest for look in looks if look.digest})
        findings += check_shared(reports, digests)
        return [f'{finding.severity}: {finding}' for finding in findings]


def put(part, place, **fields):
    """Set fields of an entry of the labelled annotation file."""
    return lambda w: w.labeled[part][place].update(fields)


def write(name, content):
    """Write a file before the world does."""
    return lambda w: (w.root / name).write_bytes(content)


def both(*damages):
    def damage(w):
        for one in damages:
            one(w)

    return damage


@pytest.fixture
def world(tmp_path):
    """A data set with nothing wrong."""
    return World(tmp_path)
