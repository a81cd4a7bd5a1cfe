"""Times as tables, and the machine they were measured on."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmdet
import torch

from ssod.benchmarks.timing import timing


def table(seconds: Mapping[str, Sequence[float]]) -> str:
    """A Markdown table of medians, spreads and ratios to the first.

    The ratio is the median of the ratios in each round, because whatever slows a round slows both.

    Args:
        seconds: Seconds of each round, by name; equally many for each.
    """
    lines = ['| what | median | 10 % – 90 % | over the first |', '|' + ' --- |' * 4]
    first = next(iter(seconds.values()))
    for name, values in seconds.items():
        own = timing(list(values))
        ratio = timing([value / base for value, base in zip(values, first, strict=True)])
        spread = f'{_shown(own.low)} – {_shown(own.high)}'
        lines.append(f'| {name} | {_shown(own.median)} | {spread} | {ratio.median:.2f} |')
    return '\n'.join(lines)


def phase_table(seconds: Mapping[str, float]) -> str:
    """A Markdown table of the parts of a step and their shares."""
    whole = sum(seconds.values())
    lines = ['| part of a step | time | share |', '|' + ' --- |' * 3]
    for name, value in seconds.items():
        lines.append(f'| {name} | {_shown(value)} | {100 * value / whole:.1f} % |')
    return '\n'.join(lines)


def memory_table(memory: Mapping[str, int]) -> str:
    """A Markdown table of bytes and their ratios to the last, which is usually mmdet's own."""
    last = list(memory.values())[-1]
    lines = ['| | memory | ratio to the last |', '|' + ' --- |' * 3]
    for name, value in memory.items():
        lines.append(f'| {name} | {value / 2**20:.0f} MiB | {value / last:.2f} |')
    return '\n'.join(lines)


def machine() -> dict[str, str | int]:
    """What the times depend on besides the code."""
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else 'none',
        'python': platform.python_version(),
        'torch': torch.__version__,
        'mmdet': mmdet.__version__,
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def _shown(seconds: float) -> str:
    return f'{seconds:.2f} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'
