"""Trains recipes and their supervised baselines, and tabulates the scores."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from ssod.checkpoints import latest_checkpoint
from ssod.files import write_whole

SUFFIX = '_digits10pct.py'
"""How the file names of the recipes' configs end."""

Scores = dict[str, Any]
"""One run: ``recipe``, ``seed``, and in mAP points ``start``, ``supervised``, ``student``,
``teacher`` and ``gain``; ``None`` if no teacher took part."""


class Comparison:
    """Trains recipes, each once, in sub-folders of one directory.

    Args:
        root: The directory.
        options: Config overrides for tools/train.py.
    """

    def __init__(self, root: Path, options: list[str]) -> None:
        self.root = root
        self.options = options

    def row(self, recipe: str, seed: int) -> Scores:
        """The scores of one recipe and its baseline; mAP in points."""
        baseline = f'supervised_{recipe.rsplit("_", 1)[1]}'
        supervised = self._train(baseline, seed)['student_mAP']
        if recipe.startswith('stac_'):
            self._label(baseline, recipe, seed)
        scores = self._train(recipe, seed)
        teacher = scores['teacher_mAP']
        return {
            'recipe': recipe,
            'seed': seed,
            'start': scores['start_mAP'],
            'supervised': supervised,
            'student': scores['student_mAP'],
            'teacher': teacher,
            'gain': None if None in (teacher, supervised) else round(teacher - supervised, 1),
        }

    def _train(self, recipe: str, seed: int) -> Scores:
        """Run tools/train.py, or the rest of it after an interruption, and return its summary."""
        place = self.root / f'{recipe}_{seed}'
        summary = place / 'summary.json'
        if not summary.exists():
            options = [f'randomness.seed={seed}', *self.options]
            _run('train.py', recipe, '--work-dir', place, '--resume', options=options)
        scores: Scores = json.loads(summary.read_text())
        return scores

    def _label(self, baseline: str, recipe: str, seed: int) -> None:
        """Let the supervised detector label the images, once."""
        labels = self.root / f'{recipe}_{seed}' / 'pseudo_labels.json'
        if not labels.exists():
            last = str(latest_checkpoint(self.root / f'{baseline}_{seed}'))
            _run('pseudo_label.py', recipe, last, '--out', labels, options=self.options)


def _run(tool: str, recipe: str, *arguments: str | Path, options: list[str]) -> None:
    """Run a tool with a recipe's config; if it fails, exit with its status."""
    command = [sys.executable, f'tools/{tool}', f'configs/{recipe}{SUFFIX}', *map(str, arguments)]
    if options:
        command += ['--cfg-options', *options]
    code = subprocess.run(command).returncode
    if code != 0:
        sys.exit(code)


def options_of(root: Path, given: list[str]) -> list[str]:
    """The options that a folder's runs were trained with; those given if it has no runs yet.

    Args:
        root: The folder, where the options are recorded.
        given: The options of this call.
    """
    note = root / 'options.json'
    if any(next(root.glob(made), None) for made in ('*/*.pth', '*/summary.json', 'compare.json')):
        noted: list[str] = json.loads(note.read_text()) if note.exists() else []
        return noted
    root.mkdir(parents=True, exist_ok=True)
    write_whole(note, json.dumps(given).encode())
    return given


def table(rows: Sequence[Scores]) -> str:
    """A Markdown table of one recipe's seeds, or of the means of several recipes."""
    return by_seed(rows) if len({row['recipe'] for row in rows}) == 1 else by_recipe(rows)


def by_seed(rows: Sequence[Scores]) -> str:
    """A Markdown table of one recipe's seeds, with the means below."""
    names = ['seed', 'start', 'supervised', 'student', 'teacher', 'gain']
    lines = [f'| {" | ".join(names)} |', f'|{" --- |" * len(names)}']
    lines += [f'| {" | ".join(_cell(row[name]) for name in names)} |' for row in rows]
    means = [_mean(row[name] for row in rows) for name in names[1:]]
    return '\n'.join([*lines, f'| mean | {" | ".join(means)} |'])


def by_recipe(rows: Sequence[Scores]) -> str:
    """A Markdown table of several recipes' means, with the teacher's mAP for each seed."""
    lines = ['| recipe | seeds | supervised | teacher | of each seed | gain |', f'|{" --- |" * 6}']
    for recipe in dict.fromkeys(row['recipe'] for row in rows):
        own = [row for row in rows if row['recipe'] == recipe]
        each = ', '.join(_cell(row['teacher']) for row in own)
        seeds = ', '.join(str(row['seed']) for row in own)
        means = [_mean(row[n] for row in own) for n in ('supervised', 'teacher', 'gain')]
        lines.append(f'| {recipe} | {seeds} | {means[0]} | {means[1]} | {each} | {means[2]} |')
    return '\n'.join(lines)


def _cell(value: float | None) -> str:
    """The value, or a dash if there is none."""
    return '-' if value is None else str(value)


def _mean(values: Iterable[float | None]) -> str:
    """The mean to a tenth, or a dash if there is none."""
    known = [value for value in values if value is not None]
    return f'{mean(known):.1f}' if known else '-'
