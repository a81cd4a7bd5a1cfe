"""The curves of a run as charts for its page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssod.schedules import build_schedule
from ssod.visualization.panels import Line, Panel, panels_of
from ssod.visualization.report.svg import SMALL, Chart, line_chart
from ssod.visualization.scalars import Record, alarm_spans, curve_of

POINTS = 400
"""How many points are drawn of a schedule."""


def charts_of(records: Sequence[Record], iteration: int, usual: float | None = None) -> list[Chart]:
    """The charts of what a run has logged.

    Args:
        records: See :func:`~ssod.visualization.scalars.read_scalars`.
        iteration: The run's last one.
        usual: Boxes in a labelled image, if that is known.
    """
    spans = [(begin, end) for _, begin, end in alarm_spans(records, iteration)]
    return [line_chart(panel, spans, last=iteration) for panel in panels_of(records, usual)]


def ramps_of(records: Sequence[Record], cfg: Mapping[str, Any] | None, burn_in: int) -> list[Chart]:
    """The charts of schedules: λ and α from the config, decay and learning rate as logged.

    Args:
        records: See :func:`~ssod.visualization.scalars.read_scalars`.
        cfg: The run's config, if there is one.
        burn_in: Iterations before the teacher begins.
    """
    decay = [Line('decay', curve_of(records, ['decay']), 'teacher', digits='.6g')]
    rate = [Line('learning rate', curve_of(records, ['lr']), 'student', digits='.3g')]
    return [
        _weights(cfg, burn_in),
        line_chart(
            Panel("The teacher's decay", 'share it keeps', decay, 'No decay logged.', top=1.0),
            size=SMALL,
        ),
        line_chart(
            Panel('Learning rate', 'first group', rate, 'No learning rate logged yet.'), size=SMALL
        ),
    ]


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
    return line_chart(Panel(title, unit, lines, ''), size=SMALL)
