"""The curves of a run as one picture."""

import os
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssod.files import write_whole
from ssod.visualization.panels import COLOURS, Line, Panel, panels_of
from ssod.visualization.scalars import alarm_spans, read_scalars

NAMED_ALARMS = 5
"""How many alarms the title names."""


def plot_curves(work_dir: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Draw a run's curves; works at any time, also during a run.

    The panels are those of :func:`~ssod.visualization.panels.panels_of`, over the iterations. A
    panel without data says so. While an alarm of :class:`~ssod.teachers.watch.TeacherWatchHook` was
    on, every panel is shaded, and the title names it.

    Args:
        work_dir: The run's folder.
        path: The picture to write, 1500 x 1050 pixels as PNG; its folder is created if missing.

    Raises:
        FileNotFoundError: If ``work_dir`` is not a folder.
    """
    records = read_scalars(work_dir)
    figure = Figure(figsize=(10, 7), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    last = max((record['step'] for record in records), default=0)
    alarms = alarm_spans(records, last)
    heading = _heading(Path(work_dir).resolve().name, alarms)
    figure.suptitle(heading, color=COLOURS['muted'], parse_math=False)
    for axes, panel in zip(figure.subplots(2, 2).flat, panels_of(records), strict=True):
        axes.set_title(panel.title, loc='left', fontsize='medium', fontweight='bold')
        if not draw_panel(axes, panel):
            axes.set(xticks=[], yticks=[], facecolor='#F7F7F7')
            axes.spines[:].set_visible(False)
            muted = COLOURS['muted']
            axes.text(0.5, 0.5, panel.missing, color=muted, ha='center', transform=axes.transAxes)
            continue
        for _, begin, end in alarms:
            axes.axvspan(begin, end, color=COLOURS['alarm'], alpha=0.15, linewidth=1)
        axes.set_xlim(0, 1.02 * max(last, 1))
        axes.set_xlabel('iteration')
        axes.set_ylabel(panel.unit)
        axes.grid(color=COLOURS['grid'], linewidth=0.8)
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(frameon=False)
    path, picture = Path(path), BytesIO()
    figure.savefig(picture, format=path.suffix[1:] or 'png')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, picture.getvalue())


def draw_panel(axes: Axes, panel: Panel, width: float = 1.8) -> list[tuple[Line, str]]:
    """Draw a panel's curves.

    Args:
        axes: Where they go; its value axis is set.
        panel: The panel.
        width: Of the lines, in points.

    Returns:
        The curves that have a point, each with its last value as text.
    """
    drawn = []
    for line in panel.lines:
        if not line.series:
            continue
        steps, values = zip(*line.series, strict=True)
        told = format(values[-1], line.digits) if line.digits else ''
        # Markers show the points of a short series, above all a single one, but clutter a long one.
        marker = 'o' if len(steps) <= 30 and line.style != ':' else None
        axes.plot(
            steps,
            values,
            line.style,
            color=COLOURS[line.colour],
            label=f'{line.name} {told}',
            marker=marker,
            markersize=2 * width,
            linewidth=width,
        )
        drawn.append((line, told))
    if panel.log:
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')
    elif drawn:
        # With a margin that keeps a line at zero clear of the frame.
        limit = panel.top or axes.get_ylim()[1]
        axes.set_ylim(-0.02 * limit, 1.02 * limit if panel.top else limit)
    return drawn


def _heading(name: str, alarms: list[tuple[str, int, int]]) -> str:
    named = [f'{alarm} {begin}–{end}' for alarm, begin, end in alarms[:NAMED_ALARMS]]
    if len(alarms) > NAMED_ALARMS:
        named.append(f'{len(alarms) - NAMED_ALARMS} more')
    return f'{name}\nalarms: {", ".join(named)}' if alarms else name
