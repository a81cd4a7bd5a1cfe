"""A study from the command line: ours and mmdet's own, trained, summed up, and held out."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

STUDY = f"""
data = dict(cells=dict(percents=[50]))
methods = dict(
    supervised='{ROOT}/configs/supervised_fasterrcnn_small.py',
    mean_teacher=dict(
        config='{ROOT}/configs/mt_fasterrcnn_small.py',
        settings={{'default_hooks.teacher.burn_in': 1}},
    ),
    mmdet='{ROOT}/studies/mmdet/softteacher_fasterrcnn_small.py',
)
seeds = [1]
settings = {{
    'train_cfg.max_iters': 2,
    'param_scheduler': [],
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
    'model.detector.test_cfg.rcnn.score_thr': 0.0,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
}}
"""

OPTIONS = ['cells.py', '--data-root', 'sets']
OPTIONS += ['--cfg-options', 'model.detector.backbone.weights=None']


def write_part(root, part, count):
    names = [f'{part}{i}.png' for i in range(count)]
    for name in names:
        cv2.imwrite(str(root / 'images' / name), np.full((60, 80, 3), 90, np.uint8))
    box = {'category_id': 7, 'bbox': [8, 8, 40, 40], 'area': 1600, 'iscrowd': 0}
    content = {
        'images': [
            {'id': i, 'file_name': n, 'width': 80, 'height': 60} for i, n in enumerate(names)
        ],
        'annotations': [{**box, 'id': i, 'image_id': i} for i in range(count)],
        'categories': [{'id': 7, 'name': 'cell'}],
    }
    (root / f'annotations/instances_{part}.json').write_text(json.dumps(content))


@pytest.fixture(scope='module')
def cells(bench):
    """A directory with the data of a study."""
    for folder in ('images', 'annotations'):
        (bench.place / 'sets/cells' / folder).mkdir(parents=True)
    write_part(bench.place / 'sets/cells', 'train', 12)
    write_part(bench.place / 'sets/cells', 'val', 3)
    return bench


@pytest.fixture(scope='module')
def studied(cells):
    """The same after the study, and what was printed."""
    (cells.place / 'cells.py').write_text(STUDY)
    return cells, study(cells, 'first.txt')


def study(bench, log, *options):
    return bench.python(ROOT / 'tools/study.py', *options, *OPTIONS, log=log)


def test_who_ends_a_study_ends_its_trainings(cells):
    text = STUDY.replace("'train_cfg.max_iters': 2", "'train_cfg.max_iters': 100_000")
    (cells.place / 'long.py').write_text(text)
    tool = [sys.executable, ROOT / 'tools/study.py', 'long.py', *OPTIONS[1:]]
    process = cells.start(*tool, log='long.txt')
    works = cells.place / 'work_dirs/long'
    until = time.monotonic() + 120
    while not list(works.rglob('train.log')):
        assert process.poll() is None, (cells.place / 'long.txt').read_text()
        assert time.monotonic() < until
        time.sleep(0.1)
    # No two calls write the same results.
    called = cells.start(*tool, '--jobs', '2', log='second.txt')
    assert called.wait(120) == 1
    assert (cells.place / 'second.txt').read_text() == (
        'error: work_dirs/long is in use by another process; wait until it ends, or end it\n'
    )
    training = ['pgrep', '-f', 'work_dirs/long/cells']
    assert subprocess.run(training, capture_output=True, check=False).returncode == 0
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert subprocess.run(training, capture_output=True, check=False).returncode == 1


def test_a_study(studied):
    bench, printed = studied
    rows = [json.loads(line) for line in (bench.place / 'cells.jsonl').read_text().splitlines()]
    assert [row['method'] for row in rows] == ['supervised', 'mean_teacher', 'mmdet']
    assert all((row['data'], row['percent'], row['seed']) == ('cells', 50, 1) for row in rows)
    (begun,) = {row['begun'] for row in rows}
    assert re.fullmatch('[0-9a-f]{8}', begun)
    assert '[3/3] cells/50pct/mmdet/1: student ' in printed
    table = (bench.place / 'cells.md').read_text()
    assert table in printed
    assert table.count('| cells | 50 % |') == 3
    assert (bench.place / 'cells.png').stat().st_size > 0
    # The splits are text, to be kept with the study.
    assert len((bench.place / 'splits/cells/fold1.txt').read_text().split()) == 6
    # mmdet's own classes did the work, ours did not.
    (log,) = (bench.place / 'work_dirs/cells/cells/50pct/mmdet').glob('1-*/train.log')
    log = log.read_text()
    assert 'MeanTeacherHook' in log
    assert 'EMATeacherHook' not in log


def test_what_is_done_is_not_done_again(studied, call, monkeypatch, capfd):
    bench, _ = studied
    monkeypatch.chdir(bench.place)
    lines = (bench.place / 'cells.jsonl').read_text()
    call('study', *OPTIONS)
    assert '3 runs, 0 left to do' in capfd.readouterr().out
    assert (bench.place / 'cells.jsonl').read_text() == lines
    call('study', '--table', *OPTIONS)
    assert (bench.place / 'cells.md').read_text() in capfd.readouterr().out


def test_the_images_kept_aside(studied):
    bench, _ = studied
    printed = study(bench, 'aside.txt', '--held-out')
    path = bench.place / 'cells.held_out.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row['method'] for row in rows] == ['supervised', 'mean_teacher', 'mmdet']
    assert (bench.place / 'cells.held_out.md').read_text() in printed
    # One image is kept aside, two are not.
    assert json.loads((bench.place / 'work_dirs/cells/cells/held_out.json').read_text())['images']
    scored = json.loads((bench.place / 'work_dirs/cells/cells/val.json').read_text())
    assert len(scored['images']) == 2
