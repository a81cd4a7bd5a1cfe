"""The parts of a benchmark, by name."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from ssod.benchmarks.memory import step_memory
from ssod.benchmarks.parts import data_calls, ema_calls, scoring_calls
from ssod.benchmarks.phases import phases_of
from ssod.benchmarks.ranks import rank_seconds
from ssod.benchmarks.resuming import resume_seconds
from ssod.benchmarks.steps import Bench, step_calls, threshold_of
from ssod.benchmarks.timing import interleave

OFTEN = {'ema': 50, 'data': 20}
"""Calls per turn of parts that take milliseconds."""

FEW = 3
"""Rounds of parts that take long."""


@dataclass(frozen=True)
class Task:
    """What a part needs to know.

    Args:
        bench: Data and settings.
        configs: Configs of the same detector; the first is a semi-supervised one of this package.
        rounds: Turns of each call.
    """

    bench: Bench
    configs: Sequence[Path]
    rounds: int


def _steps(task: Task) -> Any:
    return interleave(step_calls(task.bench, task.configs), task.rounds)


def _phases(task: Task) -> Any:
    bench, config = task.bench, task.configs[0]
    start = bench.start(config)
    trainer = bench.trainer(config, start, threshold_of(bench, config, start))
    return phases_of(trainer, task.rounds)


def _memory(task: Task) -> Any:
    return step_memory(task.bench, task.configs)


def _ema(task: Task) -> Any:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    detector = task.bench.config(task.configs[0]).model.detector
    return interleave(ema_calls(detector, device), task.rounds, OFTEN['ema'])


def _data(task: Task) -> Any:
    with as_in_a_worker():
        calls = data_calls(task.bench.config(task.configs[0]))
        return interleave(calls, task.rounds, OFTEN['data'])


def _scoring(task: Task) -> Any:
    with tempfile.TemporaryDirectory() as place:
        return interleave(scoring_calls(Path(place)), FEW)


def _resume(task: Task) -> Any:
    return resume_seconds(task.bench, task.configs[0], FEW)


def _ranks(task: Task) -> Any:
    return rank_seconds(task.bench, task.configs[0], task.rounds)


PARTS: dict[str, Callable[[Task], Any]] = {
    'steps': _steps,
    'phases': _phases,
    'memory': _memory,
    'ema': _ema,
    'data': _data,
    'scoring': _scoring,
    'resume': _resume,
    'ranks': _ranks,
}
"""The functions that measure each part: they return seconds in each round by name; for ``phases``
their mean, for ``memory`` bytes."""


@contextmanager
def as_in_a_worker() -> Iterator[None]:
    """Let PyTorch and OpenCV use one thread, as in a data worker."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
