"""Times several things in turns, so that all run under the same conditions."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one call.

    Args:
        median: Median of all rounds.
        low: A tenth of the rounds were faster.
        high: A tenth of the rounds were slower.
    """

    median: float
    low: float
    high: float


def timing(seconds: list[float]) -> Timing:
    """Summarise at least one measurement."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Timing(median(ordered), ordered[round(0.1 * last)], ordered[round(0.9 * last)])


def interleave(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    per_round: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Call all in turns, round after round; the order is rotated by one in each round.

    A call ends when the GPU, if there is one, has finished its work.

    Args:
        calls: What to call, by name.
        rounds: How many turns each has, after a warm-up turn.
        per_round: Calls in one turn; their mean counts.
        clock: Returns the time in seconds.

    Returns:
        The seconds of a call in each round, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds + 1):
        shift = turn % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            synchronize()
            begin = clock()
            for _ in range(per_round):
                calls[name]()
            synchronize()
            if turn:
                seconds[name].append((clock() - begin) / per_round)
    return seconds


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
