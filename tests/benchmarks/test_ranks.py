"""Steps of two ranks beside those of one."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch.distributed import destroy_process_group

from ssod.benchmarks import ranks
from ssod.benchmarks.ranks import rank_seconds
from ssod.benchmarks.steps import threshold_of


def test_turns(monkeypatch):
    """Each group has its turns alone, and of two ranks the slower one counts."""
    opened, taken, lock = [], [], threading.Lock()

    def begin(gpu, rank, size, port, *_):
        with lock:
            opened.append((size, rank, port, gpu))
            names[threading.get_ident()] = (size, rank)

    def take(steps):
        size, rank = names[threading.get_ident()]
        with lock:
            taken.append(size)
        return steps * (1.0 + rank)

    names = {}
    monkeypatch.setattr(ranks, 'new_process', lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr(ranks, 'alone', lambda *_: ('start.pth', 0.1))
    monkeypatch.setattr(ranks, '_open', begin)
    monkeypatch.setattr(ranks, '_take', take)
    found = rank_seconds(SimpleNamespace(start=None), None, rounds=2, steps=5)
    assert found == {
        'one rank': [1.0, 1.0],
        'two runs that share nothing': [1.0, 1.0],
        'two ranks': [2.0, 2.0],
    }
    assert sorted(where[:2] for where in opened) == [(1, 0)] * 3 + [(2, 0), (2, 1)]
    # Both ranks of a group meet at one port, and at no other's.
    ports = [port for *_, port, _ in sorted(opened)]
    assert ports[3] == ports[4]
    assert ports[3] not in ports[:3]
    # Two runs that share nothing share no GPU either.
    assert sorted(gpu for size, *_, gpu in opened if size == 1) == [0, 0, 1]
    assert [gpu for size, *_, gpu in sorted(opened) if size == 2] == [0, 1]
    assert taken == [1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2]


@pytest.fixture
def alone_in_a_group():
    """Leaves nothing behind of a group of processes that has one."""
    threads = torch.get_num_threads()
    with mock.patch.dict(os.environ):
        yield
    ranks._TRAINERS.clear()
    destroy_process_group()
    torch.set_num_threads(threads)


@pytest.mark.usefixtures('alone_in_a_group')
def test_a_rank(bench, root):
    path = root / 'configs/mt_fasterrcnn_digits10pct.py'
    start = bench.start(path)
    threshold = threshold_of(bench, path, start)
    ranks._open(0, 0, 1, ranks._free_port(), True, bench, path, start, threshold)
    assert ranks._take(1) > 0
    (trainer,) = ranks._TRAINERS
    assert type(trainer.model).__name__ == 'MMDistributedDataParallel'
    assert torch.get_num_threads() == 1
