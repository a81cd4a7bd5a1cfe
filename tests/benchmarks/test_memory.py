"""The memory of a step."""

from dataclasses import replace

import torch

from ssod.benchmarks import memory
from ssod.benchmarks.memory import peak, step_memory


def here(function, *arguments):
    """As alone, but in this process, for starting one takes seconds."""
    return function(*arguments)


def test_the_peak(bench, root, monkeypatch):
    monkeypatch.setattr(memory, 'alone', here)
    path = root / 'configs/mt_fasterrcnn_digits10pct.py'
    found = step_memory(bench, [path], steps=1)
    assert list(found) == [str(path.with_suffix(''))]
    start = bench.work_dir / 'start.pth'
    (first,) = found.values()
    # Two models and two moments of each of the student's weights are there anyway.
    weights = sum(t.nbytes for t in torch.load(start)['state_dict'].values())
    assert first > 4 * weights
    # More images take more.
    options = {**bench.options, 'train_dataloader.batch_size': 8}
    assert peak(replace(bench, options=options), path, start, 0.1, 1) > 1.2 * first


def test_mmdets_own_as_shipped(bench, root, monkeypatch):
    asked = []
    monkeypatch.setattr(memory, 'alone', here)
    monkeypatch.setattr(memory, 'common_start', lambda *_: (bench.work_dir / 'start.pth', 0.1))
    monkeypatch.setattr(memory, 'peak', lambda own, path, *_: asked.append((path, own.amp)) or 1)
    paths = [root / 'configs/mt_fasterrcnn_digits10pct.py']
    paths += [root / 'studies/mmdet/semibase_fasterrcnn_digits.py']
    found = step_memory(replace(bench, amp=True), paths)
    assert asked == [(paths[0], True), (paths[1], False)]
    ours, theirs = (str(path.with_suffix('')) for path in paths)
    assert list(found) == [ours, f'{theirs}, as shipped']
