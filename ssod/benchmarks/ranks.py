"""Steps of two ranks compared with those of one."""

import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.distributed import init_process_group

from ssod.benchmarks.alone import alone, new_process
from ssod.benchmarks.stepping import Trainer
from ssod.benchmarks.steps import Bench, threshold_of
from ssod.benchmarks.timing import synchronize

GROUPS = {'one rank': (1,), 'two runs that share nothing': (1, 1), 'two ranks': (2,)}
"""Ranks of each of the trainings that run at the same time.

If two separate runs take longer than one, the machine is the cause: they share cores, caches and
memory.
"""

_TRAINERS: list[Trainer] = []
"""The training of this process, kept between calls."""


def rank_seconds(bench: Bench, path: Path, rounds: int, steps: int = 4) -> dict[str, list[float]]:
    """Seconds of a step of one rank, of two, and of two runs of one rank each, in turns.

    Each rank has one thread and the same number of images. They run on GPUs if there are at least
    two, otherwise on the CPU.

    Args:
        bench: Data and settings.
        path: A semi-supervised config of this package.
        rounds: How many turns each has, after a warm-up turn.
        steps: Steps in a turn; of two processes, the slower one counts.

    Returns:
        The seconds of a step in each round, by the name of the group.
    """
    start = alone(bench.start, path)
    threshold = alone(threshold_of, bench, path, start)
    on_cpu = torch.cuda.device_count() < 2
    seconds: dict[str, list[float]] = {name: [] for name in GROUPS}
    with ExitStack() as stack:
        if on_cpu:
            # Before the processes begin, because their imports look for GPUs.
            stack.enter_context(patch.dict(os.environ, CUDA_VISIBLE_DEVICES=''))
        groups = {
            name: _begin(stack, sizes, on_cpu, bench, path, start, threshold)
            for name, sizes in GROUPS.items()
        }
        for turn in range(rounds + 1):
            for name in list(GROUPS)[:: -1 if turn % 2 else 1]:
                calls = [process.submit(_take, steps) for process in groups[name]]
                slowest = max(call.result() for call in calls)
                if turn:
                    seconds[name].append(slowest / steps)
    return seconds


def _begin(stack: ExitStack, sizes: Sequence[int], *about: Any) -> list[ProcessPoolExecutor]:
    """Begin trainings with the given numbers of ranks, in processes that the stack ends."""
    ranks = [
        (rank, size, port) for size in sizes for port in [_free_port()] for rank in range(size)
    ]
    processes = [stack.enter_context(new_process()) for _ in ranks]
    # Each process has its own GPU, whichever training it is a rank of.
    opened = [
        process.submit(_open, gpu, *rank, *about)
        for gpu, (process, rank) in enumerate(zip(processes, ranks, strict=True))
    ]
    for ready in opened:
        ready.result()
    return processes


def _open(
    gpu: int,
    rank: int,
    size: int,
    port: int,
    on_cpu: bool,
    bench: Bench,
    path: Path,
    start: Path,
    threshold: float,
) -> None:
    """Begin a rank's training."""
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(gpu),
        WORLD_SIZE=str(size),
        LOCAL_WORLD_SIZE=str(size),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        OMP_NUM_THREADS='1',
    )
    if on_cpu:
        init_process_group('gloo')
    _TRAINERS.append(bench.trainer(path, start, threshold, 'pytorch'))


def _take(steps: int) -> float:
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
