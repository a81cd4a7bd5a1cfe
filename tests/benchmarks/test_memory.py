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
