"""Recipes against supervised training alone, from the command line."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The house's config with few scenes and three iterations.
SMALL = """
_base_ = '{root}/configs/{name}'
scenes = dict(train_images=20, val_images=2)
labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.scenes = unlabeled.scenes = scenes
datasets = [labeled, unlabeled][: len(_base_.train_dataloader.dataset.datasets)]
train_dataloader = dict(
    batch_size=2 * len(datasets),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(source_ratio=[1] * len(datasets)),
    dataset=dict(datasets=datasets),
)
val_dataloader = dict(batch_size=1, dataset=dict(scenes=scenes))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=3, val_interval=3)
model = dict(detector=dict(test_cfg=dict(rcnn=dict(score_thr=0.01))))
default_hooks = dict(checkpoint=dict(interval=3), logger=dict(interval=1))
"""
SEED_5 = ['--seeds', '5', '--recipes', 'stac_fasterrcnn', 'mt_fasterrcnn']
BURN_IN = {'mt': 1, 'supervised': 3, 'stac': 0}


@pytest.fixture(scope='module')
def recipes(bench):
    """The directory of two recipes and their baseline."""
    (bench.place / 'tools').symlink_to(ROOT / 'tools')
    (bench.place / 'configs').mkdir()
    for recipe, burn_in in BURN_IN.items():
        name = f'{recipe}_fasterrcnn_digits10pct.py'
        text = SMALL.format(root=ROOT, name=name)
        text += f"default_hooks['teacher'] = dict(burn_in={burn_in})\n"
        (bench.place / 'configs' / name).write_text(text)
    return bench


@pytest.fixture(scope='module')
def compared(recipes):
    """The same after they were compared, and what was printed."""
    command = ['tools/compare.py', *SEED_5, '--work-dir', 'out']
    return recipes, recipes.python(*command, log='first.txt')


def test_an_unknown_recipe_is_refused(recipes, call, monkeypatch, capfd):
    monkeypatch.chdir(recipes.place)
    with pytest.raises(SystemExit, match='2'):
        call('compare', '--recipes', 'mt_yolo')
    printed = capfd.readouterr().err
    assert "invalid choice: 'mt_yolo'" in printed
    assert 'supervised' not in printed.split('choose from')[1]


def test_a_seed_that_is_there_twice_is_refused(call, capfd):
    with pytest.raises(SystemExit, match='2'):
        call('compare', '--seeds', '0', '1', '0')
    assert '--seeds 0 1 0 repeats a seed; remove one' in capfd.readouterr().err


def test_options_that_trained_nothing_may_be_corrected(recipes):
    command = ['tools/compare.py', '--seeds', 6, '--work-dir', 'short']
    wrong = [*command, '--cfg-options', 'train_cfg.max_iter=1']
    assert 'train_cfg' in recipes.python(*wrong, log='typo.txt', code=1)
    printed = recipes.python(*command, '--cfg-options', 'train_cfg.max_iters=1', log='short.txt')
    assert json.loads((recipes.place / 'short/options.json').read_text()) == [
        'train_cfg.max_iters=1'
    ]
    # In one iteration no teacher begins, and there is nothing to compare.
    assert printed.splitlines()[-1].startswith('| mean | - | ')
    assert printed.splitlines()[-1].endswith(' | - | - |')


def test_each_recipe_has_its_baseline(compared):
    bench, printed = compared
    place = bench.place / 'out'
    runs = {path.parent.name: json.loads(path.read_text()) for path in place.glob('*/summary.json')}
    assert runs.keys() == {f'{recipe}_fasterrcnn_5' for recipe in BURN_IN}
    assert all((run['seed'], run['iterations']) == (5, 3) for run in runs.values())
    rows = json.loads((place / 'compare.json').read_text())
    assert [row['recipe'] for row in rows] == ['stac_fasterrcnn', 'mt_fasterrcnn']
    supervised = runs['supervised_fasterrcnn_5']['student_mAP']
    for row in rows:
        own = runs[f'{row["recipe"]}_5']
        assert (row['supervised'], row['teacher']) == (supervised, own['teacher_mAP'])
        assert row['gain'] == round(own['teacher_mAP'] - supervised, 1)
    # The labels of the offline teacher are the baseline's.
    labels = json.loads((place / 'stac_fasterrcnn_5/pseudo_labels.json').read_text())
    assert labels['info']['source'].endswith('supervised_fasterrcnn_5/iter_3.pth')
    table = (place / 'compare.md').read_text()
    assert table in printed
    assert len(table.splitlines()) == 4


def test_what_is_done_is_not_done_again(compared, call, monkeypatch, capfd):
    bench, _ = compared
    monkeypatch.chdir(bench.place)
    rows = json.loads(Path('out/compare.json').read_text())
    # Another call has done another seed.
    other = {**rows[0], 'seed': 4}
    Path('out/compare.json').write_text(json.dumps([other, *rows]))
    call('compare', *SEED_5, '--work-dir', 'out')
    again = capfd.readouterr().out
    assert 'Iter(train)' not in again
    assert json.loads(Path('out/compare.json').read_text()) == [other, *rows]
    assert Path('out/compare.md').read_text() in again


def test_runs_of_other_options_are_not_taken_over(compared, call, monkeypatch, capfd):
    bench, _ = compared
    monkeypatch.chdir(bench.place)
    # Nor where checkpoints were removed since, to save room.
    shutil.copytree('out', 'small', ignore=shutil.ignore_patterns('*.pth'))
    # Nor where whole runs were.
    shutil.copytree('out', 'table', ignore=shutil.ignore_patterns('*_[0-9]'))
    for place in ('out', 'small', 'table'):
        with pytest.raises(SystemExit, match='2'):
            call('compare', '--work-dir', place, '--cfg-options', 'train_cfg.max_iters=7')
        told = capfd.readouterr().err
        assert f'{place} has runs without --cfg-options; give the same options, or another' in told
