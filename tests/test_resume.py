"""A run that is killed and resumed is the run that was never killed."""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from ssod.checkpoints import load_checkpoint
from ssod.runs import build_runner, set_resume

TRAINING = Path(__file__).parent / 'training.py'
ITERS = 8
# What depends on the clock or on where a run is.
OF_THE_CLOCK = ('time', 'memory', 'eta', 'seconds', 'cfg', 'last_ckpt', 'experiment_name')


@pytest.fixture
def cfg(digits_cfg):
    """Everything that draws or remembers: burn-in, consistency, batch norms, a schedule."""
    digits_cfg.train_cfg.max_iters = ITERS
    digits_cfg.model.consistency = dict(weight=dict(type='linear', end=1.0, steps=6))
    digits_cfg.model.detector.backbone.norm_eval = False
    digits_cfg.default_hooks.teacher.burn_in = 2
    digits_cfg.default_hooks.logger.interval = 2
    digits_cfg.train_dataloader.sampler.by_orientation = True
    digits_cfg.randomness = dict(seed=5)
    return digits_cfg


def write(cfg, work_dir, num_workers):
    """The config's file."""
    cfg.work_dir = str(work_dir)
    cfg.train_dataloader.num_workers = num_workers
    path = Path(f'{work_dir}_{num_workers}.py')
    cfg.dump(path)
    return path


def plain(value):
    """A checkpoint's content as what can be compared with ``==``, bit for bit."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not str(k).endswith(OF_THE_CLOCK)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, HistoryBuffer):
        return [data.tolist() for data in value.data]
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.numpy().tobytes()
    return value.tolist() if isinstance(value, np.ndarray) else value


def entries(value, name=''):
    """The entries of nested dictionaries, each with its path."""
    if not isinstance(value, dict):
        return [(name, value)]
    return [entry for key, inner in value.items() for entry in entries(inner, f'{name}/{key}')]


def logged(work_dir):
    """What was logged at each iteration, the last word on it."""
    lines = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in map(json.loads, path.read_text().splitlines()):
            lines[line['step']] = plain(line)
    return lines


def assert_same(one, other):
    """Both runs ended with the same checkpoint and said the same on the way."""
    first, second = (plain(load_checkpoint(f'{d}/iter_{ITERS}.pth')) for d in (one, other))
    assert first.keys() == second.keys()
    assert {'state_dict', 'optimizer', 'param_schedulers', 'message_hub', 'teacher'} <= set(first)
    for key in first.keys() - {'meta'}:
        assert dict(entries(first[key])) == dict(entries(second[key])), key
    assert logged(one) == logged(other)
    assert sorted(logged(one)) == list(range(2, ITERS + 1, 2))


def wait_for(path, pattern, seconds=120):
    """Wait until a file is there."""
    end = time.monotonic() + seconds
    while not any(Path(path).glob(pattern)):
        assert time.monotonic() < end, f'no {pattern} in {path}'
        time.sleep(0.01)


def test_killed_at_any_point_and_resumed(cfg, tmp_path, forks):
    calm, killed = tmp_path / 'calm', tmp_path / 'killed'
    forks.begin(TRAINING, write(cfg, calm, num_workers=0), place=tmp_path)
    assert forks.end() == 0
    step = (
        Path(calm, f'iter_{ITERS}.pth').stat().st_mtime - Path(calm, 'iter_7.pth').stat().st_mtime
    )
    rng = random.Random(0)
    # Workers come and go.
    for number, (after, workers) in enumerate([(1, 0), (2, 1), (4, 4), (4, 0), (5, 1)]):
        how = ['slow'] if number == 3 else []
        process = forks.begin(TRAINING, write(cfg, killed, workers), *how, place=tmp_path)
        # Once amid a checkpoint that it writes.
        wait_for(killed, '.iter_*.unfinished' if number == 3 else f'iter_{after}.pth')
        time.sleep(rng.uniform(0, 1.5 * step))
        os.kill(process, signal.SIGKILL)
        assert forks.end() == -signal.SIGKILL
        assert any(killed.glob('.iter_*.unfinished')) >= (number == 3)
    forks.begin(TRAINING, write(cfg, killed, num_workers=4), place=tmp_path)
    assert forks.end() == 0
    assert not list(killed.glob('.iter_*.unfinished'))
    assert_same(calm, killed)


def test_what_is_compared_can_differ(tmp_path):
    # By the last bit of a weight or of a logged loss, but not by the time that a step took.
    def run(name, weight=1.0, loss=0.5, seconds=3.0):
        vis_data = tmp_path / name / 'x' / 'vis_data'
        vis_data.mkdir(parents=True)
        lines = [{'step': i, 'loss': loss, 'time': seconds} for i in range(2, ITERS + 1, 2)]
        (vis_data / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        parts = ('optimizer', 'param_schedulers', 'message_hub', 'teacher')
        content = {'state_dict': {'w': torch.tensor(weight)}, **dict.fromkeys(parts)}
        torch.save(content, tmp_path / name / f'iter_{ITERS}.pth')
        return tmp_path / name

    one = run('one')
    assert_same(one, run('slower', seconds=9.0))
    for other in (run('weight', weight=1.0000001), run('loss', loss=0.50000001)):
        with pytest.raises(AssertionError):
            assert_same(one, other)


def test_resuming_late_loads_nothing_of_what_was(digits_cfg, monkeypatch):
    # From iteration 100,000, which is 400,000 images later.
    late = 100_000
    first = Runner.from_cfg(digits_cfg)
    first.train()
    path = Path(digits_cfg.work_dir, 'iter_2.pth')
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['iter'] = late
    torch.save(checkpoint, path)
    digits_cfg.merge_from_dict({'train_cfg.max_iters': late + 1, 'resume': True})
    digits_cfg.load_from = str(path)
    runner = Runner.from_cfg(digits_cfg)
    loaded = []
    sources = type(runner.train_dataloader.dataset)
    load = sources.__getitem__
    monkeypatch.setattr(sources, '__getitem__', lambda s, i: loaded.append(i) or load(s, i))
    runner.train()
    assert runner.iter == late + 1
    # The batch of iteration 100,000 as the sampler alone would draw it.
    sampler = runner.train_dataloader.sampler
    assert loaded == [sampler._draw(4 * late + i) for i in range(4)]


def test_resuming_needs_no_weights_to_start_from(cfg):
    cfg.train_cfg.max_iters = 2
    build_runner(cfg).train()
    gone = str(Path(cfg.work_dir, 'moved.pth'))
    cfg.model.detector.backbone.init_cfg = dict(type='Pretrained', checkpoint=gone)
    cfg.train_cfg.max_iters = 3
    with pytest.raises(FileNotFoundError, match=f'weights {gone}'):
        build_runner(cfg).train()
    set_resume(cfg, 'auto')
    build_runner(cfg).train()
    assert Path(cfg.work_dir, 'iter_3.pth').exists()


def test_a_run_that_ends_before_its_checkpoint_is_refused(cfg):
    cfg.train_cfg.max_iters = 3
    build_runner(cfg).train()
    (saved,) = Path(cfg.work_dir).glob('*.py')
    before = saved.read_text()
    cfg.train_cfg.max_iters = 2
    set_resume(cfg, 'auto')
    told = r'iter_3\.pth is at iteration 3, but the run ends at 2; raise the iterations'
    with pytest.raises(ValueError, match=told):
        build_runner(cfg).train()
    assert saved.read_text() == before
