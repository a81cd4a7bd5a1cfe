"""Tables of recipes against supervised training alone."""

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

Scores = dict[str, Any]
"""One run: ``recipe``, ``seed``, and in mAP points ``start``, ``supervised``, ``student``,
``teacher`` and ``gain``; ``None`` where no teacher began."""


def by_seed(rows: Sequence[Scores]) -> str:
    """One recipe: a Markdown table of its seeds with the means below."""
    names = ['seed', 'start', 'supervised', 'student', 'teacher', 'gain']
    lines = [f'| {" | ".join(names)} |', f'|{" --- |" * len(names)}']
    lines += [f'| {" | ".join(_cell(row[name]) for name in names)} |' for row in rows]
    means = [_mean(row[name] for row in rows) for name in names[1:]]
    return '\n'.join([*lines, f'| mean | {" | ".join(means)} |'])


def by_recipe(rows: Sequence[Scores]) -> str:
    """Several recipes: a Markdown table of their means, and of the teacher's mAP for each seed."""
    lines = ['| recipe | seeds | supervised | teacher | of each seed | gain |', f'|{" --- |" * 6}']
    for recipe in dict.fromkeys(row['recipe'] for row in rows):
        own = [row for row in rows if row['recipe'] == recipe]
        each = ', '.join(_cell(row['teacher']) for row in own)
        seeds = ', '.join(str(row['seed']) for row in own)
        means = [_mean(row[n] for row in own) for n in ('supervised', 'teacher', 'gain')]
        lines.append(f'| {recipe} | {seeds} | {means[0]} | {means[1]} | {each} | {means[2]} |')
    return '\n'.join(lines)


def _cell(value: float | None) -> str:
    """As it is; a dash where there is none."""
    return '-' if value is None else str(value)


def _mean(values: Iterable[float | None]) -> str:
    """To a tenth; a dash where there is none."""
    known = [value for value in values if value is not None]
    return f'{mean(known):.1f}' if known else '-'
