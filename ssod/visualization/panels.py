"""What is drawn of a run, whether as one picture or as charts of its page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssod.visualization.scalars import MAP, Record, curve_of, scores_of, teacher_begin

# Okabe and Ito's palette, whose colours colour-blind readers can tell apart; the line styles differ
# as well, for black-and-white prints.
COLOURS: Mapping[str, str] = {
    'teacher': '#0072B2',
    'student': '#D55E00',
    'consistency': '#009E73',
    'muted': '#5A5A5A',
    'alarm': '#CC79A7',
    'grid': '#E4E4E4',
}
"""Colours by name; a run's page has a light and a dark version of each."""

_LOSSES = {
    'supervised': ('sup_', 'student', '--'),
    'pseudo-label': ('pseudo_', 'teacher', '-'),
    'consistency': ('consistency_', 'consistency', '-.'),
}

Series = Sequence[tuple[float, float]]


class Line(NamedTuple):
    """A curve.

    Args:
        name: Its name in the legend.
        series: Iteration and value of each point.
        colour: One of :data:`COLOURS`.
        style: matplotlib's line style: ``-``, ``--``, ``-.`` or ``:``.
        digits: Format of the last value in the legend; no value if empty.
    """

    name: str
    series: Series
    colour: str
    style: str = '-'
    digits: str = '.3g'


class Panel(NamedTuple):
    """Curves over the iterations.

    Args:
        title: What is shown.
        unit: Unit of the values.
        lines: The curves; those without a point are not drawn.
        missing: What to say if none has a point.
        log: Whether the value axis is logarithmic; otherwise it begins at 0.
        top: A fixed end of the value axis.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    missing: str
    log: bool = False
    top: float | None = None


def panels_of(records: Sequence[Record], usual: float | None = None) -> list[Panel]:
    """The panels of what a run has logged.

    Args:
        records: See :func:`~ssod.visualization.scalars.read_scalars`.
        usual: Boxes in a labelled image, if that is known.

    Returns:
        The mAP of teacher and student in points (0-100), with that of the start weights; the summed
        losses; the pseudo-boxes per image; and their precision and recall against the hidden truth
        (0-1).
    """
    boxes = curve_of(records, ['pseudo_boxes'])
    lines = [Line('pseudo-boxes', boxes, 'teacher', digits='.2f')]
    if usual is not None and boxes:
        ends = [(boxes[0][0], usual), (boxes[-1][0], usual)]
        lines.append(Line('boxes in a labelled image', ends, 'muted', ':', '.2f'))
    precision, recall = (curve_of(records, [f'pseudo_{of}']) for of in ('precision', 'recall'))
    return [
        Panel('mAP', 'points', _scores(records), 'No validation yet.'),
        _losses(records),
        Panel('Pseudo-boxes', 'per image', lines, 'No pseudo-boxes yet.'),
        Panel(
            'Pseudo-boxes against the hidden truth',
            'fraction',
            [Line('precision', precision, 'teacher'), Line('recall', recall, 'student', '--')],
            'No hidden truth, or no pseudo-boxes yet.',
            top=1.0,
        ),
    ]


def _scores(records: Sequence[Record]) -> list[Line]:
    model, teacher, student = (
        scores_of(records, key) for key in (MAP, f'teacher/{MAP}', f'student/{MAP}')
    )
    lines = [
        # mmengine's own validation loop does not say whose boxes it scores.
        Line('model', model, 'muted', '-.', '.1f'),
        Line('teacher', teacher, 'teacher', '-', '.1f'),
        # Dashed and on top, because during the burn-in the teacher is a copy of the student.
        Line('student', student, 'student', '--', '.1f'),
    ]
    begin = teacher_begin(records)
    if begin is not None:
        step, level = begin
        end = max(x for x, _ in [*teacher, *student])
        ends = [(step, level), (end, level)]
        lines.append(Line('start weights', ends, 'muted', ':', '.1f'))
    return lines


def _losses(records: Sequence[Record]) -> Panel:
    keys = sorted({key for record in records for key in record if 'loss' in key})
    lines = [
        Line(name, curve_of(records, [k for k in keys if k.startswith(prefix)]), colour, style)
        for name, (prefix, colour, style) in _LOSSES.items()
    ]
    if not any(line.series for line in lines):
        # A run that does not separate its losses.
        lines = [Line('total', curve_of(records, ['loss']), 'student')]
    values = [value for line in lines for _, value in line.series]
    # A logarithmic axis has no place for 0.
    log = bool(values) and min(values) > 0 and max(values) > 20 * min(values)
    unit = 'sums by kind, logarithmic' if log else 'sums by kind'
    return Panel('Losses', unit, lines, 'No losses yet.', log=log)
