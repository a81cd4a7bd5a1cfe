"""Parts of a config that go together."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from ssod.config_parts import (
    absolute_crop,
    read_config,
    scale_sizes,
    transforms_in,
    use_own_folder,
)
from ssod.runs import build_runner, load_config


def config(*steps):
    """Training images go through these steps."""
    loader = dict(dataset=dict(pipeline=list(steps)))
    return Config(dict(train_dataloader=loader, val_dataloader={}, test_dataloader={}))


@pytest.mark.parametrize(
    ('name', 'text', 'reason'),
    [
        ('a.json', '{"a": 1,', 'JSONDecodeError: Expecting .* line 1 column 9 .*; correct it'),
        ('a.yaml', 'a: [1\nb: {', 'ParserError: while parsing a flow .*; correct it'),
        ('a.py', 'a = nothing', "NameError: name 'nothing' is not defined; correct it"),
        ('a.py', '_base_ = "./b.py"', 'ZeroDivisionError: division by zero; correct it'),
        (
            'a.py',
            '_base_ = []\nimport nopkg',
            "No module named 'nopkg'; install it, or add its fol",
        ),
        # Both are imported when what they are for is built.
        ('a.py', 'import nopkg', "No module named 'nopkg'; install it, or .* to PYTHONPATH"),
        ('a.py', 'from nopkg import X\nm = dict(type=X)', "No module named 'nopkg'; install it"),
        ('a.py', "custom_imports = dict(imports=['nopkg.b'])", "No module named 'nopkg'; install"),
    ],
)
def test_what_no_config_can_be_made_of(tmp_path, name, text, reason):
    (tmp_path / 'b.py').write_text('a = 1 / 0')
    (tmp_path / name).write_text(text)
    told = rf'^config {tmp_path}/{name}, or one that it is based on: {reason}'
    with pytest.raises(ValueError, match=told) as error:
        read_config(tmp_path / name, 'see others')
    assert '\n' not in str(error.value)


def test_a_base_that_is_not_there(tmp_path):
    (tmp_path / 'a.py').write_text("_base_ = 'mmdet::no/where.py'")
    with pytest.raises(FileNotFoundError, match=r'^config .*a\.py: file .*where\.py.* its _base_'):
        read_config(tmp_path / 'a.py', 'see others')


@pytest.mark.parametrize(
    ('step', 'name', 'expected'),
    [
        (dict(type='Resize', scale=(200, 100)), 'scale', (100, 25)),
        (dict(type='Resize', scale=200), 'scale', (100, 50)),
        (dict(type='RandomResize', scale=[(200, 100), (40, 80)]), 'scale', [(100, 25), (20, 20)]),
        (dict(type='RandomChoiceResize', scales=[(200, 100)]), 'scales', [(100, 25)]),
        # Two sizes of one number each, and no size of two.
        (dict(type='RandomChoiceResize', scales=[200, 100]), 'scales', [(100, 50), (50, 25)]),
        # Height comes first.
        (dict(type='RandomCrop', crop_size=(200, 100)), 'crop_size', (50, 50)),
        # Shares of a size that is made smaller anyway; another transform's own.
        (
            dict(type='RandomCrop', crop_size=(0.5, 1.0), crop_type='relative'),
            'crop_size',
            (0.5, 1.0),
        ),
        (dict(type='CachedMosaic', img_scale=(200, 100)), 'img_scale', (200, 100)),
    ],
)
def test_sizes_are_scaled(step, name, expected):
    cfg = config(step)
    scale_sizes(cfg, (0.5, 0.25))
    assert cfg.train_dataloader.dataset.pipeline[0][name] == expected


def test_mosaics_are_scaled_with_the_images():
    cfg = Config.fromfile('configs/mixpl_fasterrcnn_coco10pct.py')
    scale_sizes(cfg, (0.25, 0.25))
    assert tuple(cfg.default_hooks.mixpl.mosaic_sides) == (100, 200)
    # A number is for heights and widths.
    scale_sizes(cfg, (0.25, 1.0))
    assert tuple(cfg.default_hooks.mixpl.mosaic_sides) == (50, 100)


# The verifier's image stays as large as it is, and is never smaller than the teacher's, unless that
# was wanted.
@pytest.mark.parametrize(
    ('scale', 'factor', 'expected'),
    [(1.25, 0.5, 2.5), (1.25, 1.0, 1.25), (1.25, 4.0, 1.0), (0.5, 2.0, 0.5), (0.5, 0.25, 2.0)],
)
def test_the_verifier_sees_images_of_one_size(scale, factor, expected):
    cfg = config()
    cfg.model = dict(verifier=dict(scale=scale))
    scale_sizes(cfg, (factor, factor))
    assert cfg.model.verifier.scale == expected
    cfg.model = dict(verifier=None)
    scale_sizes(cfg, (factor, factor))
    assert cfg.model.verifier is None


def test_what_is_no_crop_has_no_size():
    assert absolute_crop(config(dict(type='Resize', scale=(2, 1)))) is None


def test_lists_of_transforms_are_found_inside_of_others():
    resize, crop = dict(type='Resize', scale=(4, 4)), dict(type='RandomCrop', crop_size=(2, 2))
    cfg = config(resize, dict(type='TwoViews', weak=[], strong=[resize, crop]))
    found = list(transforms_in(cfg.train_dataloader))
    # The numbers of a scale are no transforms.
    assert [[step['type'] for step in steps] for steps in found] == [
        ['Resize', 'TwoViews'],
        ['Resize', 'RandomCrop'],
    ]


@pytest.mark.parametrize('mark', ['20250101_000000/vis_data', 'iter_9.pth'])
def test_a_run_that_was_moved_has_its_files_beside_it(tmp_path, mark):
    own = dict(ann_file='work_dirs/a/val.json', data_prefix=dict(img='pictures/'))
    settings = dict(work_dir='work_dirs/a', load_from='work_dirs/ab/x.pth', data=[own, (1, None)])
    settings['launcher'] = 'none'
    cfg = Config(settings)
    # Not the folder of a run: somebody's own config.
    use_own_folder(cfg, tmp_path / 'a.py')
    assert cfg.to_dict() == settings
    (tmp_path / mark).mkdir(parents=True)
    use_own_folder(cfg, tmp_path / 'a.py')
    assert cfg.work_dir == str(tmp_path)
    assert cfg.load_from == 'work_dirs/ab/x.pth'
    moved = dict(own, ann_file=f'{tmp_path}/val.json')
    assert cfg.data == [moved, (1, None)]
    # So do the settings that the log keeps.
    beside_log = Config(dict(work_dir='work_dirs/a', data=[own], launcher='none'))
    use_own_folder(beside_log, tmp_path / 'begun' / 'vis_data' / 'config.py')
    assert beside_log.data == [moved]


def test_a_users_own_config_beside_a_checkpoint_is_no_runs(tmp_path):
    # Weights to start from, and even a run that logged there.
    (tmp_path / 'faster_rcnn.pth').touch()
    (tmp_path / '20250101_000000/vis_data').mkdir(parents=True)
    base = Path('configs/mt_fasterrcnn_digits10pct.py').resolve()
    own = tmp_path / 'mine.py'
    own.write_text(f"_base_ = '{base}'\nwork_dir = 'work_dirs/exp1'\n")
    cfg = load_config(own)
    assert cfg.work_dir == 'work_dirs/exp1'
    # What a run with it writes down is a run's.
    cfg.dump(tmp_path / 'dumped.py')
    assert load_config(tmp_path / 'dumped.py').work_dir == str(tmp_path)


@pytest.mark.parametrize('begin', [Runner.from_cfg, build_runner])
def test_a_run_writes_down_what_it_is_known_by(digits_cfg, tmp_path, begin):
    digits_cfg.dump(tmp_path / 'mine.py')
    cfg = load_config(tmp_path / 'mine.py')
    cfg.train_cfg.max_iters = 1
    begin(cfg).train()
    place = Path(cfg.work_dir)
    (logged,) = place.glob('*/vis_data/config.py')
    for file in (place / 'mine.py', logged):
        assert Config.fromfile(file).launcher == 'none'


def test_a_run_that_was_not_moved_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'work_dirs/a/1/vis_data').mkdir(parents=True)
    cfg = Config(dict(work_dir='work_dirs/a', file='work_dirs/a/val.json', launcher='none'))
    for place in (Path('work_dirs/a'), tmp_path / 'work_dirs/a'):
        use_own_folder(cfg, place / 'a.py')
        assert (cfg.work_dir, cfg.file) == ('work_dirs/a', 'work_dirs/a/val.json')


def test_what_was_not_taken_along_is_named_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ('work_dirs/a', 'copy'):
        Path(place).mkdir(parents=True)
        Path(place, 'iter_9.pth').touch()
    Path('work_dirs/a/val.json').touch()
    names = ('', '/val.json', '/iter_9.pth', '/new.json')
    settings = dict(work_dir='work_dirs/a', files=[f'work_dirs/a{name}' for name in names])
    settings['launcher'] = 'none'
    cfg = Config(settings)
    use_own_folder(cfg, Path('copy/a.py'))
    assert cfg.work_dir == 'copy'
    assert cfg.files == ['copy', 'work_dirs/a/val.json', 'copy/iter_9.pth', 'copy/new.json']
    Path('copy/val.json').touch()
    cfg = Config(settings)
    use_own_folder(cfg, Path('copy/a.py'))
    assert cfg.files[1] == 'copy/val.json'
