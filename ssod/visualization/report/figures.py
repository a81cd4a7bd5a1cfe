"""The curves of a run as charts for its page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ssod.schedules import build_schedule
from ssod.visualization.curves import (
    LOSS_STYLES,
    MAP,
    Record,
    alarm_spans,
    curve_of,
    loss_groups,
    teacher_begin,
    wide,
)
from ssod.visualization.report.svg import SMALL, Chart, Line, Series, line_chart

POINTS = 400
"""How many points are drawn of a schedule."""

_COLOUR_OF_LOSS = {
    'supervised': 'student',
    'pseudo-label': 'teacher',
    'consistency': 'consistency',
    'total': 'student',
}


def charts_of(records: Sequence[Record], iteration: int, usual: float | None = None) -> list[Chart]:
    """The charts of what a run has logged.

    Args:
        records: See :func:`~ssod.visualization.curves.read_scalars`.
        iteration: The run's last one.
        usual: Boxes in a labelled image, if that is known.
    """
    spans = [(begin, end) for _, begin, end in alarm_spans(records, iteration)]
    boxes = [(step, value) for step, value in curve_of(records, ['pseudo_boxes'])]
    lines = [Line('pseudo-boxes', boxes, 'teacher', digits='.2f')]
    if usual is not None and boxes:
        ends = [(boxes[0][0], usual), (boxes[-1][0], usual)]
        lines.append(Line('boxes in a labelled image', ends, 'muted', ':', '.2f'))
    draw = partial(line_chart, spans=spans, last=iteration)
    return [
        draw('mAP', 'points', _scores(records), 'No validation yet.'),
        _losses(records, draw),
        draw('Pseudo-boxes', 'per image', lines, 'No pseudo-boxes yet.'),
        draw(
            'Pseudo-boxes against the hidden truth',
            'fraction',
            [
                Line('precision', curve_of(records, ['pseudo_precision']), 'teacher'),
                Line('recall', curve_of(records, ['pseudo_recall']), 'student', '--'),
            ],
            'No hidden truth, or no pseudo-boxes yet.',
            top=1.0,
        ),
    ]


def ramps_of(records: Sequence[Record], cfg: Mapping[str, Any] | None, burn_in: int) -> list[Chart]:
    """The charts of schedules: λ and α from the config, decay and learning rate as logged.

    Args:
        records: See :func:`~ssod.visualization.curves.read_scalars`.
        cfg: The run's config, if there is one.
        burn_in: Iterations before the teacher begins.
    """
    decay = [Line('decay', curve_of(records, ['decay']), 'teacher', digits='.6g')]
    rate = [Line('learning rate', curve_of(records, ['lr']), 'student', digits='.3g')]
    return [
        _weights(cfg, burn_in),
        line_chart(
            "The teacher's decay",
            'share it keeps',
            decay,
            'No decay logged.',
            top=1.0,
            size=SMALL,
        ),
        line_chart(
            'Learning rate', 'first group', rate, 'No learning rate logged yet.', size=SMALL
        ),
    ]


def _scores(records: Sequence[Record]) -> list[Line]:
    lines = [
        # mmengine's own validation loop does not say whose boxes it scores.
        Line('model', in_points(curve_of(records, [MAP])), 'muted', '-.', '.1f'),
        Line('teacher', in_points(curve_of(records, [f'teacher/{MAP}'])), 'teacher', '-', '.1f'),
        # Dashed and on top, because during the burn-in the teacher is a copy of the student.
        Line('student', in_points(curve_of(records, [f'student/{MAP}'])), 'student', '--', '.1f'),
    ]
    begin = teacher_begin(records)
    if begin is not None:
        step, level = begin
        end = max(x for line in lines for x, _ in line.series)
        ends = [(step, 100 * level), (end, 100 * level)]
        lines.append(Line('start weights', ends, 'muted', ':', '.1f'))
    return lines


def in_points(series: Series) -> list[tuple[float, float]]:
    """Scores in points, from fractions; without COCO's -1 for a set without any true box."""
    return [(step, 100 * value) for step, value in series if value >= 0]


def _losses(records: Sequence[Record], draw: Callable[..., Chart]) -> Chart:
    groups = loss_groups(records)
    log = bool(groups) and wide([value for series in groups.values() for _, value in series])
    lines = [
        Line(name, series, _COLOUR_OF_LOSS[name], LOSS_STYLES[name][1])
        for name, series in groups.items()
    ]
    unit = 'sums by kind, logarithmic' if log else 'sums by kind'
    return draw('Losses', unit, lines, 'No losses yet.', log=log)


def _weights(cfg: Mapping[str, Any] | None, burn_in: int) -> Chart:
    title, unit = 'Weights of the losses', 'λ and α'
    total = ((cfg or {}).get('train_cfg') or {}).get('max_iters')
    model = (cfg or {}).get('model') or {}
    if total is None or 'pseudo_weight' not in model:
        return Chart(title, unit, missing='The config does not set them.')
    if burn_in >= total:
        return Chart(title, unit, missing='The teacher never begins: only the labels teach.')
    steps = sorted({burn_in + round((total - burn_in) * i / POINTS) for i in range(POINTS + 1)})
    before = [(0.0, 0.0), (float(burn_in), 0.0)] if burn_in else []
    named = {'λ, pseudo-labels': (model['pseudo_weight'], 'teacher', '-')}
    if model.get('consistency') is not None:
        weight = model['consistency'].get('weight', 1.0)
        named['α, consistency'] = (weight, 'consistency', '-.')
    lines = []
    for name, (setting, colour, style) in named.items():
        schedule = build_schedule(setting)
        series = [*before, *((step, schedule(step - burn_in)) for step in steps)]
        lines.append(Line(name, series, colour, style))
    return line_chart(title, unit, lines, '', size=SMALL)
