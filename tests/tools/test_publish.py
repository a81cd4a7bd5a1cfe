"""A run's teacher published from the command line."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ssod import runs

TOOL = Path(__file__).parents[2] / 'tools/publish.py'


@pytest.fixture
def run(scored_cfg):
    """A run of one iteration: its config's file and its checkpoint."""
    cfg = scored_cfg
    cfg.train_cfg.update(max_iters=1, val_interval=2)
    path = Path(cfg.work_dir).with_name('mine.py')
    cfg.dump(path)
    runs.build_runner(runs.load_config(path)).train()
    return path, Path(cfg.work_dir) / 'iter_1.pth'


def test_a_run_is_published(run, bench, monkeypatch, capsys):
    config, checkpoint = run
    printed = bench.python(TOOL, config, checkpoint, log='1.txt').splitlines()
    published = checkpoint.parent / 'published'
    assert printed[-2:] == [str(published / 'mine.py'), str(published / 'mine.pth')]
    content = torch.load(published / 'mine.pth', weights_only=True)
    teacher = torch.load(checkpoint, weights_only=False)['state_dict']
    assert content['state_dict'].keys() == {
        key.removeprefix('teacher.') for key in teacher if key.startswith('teacher.')
    }
    # A real run's checkpoint tells classes and colours.
    assert content['meta']['dataset_meta']['classes'] == tuple('0123456789')
    assert content['meta']['dataset_meta']['palette'][0] == (230, 25, 75)
    assert Config.fromfile(published / 'mine.py').model.type == 'FasterRCNN'

    # It is scored like a run, to the same.
    scores = []
    for where, weights in ((config, checkpoint), (published / 'mine.py', published / 'mine.pth')):
        scored = [TOOL.with_name('test.py'), where, weights]
        told = bench.python(*scored, '--work-dir', f'of_{where.parent.name}', log='2.txt')
        scores.append(re.findall(r'bbox_mAP: ([\d.]+)', told)[-1])
    assert scores[0] == scores[1]
    assert float(scores[0]) > 0

    # What is there is not overwritten; the tool says so in one line.
    monkeypatch.setattr(sys, 'argv', ['publish', str(config), str(checkpoint), '--model=student'])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert left.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        f'error: {published}/mine.py exists with other content; remove it, or pass --overwrite'
    )


def test_what_mmdet_has_not_is_told(monkeypatch, capsys):
    needs = ('ssod.a.B', 'own.c.D')
    written = type('Published', (), dict(config='x.py', checkpoint='x.pth', needs=needs))
    monkeypatch.setattr('ssod.api.publish', lambda *args: written)
    monkeypatch.setattr(sys, 'argv', ['publish', 'x.py', 'x.pth'])
    runpy.run_path(str(TOOL), run_name='__main__')
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == 'mmdet does not have ssod.a.B, own.c.D; the config imports it'
