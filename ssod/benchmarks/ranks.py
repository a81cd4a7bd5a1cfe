"""Steps of two ranks beside those of one."""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.distributed import init_process_group

from ssod.benchmarks.alone import alone, new_process
from ssod.benchmarks.stepping import Trainer
from ssod.benchmarks.steps import Bench, common_start
from ssod.benchmarks.timing import synchronize

T = TypeVar('T')

_TRAINERS: list[Trainer] = []
"""The one of this process, between two calls."""


def rank_seconds(bench: Bench, path: Path, rounds: int, steps: int = 4) -> dict[str, list[float]]:
    """Seconds of a step of one rank and of two, in turns; each with one thread and as many images.

    On two GPUs, or else on the CPU, whatever GPU there is.

    Args:
        bench: Data and settings.
        path: A semi-supervised config of this package.
        rounds: How often each has its turn, after one turn that is not counted.
        steps: In a turn; of two ranks the slower one counts.

    Returns:
        The seconds of a step in each round, by the number of ranks.
    """
    start, threshold = alone(common_start, bench, path)
    names, on_cpu = {'one rank': 1, 'two ranks': 2}, torch.cuda.device_count() < 2
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        groups = {}
        for name, size in names.items():
            groups[name] = [stack.enter_context(new_process()) for _ in range(size)]
            _each(groups[name], _open, on_cpu, size, _free_port(), bench, path, start, threshold)
        for turn in range(rounds + 1):
            for name in list(names)[:: -1 if turn % 2 else 1]:
                slowest = max(_each(groups[name], _take, steps))
                if turn:
                    seconds[name].append(slowest / steps)
    return seconds


def _each(group: list[ProcessPoolExecutor], function: Callable[..., T], *arguments: Any) -> list[T]:
    """What all ranks make of a call at once, given their number and the arguments."""
    calls = [process.submit(function, rank, *arguments) for rank, process in enumerate(group)]
    return [call.result() for call in calls]


def _open(
    rank: int,
    on_cpu: bool,
    size: int,
    port: int,
    bench: Bench,
    path: Path,
    start: Path,
    threshold: float,
) -> None:
    """Begin a rank's training."""
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
        LOCAL_WORLD_SIZE=str(size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        OMP_NUM_THREADS='1',
    )
    if on_cpu:
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
        init_process_group('gloo')
    _TRAINERS.append(bench.trainer(path, start, threshold, 'pytorch'))


def _take(_rank: int, steps: int) -> float:
    """Seconds of some steps."""
    synchronize()
    begin = time.perf_counter()
    for _ in range(steps):
        _TRAINERS[0].step()
    synchronize()
    return time.perf_counter() - begin


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
    return port
