"""Results of a study: one JSON line per finished run, and the tables made from them."""

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
"""Level of confidence intervals."""

LEAST = 3
"""Values an interval needs: that of two has no width if they happen to be equal."""


@dataclass(frozen=True)
class Result:
    """One finished run; scores are COCO mAP in points, 0 to 100.

    Args:
        data: Name of the data set.
        percent: Percentage of its training images that was labelled.
        method: Name of the method.
        seed: Seed and fold.
        settings: Digest of its settings (:meth:`~ssod.studies.compose.Composer.digest`).
        student: mAP of the student at the end.
        teacher: mAP of the teacher at the end; the student's for a method without a teacher.
        student_50: mAP of the student at an overlap of 0.5.
        teacher_50: mAP of the teacher at an overlap of 0.5.
        seconds: Wall-clock time of the training.
        begun: Digest of the weights it began with
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
        """What identifies a run."""
        return self.data, self.percent, self.method, self.seed, self.settings


class Results:
    """The results in a file; each is added as a line as soon as it is known.

    Args:
        path: The file. Its lines count as done, except for an incomplete last one.

    Raises:
        ValueError: If another line is not a result, or two lines of the same run differ.
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
                        f'{path}, line {number}: a second, different result of the same run; '
                        f'remove one'
                    )

    def find(self, run: Run, settings: str) -> Result | None:
        """The result of a run with these settings; ``None`` if it is not finished yet."""
        return self._known.get((run.data.name, run.percent, run.method.name, run.seed, settings))

    def begun(self, run: Run) -> set[str]:
        """Digests of the weights, if known, that comparable runs began with."""
        cell = run.data.name, run.percent, run.seed
        # A copy, because another thread may add one meanwhile.
        known = [x for x in list(self._known.values()) if (x.data, x.percent, x.seed) == cell]
        return {x.begun for x in known if x.begun and x.method != START}

    def add(self, result: Result) -> None:
        """Add a line that survives a power cut."""
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
        except ValueError:  # Empty or incomplete.
            return lines
        return [*lines, last]

    def _read(self, number: int, line: str) -> Result:
        try:
            return Result(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'{self.path}, line {number}: not a result ({error}); remove it'
            ) from None


@dataclass(frozen=True)
class Row:
    """A method on a data set with a label budget, over seeds; scores in points.

    Args:
        data: Name of the data set.
        percent: Percentage of its training images that was labelled.
        method: Name of the method.
        students: mAP of the student for each seed.
        teachers: mAP of the teacher for each seed.
        gains: The teacher's mAP minus that of the baseline's student, for each seed with both.
    """

    data: str
    percent: float
    method: str
    students: tuple[float, ...]
    teachers: tuple[float, ...]
    gains: tuple[float, ...]

    @property
    def gain(self) -> float | None:
        """Mean gain; ``None`` if the baseline has not been run."""
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
                f'with the weights {first.begun}, but {result.method} with {result.begun}, so they '
                f'cannot be compared; remove the results of one, and train it from the same start'
            )


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the mean's confidence interval (Student's t).

    Args:
        values: In any unit; the width has the same.

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
    """A Markdown table of how far the first method after the baseline leads the others.

    A lead is its teacher's mAP minus the other's, on the same data set, budget and seed. All
    budgets count equally, however many seeds each was run with. There is no interval: runs on one
    data set share images, so their leads are not independent.

    Args:
        study: The study.
        found: Results of finished runs.

    Returns:
        The table; empty unless two methods besides the baseline were run on the same data.
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
    """A line of the table of leads, from the leads of each budget."""
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
    """Round to a tenth, like scores, and never to -0: differences of equal sums can miss 0."""
    return round(points, 1) + 0.0
