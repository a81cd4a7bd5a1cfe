"""Results of a study: one JSON line for each finished run, and what they say together."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student_t

from ssod.files import write_whole
from ssod.studies.plan import START, Run, Study

LEVEL = 0.95
"""Of confidence intervals."""

LEAST = 3
"""Values that an interval takes: that of two has no width where they happen to be alike."""


@dataclass(frozen=True)
class Result:
    """One finished run; scores are COCO mAP in points, 0 to 100.

    Args:
        data: Name of the data set.
        percent: Share of its training images that was labelled.
        method: Name of the method.
        seed: Seed and fold.
        settings: Digest of its settings (:meth:`~ssod.studies.compose.Composer.digest`).
        student: mAP of the student at the end.
        teacher: mAP of the teacher at the end; of a method without one the student's.
        student_50: mAP of the student at an overlap of 0.5.
        teacher_50: The same of the teacher.
        seconds: Wall clock of the training.
        begun: Digest of the weights that it began with
            (:func:`~ssod.studies.execution.weights_digest`); empty if unknown.
    """

    data: str
    percent: float
    method: str
    seed: int
    settings: str
    student: float
    teacher: float
    student_50: float
    teacher_50: float
    seconds: float
    begun: str = ''

    @property
    def key(self) -> tuple[str, float, str, int, str]:
        """What tells runs apart."""
        return self.data, self.percent, self.method, self.seed, self.settings


class Results:
    """The results in a file; each is added as one line as soon as there is one.

    Args:
        path: The file; what is in it counts as done, but for a last line that was not written to
            its end.

    Raises:
        ValueError: If another line is no result, or two are of the same run and differ.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, float, str, int, str], Result] = {}
        for number, line in enumerate(self._whole_lines(), 1):
            if line.strip():
                result = self._read(number, line)
                other = self._known.setdefault(result.key, result)
                if other != result:
                    raise ValueError(
                        f'{path}, line {number}: another result of a run that is there already; '
                        f'remove one'
                    )

    def find(self, run: Run, settings: str) -> Result | None:
        """The result of a run with these settings; ``None`` if it was not finished yet."""
        return self._known.get((run.data.name, run.percent, run.method.name, run.seed, settings))

    def begun(self, run: Run) -> set[str]:
        """What the runs began with, as far as known, that a run is to be compared with."""
        cell = run.data.name, run.percent, run.seed
        known = [x for x in self._known.values() if (x.data, x.percent, x.seed) == cell]
        return {x.begun for x in known if x.begun and x.method != START}

    def add(self, result: Result) -> None:
        """Add a line, which lasts through a power cut."""
        text = self._text()
        if text and not text.endswith('\n'):
            write_whole(self.path, ''.join(f'{x}\n' for x in self._whole_lines()).encode())
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(asdict(result)) + '\n')
            file.flush()
            os.fsync(file.fileno())
        self._known[result.key] = result

    def _text(self) -> str:
        return self.path.read_text(encoding='utf-8') if self.path.exists() else ''

    def _whole_lines(self) -> list[str]:
        *lines, last = self._text().split('\n')
        try:
            json.loads(last)
        except ValueError:  # Empty, or torn.
            return lines
        return [*lines, last]

    def _read(self, number: int, line: str) -> Result:
        try:
            return Result(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'{self.path}, line {number}: no result ({error}); remove it'
            ) from None


@dataclass(frozen=True)
class Row:
    """A method on a data set with a label budget, over seeds; scores in points.

    Args:
        data: Name of the data set.
        percent: Share of its training images that was labelled.
        method: Name of the method.
        students: mAP of the student, one for each seed.
        teachers: The same of the teacher.
        gains: The teacher's over the baseline's student of the same seed; of seeds with both.
    """

    data: str
    percent: float
    method: str
    students: tuple[float, ...]
    teachers: tuple[float, ...]
    gains: tuple[float, ...]

    @property
    def gain(self) -> float | None:
        """Mean gain; ``None`` where the baseline has not been run."""
        return mean(self.gains) if self.gains else None


def rows_of(study: Study, found: Sequence[Result]) -> list[Row]:
    """Sum up results: data sets, budgets and methods in the order of the study.

    Args:
        study: The study.
        found: Results of finished runs.

    Raises:
        ValueError: If runs that are compared began with different weights.
    """
    _check_same_weights(result for result in found if result.method != START)
    rows = []
    for data in study.data:
        for percent in data.percents:
            cell = [r for r in found if (r.data, r.percent) == (data.name, percent)]
            base = {r.seed: r.student for r in cell if r.method == study.baseline}
            for method in study.trained:
                own = [r for r in cell if r.method == method.name]
                if own:
                    students = tuple(r.student for r in own)
                    teachers = tuple(r.teacher for r in own)
                    gains = tuple(r.teacher - base[r.seed] for r in own if r.seed in base)
                    rows.append(Row(data.name, percent, method.name, students, teachers, gains))
    return rows


def _check_same_weights(found: Iterable[Result]) -> None:
    """Refuse runs of one data set, budget and seed that began with different weights."""
    known: dict[tuple[str, float, int], Result] = {}
    for result in (result for result in found if result.begun):
        first = known.setdefault((result.data, result.percent, result.seed), result)
        if first.begun != result.begun:
            raise ValueError(
                f'{result.data}, {result.percent:g} %, seed {result.seed}: {first.method} began '
                f'with the weights {first.begun}, {result.method} with {result.begun}, and they '
                f'cannot be compared; remove the results of one, and train it from the same start'
            )


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the mean's confidence interval (Student's t).

    Args:
        values: In any unit; the width is in the same.

    Returns:
        Half the width; ``None`` for fewer than three values.
    """
    if len(values) < LEAST:
        return None
    quantile = student_t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return float(quantile * stdev(values) / len(values) ** 0.5)


def table(rows: Sequence[Row], baseline: str) -> str:
    """A Markdown table, and below it each method's gain averaged over data sets and budgets."""
    lines = [
        '| data | labelled | method | seeds | student | teacher | gain | 95 % interval |',
        '|' + ' --- |' * 8,
    ]
    for row in rows:
        cells = [row.data, f'{row.percent:g} %', row.method, str(len(row.students))]
        cells += [_spread(row.students), _spread(row.teachers)]
        cells += ['', ''] if row.method in (baseline, START) else _gain(row.gains)
        lines.append(f'| {" | ".join(cells)} |')
    lines += ['', '| method | mean gain | sets × budgets | of these worse |', '|' + ' --- |' * 4]
    others = (row.method for row in rows if row.method not in (baseline, START))
    for method in dict.fromkeys(others):
        gains = [row.gain for row in rows if row.method == method and row.gain is not None]
        if gains:
            worse = sum(_rounded(gain) < 0 for gain in gains)
            lines.append(f'| {method} | {_signed(mean(gains))} | {len(gains)} | {worse} |')
    return '\n'.join(lines)


def lead_table(study: Study, found: Sequence[Result]) -> str:
    """A Markdown table of what the study's first method is ahead of its others, on each data set.

    A lead is that of its teacher over the other's of the same data set, budget and seed. Budgets
    count alike, with however many seeds each was run. There is no interval: runs of one data set
    share images, and their leads are not independent.

    Args:
        study: The study.
        found: Results of finished runs.

    Returns:
        The table; empty if no two methods beside the baseline were run on the same.
    """
    ours, *others = [method.name for method in study.methods[1:]] or ['']
    scores = {
        method: {(r.data, r.percent, r.seed): r.teacher for r in found if r.method == method}
        for method in (ours, *others)
    }
    lines = []
    for other in others:
        theirs = scores[other]
        leads: dict[tuple[str, float], list[float]] = {}
        for (data, percent, seed), score in scores[ours].items():
            if (data, percent, seed) in theirs:
                lead = score - theirs[data, percent, seed]
                leads.setdefault((data, percent), []).append(lead)
        names = list(dict.fromkeys(data for data, _ in leads))
        for name in names:
            of_data = [budget for (data, _), budget in leads.items() if data == name]
            lines.append(_lead(other, name, of_data))
        if len(names) > 1:
            lines.append(_lead(other, 'all', list(leads.values())))
    if not lines:
        return ''
    heading = f'| | data | lead of {ours} | runs of both | of these ahead |'
    return '\n'.join([heading, '|' + ' --- |' * 5, *lines])


def _lead(other: str, data: str, budgets: Sequence[Sequence[float]]) -> str:
    """A line of the table of leads, from those of each budget."""
    runs = [lead for budget in budgets for lead in budget]
    lead = _signed(mean(mean(budget) for budget in budgets))
    return f'| {other} | {data} | {lead} | {len(runs)} | {sum(_rounded(x) > 0 for x in runs)} |'


def _spread(values: Iterable[float]) -> str:
    values = list(values)
    spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
    return f'{mean(values):.1f}{spread}'


def _gain(gains: Sequence[float]) -> list[str]:
    if not gains:
        return ['-', '-']
    half = half_width(gains)
    middle = mean(gains)
    interval = '-' if half is None else f'{_signed(middle - half)} to {_signed(middle + half)}'
    return [_signed(middle), interval]


def _signed(points: float) -> str:
    return f'{_rounded(points):+.1f}'


def _rounded(points: float) -> float:
    """To a tenth, as scores are, and never -0: differences of equal sums miss 0 by a little."""
    return round(points, 1) + 0.0
