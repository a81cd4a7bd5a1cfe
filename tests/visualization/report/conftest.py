"""A real run whose classes and files have names that HTML has other ideas about."""

import json
import shutil
from html.parser import HTMLParser

import pytest
from mmengine.runner import Runner

VOID = {'meta', 'img', 'link', 'br'}


class Page(HTMLParser):
    """A page as a browser would read it; an element that is not closed is an error."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding='utf-8')
        self.tags, self.words, self.open, self.links, self.ids = [], [], [], [], []
        self.feed(self.source)
        self.close()
        assert self.open == []

    @property
    def text(self):
        return ' '.join(' '.join(self.words).split())

    def count(self, tag):
        return self.tags.count(tag)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]
        self.ids += [v for k, v in attrs if k == 'id']

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('style', 'script'):
            self.words.append(data)


@pytest.fixture
def read_page():
    return Page


@pytest.fixture(scope='session')
def odd_digits(digits, tmp_path_factory):
    """The digits, with ``<`` and ``&`` in every name."""
    place = tmp_path_factory.mktemp('odd') / 'digits'
    shutil.copytree(digits, place)
    for path in (place / 'annotations').glob('*.json'):
        content = json.loads(path.read_text())
        for category in content['categories']:
            category['name'] = odd(category['name'])
        for image in content['images']:
            image['file_name'] = f'<i>&{image["file_name"]}'
        path.write_text(json.dumps(content))
    for path in (place / 'images').glob('*/*'):
        path.rename(path.with_name(f'<i>&{path.name}'))
    return place


def odd(name):
    return f'<s>{name}&"'


@pytest.fixture(scope='session')
def kept():
    """What is made once for all tests of this folder."""
    return {}


@pytest.fixture
def trained(scored_cfg, odd_digits, kept, tmp_path_factory):
    """The folder of a run of four iterations, the teacher's first one being the third."""
    if not kept:
        cfg = scored_cfg
        cfg.work_dir = str(tmp_path_factory.mktemp('trained') / 'run <i>&')
        cfg.train_cfg.update(max_iters=4, val_interval=2)
        cfg.model.consistency = dict(weight=0.5)
        teacher = dict(burn_in=2, selector=dict(type='ScoreSelector', threshold=0.0))
        cfg.default_hooks.teacher.update(teacher)
        cfg.default_hooks.summary = dict(type='SummaryHook', num_images=1)
        annotations = odd_digits / 'annotations'
        cfg.default_hooks.quality.ann_file = str(annotations / 'unlabeled_truth.json')
        cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = str(annotations / 'val.json')
        for data in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
            data.pop('scenes')
            classes = tuple(odd(str(digit)) for digit in range(10))
            data.update(
                type='CocoDataset', data_root=str(odd_digits), metainfo=dict(classes=classes)
            )
        for name in ('labeled', 'unlabeled', 'test_dataset'):
            cfg.pop(name, None)
        Runner.from_cfg(cfg).train()
        kept['folder'] = cfg.work_dir
    return kept['folder']
