"""Which data sets a config has, what they are for, and where their files are."""

import pytest
from mmengine.config import Config

from ssod.data.data_sets import DataSet, data_sets_of, spread

LABELED = dict(type='CocoDataset', ann_file='a.json', pipeline=[dict(type='LabeledView')])
UNLABELED = dict(type='CocoDataset', ann_file='b.json', pipeline=[dict(type='TwoViews')])
VAL = dict(type='CocoDataset', ann_file='c.json', pipeline=[dict(type='PackDetInputs')])


def config(train=LABELED, **parts):
    return Config(
        dict(
            train_cfg=dict(),
            train_dataloader=dict(dataset=train),
            val_cfg=dict(),
            val_dataloader=dict(dataset=VAL),
            **parts,
        )
    )


def found(cfg, *parts):
    return [(d.where, d.role, d.cfg['ann_file']) for d in data_sets_of(cfg, parts)]


def test_no_data():
    assert data_sets_of(Config(dict()), ['train', 'val', 'test']) == []


def test_one():
    assert found(config(), 'train') == [('train_dataloader.dataset', 'labeled', 'a.json')]


@pytest.mark.parametrize('kind', ['ConcatDataset', 'ImageSources'])
def test_side_by_side(kind):
    both = dict(type=kind, datasets=[LABELED, UNLABELED])
    where = 'train_dataloader.dataset.datasets'
    assert found(config(both), 'train', 'val', 'test') == [
        (f'{where}[0]', 'labeled', 'a.json'),
        (f'{where}[1]', 'unlabeled', 'b.json'),
        ('val_dataloader.dataset', 'val', 'c.json'),
    ]


def test_at_any_depth():
    inner = dict(type='ConcatDataset', datasets=[dict(type='RepeatDataset', dataset=UNLABELED)])
    deep = dict(type='ClassBalancedDataset', dataset=inner)
    where = 'train_dataloader.dataset.dataset.datasets[0].dataset'
    assert found(config(deep), 'train') == [(where, 'unlabeled', 'b.json')]


@pytest.mark.parametrize(
    ('steps', 'role'),
    [
        ([dict(type='mmdet.TwoViews')], 'unlabeled'),
        # mmdet's own way to write the two views.
        ([dict(type='MultiBranch', branch_field=['weak', 'strong'], weak={})], 'unlabeled'),
        ([dict(type='MultiBranch', branch_field=['labeled', 'weak'], labeled={})], 'labeled'),
        # mmdet's own pipeline, whose branches have names of its own.
        ([dict(type='LoadImageFromFile'), dict(type='LoadEmptyAnnotations')], 'unlabeled'),
        ([], 'labeled'),
        # A transform that was built already.
        ([object()], 'labeled'),
    ],
)
def test_views_tell_what_is_unlabelled(steps, role):
    ((_, told, _),) = found(config(dict(LABELED, pipeline=steps)), 'train')
    assert told == role


def test_the_pipeline_may_be_around_the_data_set():
    inner = dict(LABELED, pipeline=[])
    mixed = dict(type='MultiImageMixDataset', dataset=inner, pipeline=[dict(type='TwoViews')])
    ((_, role, _),) = found(config(mixed), 'train')
    assert role == 'unlabeled'


def test_what_is_not_used_is_left_out():
    cfg = config(test_cfg=dict(), test_dataloader=dict(dataset=VAL))
    assert [role for _, role, _ in found(cfg, 'test')] == ['test']
    cfg.test_cfg = None
    assert found(cfg, 'test') == []
    cfg.val_dataloader = None
    assert found(cfg, 'val') == []


@pytest.mark.parametrize(
    ('cfg', 'file', 'images'),
    [
        # As mmengine joins them.
        (dict(data_root='r', ann_file='a.json', data_prefix=dict(img='i/')), 'r/a.json', 'r/i/'),
        (dict(ann_file='a.json', data_prefix=dict(img='i')), 'a.json', 'i'),
        (dict(data_root='r/', ann_file='/x/a.json', data_prefix=dict(img='/i')), '/x/a.json', '/i'),
        (dict(data_root='r', ann_file='a.json'), 'r/a.json', 'r/'),
        (dict(data_root='r/'), 'r', 'r/'),
    ],
)
def test_where_files_are(cfg, file, images):
    data_set = DataSet('here', 'labeled', cfg)
    assert (data_set.file, data_set.image_dir) == (file, images)


@pytest.mark.parametrize(
    ('cfg', 'kind'),
    [
        (dict(type='CocoDataset', ann_file='a.json'), 'coco'),
        # Other classes, read in the same way; and in another.
        (dict(type='CityscapesDataset', ann_file='a.json'), 'coco'),
        (dict(type='LVISV1Dataset', ann_file='a.json'), 'other'),
        (dict(type='VOCDataset', ann_file='a.txt'), 'other'),
        (dict(type='UnlabeledFolder', data_root='x'), 'folder'),
        # Not on a disk.
        (dict(type='CocoDataset', ann_file='s3://bucket/a.json'), 'other'),
        (dict(type='CocoDataset', data_root='s3://bucket', ann_file='a.json'), 'other'),
        (dict(type='CocoDataset', ann_file='a', backend_args=dict(backend='petrel')), 'other'),
        # Made on first use.
        (dict(type='DigitsDataset', data_root='no/such', ann_file='a.json'), 'other'),
        (dict(type='NoDataset'), 'other'),
    ],
)
def test_what_can_be_checked(cfg, kind):
    assert DataSet('here', 'labeled', cfg).kind == kind


def test_classes(tmp_path):
    def classes(**cfg):
        return DataSet('here', 'labeled', dict(type='CocoDataset', **cfg)).classes

    assert len(classes()) == 80
    assert classes(metainfo=dict(classes=('a', 'b'))) == ['a', 'b']
    # mmengine reads a file of that name.
    path = tmp_path / 'classes.txt'
    path.write_text('a\nb b\n')
    assert classes(metainfo=dict(classes=str(path))) == ['a', 'b b']
    assert classes(metainfo=dict(classes='cat')) == 'cat'


@pytest.mark.parametrize(
    ('size', 'count', 'expected'),
    [
        (0, 5, []),
        (1, 5, [0]),
        (3, 5, [0, 1, 2]),  # no image twice
        (9, 3, [0, 4, 8]),  # from the first to the last
        (9, 1, [0]),
    ],
)
def test_spread(size, count, expected):
    assert spread(size, count) == expected
