"""Quicker transforms: from the same random numbers the same views as mmdet's."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, Compose
from mmdet.datasets import transforms as mmdets
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config

from ssod.data.exact_geometry import EXACT
from ssod.data.quick_transforms import COLOURS, QUICK, quicken
from ssod.data.views import META_KEYS, LabeledView, TwoViews
from ssod.seeds import seed_all

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
PACK = dict(type='PackDetInputs', meta_keys=META_KEYS)
RUNS = 12


def image(height=60, width=90):
    return np.random.default_rng(1).integers(20, 200, (height, width, 3), dtype=np.uint8)


def loaded(boxes=2):
    corners = np.array([[5, 5, 40, 30], [20, 10, 80, 55]], np.float32)[:boxes]
    return {
        'img': image(),
        'img_id': 7,
        'img_path': 'a.jpg',
        'img_shape': (60, 90),
        'ori_shape': (60, 90),
        'gt_bboxes': HorizontalBoxes(corners),
        'gt_bboxes_labels': np.arange(boxes),
        'gt_ignore_flags': np.zeros(boxes, bool),
    }


def built(cfgs):
    return [TRANSFORMS.build(dict(cfg)) for cfg in cfgs]


def smaller(transforms):
    """The same transforms at a size of milliseconds, and never without a patch."""
    for transform in transforms:
        if transform['type'] == 'RandomResize' and 'ratio_range' not in transform:
            transform['scale'] = [(133, 40), (133, 120)]
        if transform['type'] == 'RandomChoiceResize':
            transform['scales'] = [(133, 64), (133, 80)]
        if transform['type'] == 'RandomErasing':
            transform['n_patches'] = (1, 3)
        smaller(t for t in transform.get('transforms', []) if isinstance(t, dict))
    return transforms


def exact(part):
    """The same, with rotations and shears whose matrices are not half a pixel off."""
    if isinstance(part, dict):
        own = {key: exact(value) for key, value in part.items()}
        kinds = {kind.__name__: replacement for kind, replacement in EXACT.items()}
        return {**own, 'type': kinds.get(own['type'], own['type'])} if 'type' in own else own
    return [exact(value) for value in part] if isinstance(part, list) else part


ATOMS = sorted(path.stem for path in CONFIGS.glob('semi_*.py'))


@pytest.mark.parametrize('atom', ATOMS)
def test_two_views_are_mmdets(atom):
    """Every strong and weak view of ours is what mmdet's own pipeline makes of the same draws.

    Only rotations and shears have other matrices; see test_exact_geometry.py for these.
    """
    cfg = Config.fromfile(CONFIGS / f'{atom}.py')
    views = next(
        transform
        for dataset in cfg.train_dataloader.dataset.datasets
        for transform in dataset.pipeline
        if transform.type == 'TwoViews'
    )
    parts = {name: smaller(copy.deepcopy(views.get(name, []))) for name in ('weak', 'strong')}
    common = smaller(copy.deepcopy(views.get('common', [])))
    ours = TwoViews(**parts, common=common)
    theirs = {name: Compose(built([*exact(part), PACK])) for name, part in parts.items()}
    shared = Compose(built(exact(common)))
    for run in range(RUNS):
        seed_all(run)
        found = ours(loaded())
        seed_all(run)
        once = shared(loaded(boxes=0))
        for name, chain in theirs.items():
            expected = chain(copy.deepcopy(once))
            assert torch.equal(found['inputs'][name], expected['inputs']), (name, run)
            sample = found['data_samples'][name]
            for key, value in expected['data_samples'].metainfo_items():
                assert np.array_equal(sample.get(key), value), key
            assert len(sample.gt_instances) == 0


@pytest.mark.parametrize('atom', ATOMS)
def test_labelled_views_are_mmdets(atom):
    cfg = Config.fromfile(CONFIGS / f'{atom}.py')
    for dataset in cfg.train_dataloader.dataset.datasets[:-1]:
        transforms = smaller(dataset.pipeline[-1].transforms)
        ours, theirs = LabeledView(transforms), Compose(built([*transforms, PACK]))
        for run in range(RUNS):
            seed_all(run)
            found = ours(loaded())
            seed_all(run)
            expected = theirs(loaded())
            assert torch.equal(found['inputs']['labeled'], expected['inputs']), run
            mine, truth = (
                part.gt_instances
                for part in (found['data_samples']['labeled'], expected['data_samples'])
            )
            assert torch.equal(mine.bboxes.tensor, truth.bboxes.tensor)
            assert torch.equal(mine.labels, truth.labels)


# mmcv has some for whole numbers only.
WHOLE = {mmdets.Posterize, mmdets.Equalize, mmdets.AutoContrast}
CASES = [(cls, np.uint8) for cls in (*COLOURS, *QUICK)]
CASES += [(cls, np.float32) for cls in (*COLOURS, *QUICK) if cls not in WHOLE]


@pytest.mark.parametrize(('cls', 'dtype'), CASES)
def test_each(cls, dtype):
    settings = {
        mmdets.RandomFlip: dict(prob=0.7, direction=['horizontal', 'vertical', 'diagonal']),
        mmdets.RandomErasing: dict(n_patches=(1, 3), ratio=(0.1, 0.6)),
    }
    settings = settings.get(cls, dict(prob=0.8))
    quick = [cls(**settings)]
    quicken(quick)
    assert type(quick[0]) is not cls
    seen = set()
    for run in range(RUNS):
        seed_all(run)
        found = quick[0]({**loaded(), 'img': image().astype(dtype)})
        seed_all(run)
        expected = cls(**settings)({**loaded(), 'img': image().astype(dtype)})
        assert found['img'].dtype == expected['img'].dtype
        assert np.array_equal(found['img'], expected['img'])
        assert found['img'].flags.c_contiguous
        # Where mmdet's boxes are half a pixel off, see test_exact_geometry.py.
        boxes = (result['gt_bboxes'].tensor for result in (found, expected))
        torch.testing.assert_close(*boxes, rtol=0, atol=0.5 if cls in EXACT else 0)
        seen.add(found['img'].tobytes())
    assert len(seen) > 1


def test_no_patch_is_drawn():
    # Trap: mmdet's fails then.
    erasing = [mmdets.RandomErasing(n_patches=(0, 1), ratio=(0.1, 0.2))]
    quicken(erasing)
    for run in range(RUNS):
        seed_all(run)
        assert len(erasing[0](loaded())['gt_bboxes']) <= 2


def test_inside_of_others():
    flip, color = dict(type='RandomFlip', prob=1.0), dict(type='Color')
    transforms = built(
        [
            dict(type='RandomApply', transforms=[flip], prob=1.0),
            dict(type='RandomChoice', transforms=[[flip, color]]),
            dict(type='RandomOrder', transforms=[dict(type='RandAugment', aug_space=[[color]])]),
        ]
    )
    quicken(transforms)
    apply, choice, order = transforms
    names = [type(t).__name__ for t in (*apply.transforms, *choice.transforms[0])]
    names += [type(t).__name__ for t in order.transforms[0].transforms[0]]
    assert names == ['QuickFlip', 'QuickFlip', 'QuickColour', 'QuickColour']


def test_what_others_derive_is_left_alone():
    class Mine(mmdets.Color):
        def _transform_img(self, results, mag):
            results['img'] = np.zeros_like(results['img'])

    transforms = [Mine()]
    quicken(transforms)
    assert type(transforms[0]) is Mine
    assert transforms[0](loaded())['img'].max() == 0


def test_into_a_worker_and_copied():
    views = TwoViews(weak=[dict(type='RandomFlip', prob=0.5)], strong=[dict(type='Rotate')])
    expected = None
    for same in (views, copy.deepcopy(views), pickle.loads(pickle.dumps(views))):
        seed_all(3)
        found = same(loaded())['inputs']['strong']
        expected = found if expected is None else expected
        assert torch.equal(found, expected)


class Random(BaseTransform):
    """Has no method of random numbers that mmcv knows of."""

    def transform(self, results):
        """Nothing."""
        return results


def test_a_users_own():
    own = Random()
    transforms = [own]
    quicken(transforms)
    assert transforms == [own]
    assert vars(own) == {}
