"""Objects detected from the command line."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/predict.py'


@pytest.fixture
def files(tmp_path):
    """A config and a checkpoint of an untrained teacher and student."""
    cfg = Config.fromfile(ROOT / 'configs/mt_fasterrcnn_digits10pct.py')
    cfg.model.detector.test_cfg.rcnn.score_thr = 0.0
    cfg.dump(tmp_path / 'mine.py')
    torch.manual_seed(0)
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, tmp_path / 'iter_2.pth')
    return tmp_path / 'mine.py', tmp_path / 'iter_2.pth'


def call(monkeypatch, *options):
    monkeypatch.setattr(sys, 'argv', ['predict.py', *(str(option) for option in options)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_a_folder(files, digits, bench):
    options = ['--score-thr', '0.0', '--batch-size', '2', '--out', 'found', '--model', 'student']
    images = digits / 'images/val'
    told = bench.python(TOOL, *files, images, *options, log='1.txt').splitlines()
    file = bench.place / 'found/predictions.json'
    content = json.loads(file.read_text())
    assert len(content['images']) == 4
    assert content['info']['source'] == f'student of {files[1]}'
    boxes = len(content['annotations'])
    assert boxes > 0
    line = f'found/predictions.json: {boxes} boxes in 4 images, drawn in found/pictures'
    assert line in told
    names = [path.name for path in sorted(images.iterdir())]
    assert sorted(path.name for path in (file.parent / 'pictures').iterdir()) == names


def test_what_is_passed_over(files, digits, tmp_path, monkeypatch, capsys):
    (tmp_path / 'broken.png').write_bytes(b'')
    good = digits / 'images/val/000000.png'
    call(monkeypatch, *files, good, tmp_path / 'broken.png', '--out', tmp_path / 'out')
    printed = capsys.readouterr()
    assert 'broken.png is empty: 0 bytes' in printed.err
    assert printed.out.splitlines()[-1] == 'skipped: 1, see above'


def test_an_error_in_one_line(files, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as left:
        call(monkeypatch, *files, tmp_path / 'no.png')
    assert left.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        f'error: {tmp_path}/no.png does not exist; give images, folders of images, or videos'
    )
