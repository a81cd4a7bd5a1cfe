"""The built-in scenes of handwritten digits."""

import dataclasses
import hashlib
import itertools
import json
from unittest import mock

import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image

from ssod.data import digits
from ssod.data.digits import DigitsDataset, make_digits
from ssod.data.scenes import MAX_COVER, DigitsScenes, compose, load_glyphs

# All that may be tuned is written out, so that tuning the defaults changes no test.
SETTINGS = dict(
    image_size=96,
    digits_per_image=(1, 4),
    digit_height=(16, 40),
    train_images=20,
    val_images=6,
    labeled_fraction=0.2,
    background=0.35,
    contrast=(0.3, 0.7),
    noise=0.02,
)
SMALL = DigitsScenes(**SETTINGS)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_digits(tmp_path_factory.mktemp('data') / 'digits', SMALL)


def read(root, name):
    return json.loads((root / 'annotations' / f'{name}.json').read_text())


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_layout(small):
    assert sorted(p.name for p in small.iterdir()) == ['annotations', 'digits.json', 'images']
    assert len(list((small / 'images/train').glob('*.png'))) == 20
    assert len(list((small / 'images/val').glob('*.png'))) == 6
    assert len({p.read_bytes() for p in small.rglob('*.png')}) == 26  # no scene comes twice
    assert not list(small.parent.glob('.*'))
    with Image.open(small / 'images/train/000000.png') as image:
        assert (image.size, image.mode) == ((96, 96), 'RGB')


def test_split(small):
    labeled, unlabeled, truth = (
        read(small, n) for n in ('labeled', 'unlabeled', 'unlabeled_truth')
    )
    ids = [{i['id'] for i in part['images']} for part in (labeled, unlabeled)]
    assert (len(ids[0]), len(ids[1])) == (4, 16)
    assert not ids[0] & ids[1]
    assert unlabeled['annotations'] == []
    assert truth['images'] == unlabeled['images']
    # Every scene shows at least one digit, and nobody's annotation went to the wrong file.
    assert {a['image_id'] for a in labeled['annotations']} == ids[0]
    assert {a['image_id'] for a in truth['annotations']} == ids[1]
    assert [c['name'] for c in unlabeled['categories']] == [str(d) for d in range(10)]
    # For those who split by themselves.
    whole = read(small, 'train')
    assert {i['id'] for i in whole['images']} == ids[0] | ids[1]
    both = labeled['annotations'] + truth['annotations']
    assert whole['annotations'] == sorted(both, key=lambda a: a['id'])


def test_same_settings_give_the_same_bytes(small, tmp_path):
    assert files(make_digits(tmp_path / 'again', SMALL)) == files(small)
    other = make_digits(tmp_path / 'other', dataclasses.replace(SMALL, seed=1))
    image = 'images/train/000000.png'
    assert (other / image).read_bytes() != (small / image).read_bytes()


def test_pixels_are_the_same_on_every_machine():
    glyphs, _ = load_glyphs()
    pixels, objects = compose(np.random.default_rng([0, 0, 0]), glyphs, SMALL)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == 'fdfaa106fcbc7ddd'
    assert objects == [(1208, (56, 39, 74, 70)), (1599, (19, 3, 29, 25))]


def test_validation_shows_other_digits_than_training(tmp_path):
    with mock.patch('ssod.data.digits.compose', wraps=compose) as composed:
        make_digits(tmp_path / 'digits', SMALL)
    pools = [call.args[1] for call in composed.call_args_list]
    train = {id(glyph) for pool in pools[:20] for glyph in pool}
    val = {id(glyph) for pool in pools[20:] for glyph in pool}
    assert (len(train), len(val)) == (1438, 359)
    assert not train & val


def test_more_scenes_leave_the_first_ones_as_they_are(small, tmp_path):
    more = make_digits(tmp_path / 'more', dataclasses.replace(SMALL, train_images=25))
    image = 'images/train/000019.png'
    assert (more / image).read_bytes() == (small / image).read_bytes()


def test_boxes_are_tight_around_the_ink():
    scenes = dataclasses.replace(
        SMALL, digits_per_image=(1, 1), background=0, contrast=(1, 1), noise=0
    )
    glyphs, _ = load_glyphs()
    for seed in range(30):
        pixels, [(_, box)] = compose(np.random.default_rng(seed), glyphs, scenes)
        rows, columns = np.nonzero(pixels.max(axis=2) >= 61)
        ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(box, ink)).max() <= 1
        assert 14 <= box[3] - box[1] <= 42


def test_digits_do_not_hide_each_other():
    scenes = dataclasses.replace(SMALL, digits_per_image=(6, 6))
    glyphs, _ = load_glyphs()
    for seed in range(20):
        _, objects = compose(np.random.default_rng(seed), glyphs, scenes)
        for _, box in objects:
            assert min(box) >= 0
            assert max(box) <= 96
        for (_, one), (_, other) in itertools.combinations(objects, 2):
            width = min(one[2], other[2]) - max(one[0], other[0])
            height = min(one[3], other[3]) - max(one[1], other[1])
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
            assert max(width, 0) * max(height, 0) <= MAX_COVER * min(areas)


def test_made_once(small):
    with mock.patch('ssod.data.digits._write_all') as write:
        assert make_digits(small, SMALL) == small
    write.assert_not_called()


def test_other_settings_are_not_overwritten(small):
    before = files(small)
    with pytest.raises(
        ValueError, match=r'with noise=0\.02, but the config asks for noise=0\.1; remove'
    ):
        make_digits(small, dataclasses.replace(SMALL, noise=0.1))
    assert files(small) == before


def test_foreign_files_are_not_overwritten(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    with pytest.raises(ValueError, match='holds no digits scenes'):
        make_digits(tmp_path, SMALL)
    assert files(tmp_path) == {'mine.txt': b'precious'}


def test_an_empty_directory_is_filled(small, tmp_path):
    assert files(make_digits(tmp_path, SMALL)) == files(small)


def test_an_interruption_leaves_nothing(small, tmp_path):
    root = tmp_path / 'deep' / 'digits'
    interrupted = mock.patch('ssod.data.digits._write_annotations', side_effect=KeyboardInterrupt)
    with interrupted, pytest.raises(KeyboardInterrupt):
        make_digits(root, SMALL)
    assert list(root.parent.iterdir()) == []
    # What a killed process leaves behind is not taken for the data set.
    (root.parent / '.digits-killed' / 'digits').mkdir(parents=True)
    assert files(make_digits(root, SMALL)) == files(small)


def make_meanwhile(root, scenes):
    """Let another process be done while the first is still writing."""
    real = digits._write_all

    def write(place, wanted):
        real(place, wanted)
        if not root.exists():
            with mock.patch('ssod.data.digits._write_all', real):
                make_digits(root, scenes)

    return mock.patch('ssod.data.digits._write_all', write)


def test_two_processes_at_once(small, tmp_path):
    root = tmp_path / 'digits'
    with make_meanwhile(root, SMALL):
        assert make_digits(root, SMALL) == root
    assert files(root) == files(small)
    assert [p.name for p in tmp_path.iterdir()] == ['digits']


def test_two_processes_that_want_different_scenes(tmp_path):
    root = tmp_path / 'digits'
    with make_meanwhile(root, SMALL), pytest.raises(ValueError, match='made with seed=0, but'):
        make_digits(root, dataclasses.replace(SMALL, seed=1))


@pytest.mark.parametrize(
    'settings',
    [
        dict(digits_per_image=(0, 4)),  # no scene without a digit
        dict(digits_per_image=(3, 2)),
        dict(digit_height=(16, 60)),  # more than half the image
        dict(digit_height=(4, 10)),  # illegible
        dict(train_images=1),
        dict(val_images=0),
        dict(labeled_fraction=0.0),
        dict(labeled_fraction=0.9999),  # none left without labels
        dict(background=1.5),
        dict(contrast=(0.0, 0.5)),
        dict(contrast=(0.5, 0.4)),
        dict(noise=-0.1),
        dict(seed=-1),
    ],
)
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=f'DigitsScenes: {next(iter(settings))}='):
        DigitsScenes(**settings)


def dataset(root, **kwargs):
    kwargs = dict(
        type='DigitsDataset',
        data_root=str(root),
        scenes=SETTINGS,
        ann_file='annotations/labeled.json',
        data_prefix=dict(img='images/train/'),
        pipeline=[dict(type='LoadImageFromFile')],
        **kwargs,
    )
    return DATASETS.build(kwargs)


def test_dataset_makes_what_it_reads(small, tmp_path):
    built = dataset(tmp_path / 'digits')
    assert isinstance(built, DigitsDataset)
    assert files(tmp_path / 'digits') == files(small)
    assert len(built) == 4
    assert built.metainfo['classes'] == tuple('0123456789')
    assert len(built.metainfo['palette']) == 10
    annotations = read(small, 'labeled')['annotations']
    for i in range(4):
        info = built[i]
        assert info['img'].shape == (96, 96, 3)
        mine = [a for a in annotations if a['image_id'] == info['img_id']]
        # Class i is the digit i.
        assert [b['bbox_label'] for b in info['instances']] == [a['category_id'] - 1 for a in mine]
        for got, a in zip(info['instances'], mine, strict=True):
            x, y, w, h = a['bbox']
            assert got['bbox'] == [x, y, x + w, y + h]


def test_dataset_refuses_unknown_settings(tmp_path):
    with pytest.raises(ValueError, match=r"DigitsDataset.*did you mean 'filter_cfg'"):
        dataset(tmp_path / 'digits', filter_cgf={})
    with pytest.raises(ValueError, match=r"DigitsScenes.*did you mean 'noise'"):
        DigitsDataset(data_root=str(tmp_path / 'digits'), scenes=dict(noize=0.1))
    assert not (tmp_path / 'digits').exists()


def test_default_root_is_the_projects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prefix = dict(img='images/val/')
    DigitsDataset(scenes=SETTINGS, ann_file='annotations/val.json', data_prefix=prefix, pipeline=[])
    assert (tmp_path / 'data/digits/annotations/val.json').is_file()
