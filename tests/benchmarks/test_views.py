"""The same views for ours and for mmdet's own methods."""

import pytest
from mmengine.config import Config

from ssod.benchmarks.views import check_configs, find_views, use_views
from ssod.data.views import LabeledView, TwoViews

OURS = 'configs/mt_fasterrcnn_digits10pct.py'
MMDETS = 'studies/mmdet/semibase_fasterrcnn_digits.py'
SMALL = 'studies/mmdet/semibase_fasterrcnn_small.py'


def test_they_become_theirs(root):
    ours, theirs = Config.fromfile(root / OURS), Config.fromfile(root / MMDETS)
    use_views(ours, theirs)
    labeled, unlabeled = (d.pipeline for d in ours.train_dataloader.dataset.datasets)
    resize = dict(type='RandomResize', scale=(96, 96), ratio_range=(0.8, 1.25), keep_ratio=True)
    assert [t.type for t in unlabeled] == ['LoadImage', 'TwoViews']
    assert unlabeled[1].weak == [resize]
    assert [t.type for t in unlabeled[1].strong] == [
        'RandomResize',
        'RandomOrder',
        'RandomErasing',
        'FilterAnnotations',
    ]
    assert [t.type for t in labeled[2].transforms] == [
        'RandomResize',
        'RandAugment',
        'FilterAnnotations',
    ]
    # They can be built, and their geometry be followed.
    settings = {key: unlabeled[1][key] for key in ('weak', 'strong', 'common')}
    TwoViews(**settings)
    LabeledView(labeled[2].transforms)


def test_theirs_stay(root):
    theirs = Config.fromfile(root / MMDETS)
    use_views(theirs, Config.fromfile(root / SMALL))
    assert theirs.pretty_text == Config.fromfile(root / MMDETS).pretty_text


def test_which(root):
    paths = [root / OURS, root / SMALL, root / MMDETS]
    assert find_views(paths) == paths[1]
    assert find_views(paths[:1]) is None
    assert find_views([]) is None


SUPERVISED = 'configs/supervised_fasterrcnn_digits10pct.py'


@pytest.mark.parametrize('path', [MMDETS, SUPERVISED])
def test_there_is_no_floor_of_others(root, path):
    check_configs([root / OURS, root / MMDETS])
    with pytest.raises(ValueError, match='has no teacher and student of this package'):
        check_configs([root / path, root / OURS])


def test_nor_a_step_of_labels_alone(root):
    with pytest.raises(ValueError, match=r'/supervised_\w+\.py has no unlabelled images'):
        check_configs([root / OURS, root / SUPERVISED])
