"""Charts as inline SVG, in the page's colours and font."""

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssod.visualization.curves import ALARM, CONSISTENCY, NEUTRAL, STUDENT, TEACHER

GRID = '#E4E4E4'

COLOURS: Mapping[str, str] = {
    'teacher': TEACHER,
    'student': STUDENT,
    'consistency': CONSISTENCY,
    'muted': NEUTRAL,
    'alarm': ALARM,
    'grid': GRID,
}
"""The page's colours by name; the page has a light and a dark version of each."""

SIZE = (5.6, 2.35)
"""Width and height in inches of a chart, two in a row; the page scales it."""
SMALL = (3.9, 1.75)
"""The same for three in a row."""

_STYLE: dict[Any, Any] = {
    'svg.fonttype': 'none',
    'font.size': 8,
    'text.color': NEUTRAL,
    'axes.labelcolor': NEUTRAL,
    'xtick.color': NEUTRAL,
    'ytick.color': NEUTRAL,
    'axes.facecolor': 'none',
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


class Key(NamedTuple):
    """A line of a legend: name, colour, style as in :class:`Line`, and the value as text."""

    name: str
    colour: str
    style: str
    value: str


class Chart(NamedTuple):
    """A chart on the page.

    Args:
        title: What is shown.
        unit: Unit of the values.
        svg: The drawing; empty if there is nothing to draw.
        keys: The legend.
        missing: Why there is nothing to draw.
    """

    title: str
    unit: str
    svg: Markup = Markup()
    keys: Sequence[Key] = ()
    missing: str = ''


def line_chart(
    title: str,
    unit: str,
    lines: Sequence[Line],
    missing: str,
    spans: Sequence[tuple[float, float]] = (),
    log: bool = False,
    top: float | None = None,
    size: tuple[float, float] = SIZE,
    last: int = 1,
) -> Chart:
    """Draw curves over the iterations; those without a point are left out.

    Args:
        title: What is shown.
        unit: Unit of the values.
        lines: The curves.
        missing: What to say if none has a point.
        spans: First and last iteration of shaded stretches, such as alarms.
        log: Whether the value axis is logarithmic; otherwise it begins at 0.
        top: A fixed end of the value axis.
        size: :data:`SIZE` or :data:`SMALL`.
        last: Iteration the axis reaches at least, so that charts can be compared.
    """
    lines = [line for line in lines if line.series]
    if not lines:
        return Chart(title, unit, missing=missing)
    with matplotlib.rc_context(_STYLE):
        figure, axes = blank(size)
        for line in lines:
            _draw(axes, line)
        for begin, end in spans:
            axes.axvspan(begin, end, color=ALARM, alpha=0.15, linewidth=1)
        axes.set_xlim(0, 1.02 * max(1, last, *(line.series[-1][0] for line in lines)))
        axes.xaxis.set_major_locator(MaxNLocator(round(1.3 * size[0]), integer=True))
        axes.xaxis.set_major_formatter('{x:,.0f}')
        if log:
            axes.set_yscale('log')
            axes.yaxis.set_major_formatter('{x:g}')
        else:
            limit = top or axes.get_ylim()[1]
            axes.set_ylim(-0.02 * limit, 1.02 * limit if top else limit)
        drawing = as_svg(figure, title)
    values = [format(line.series[-1][1], line.digits) if line.digits else '' for line in lines]
    pairs = zip(lines, values, strict=True)
    keys = [Key(line.name, line.colour, line.style, value) for line, value in pairs]
    return Chart(title, unit, drawing, keys)


def bar_chart(
    title: str,
    unit: str,
    edges: Sequence[float],
    stacks: Sequence[tuple[str, Sequence[int], str]],
    mark: float | None = None,
) -> Chart:
    """Draw a histogram with stacked bars.

    Args:
        title: What is shown.
        unit: Unit of the counts.
        edges: Edges of the bins, one more than there are counts.
        stacks: Name, count in each bin and colour, from the bottom up.
        mark: A threshold, drawn as a vertical line.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = blank(SIZE)
        below = [0] * (len(edges) - 1)
        widths = [0.92 * (b - a) for a, b in itertools.pairwise(edges)]
        for _, counts, colour in stacks:
            axes.bar(edges[:-1], counts, widths, below, align='edge', color=COLOURS[colour])
            below = [a + b for a, b in zip(below, counts, strict=True)]
        axes.set_xlim(edges[0], edges[-1])
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if mark is not None:
            axes.axvline(mark, color=NEUTRAL, linestyle='--', linewidth=1.2)
        drawing = as_svg(figure, title)
    keys = [Key(name, colour, 'bar', f'{sum(counts):,}') for name, counts, colour in stacks]
    if mark is not None:
        keys.append(Key('threshold', 'muted', '--', f'{mark:g}'))
    return Chart(title, unit, drawing, keys)


def blank(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure with one panel in the page's style; ``size`` is in inches."""
    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(GRID)
    axes.tick_params(length=0)
    return figure, axes


def as_svg(figure: Figure, label: str) -> Markup:
    """A figure as an element of the page, which fills the width it is given.

    Args:
        figure: The figure.
        label: What it shows, for screen readers.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    figure.savefig(file, format='svg', metadata=nothing, transparent=True)
    text = file.getvalue()
    text = text[text.index('<svg') :]
    # A style element would apply to the whole page, and ids have to be unique there.
    text = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>', '', text, flags=re.DOTALL)
    text = re.sub(r'<g id="[a-z][\w.]*_\d+"', '<g', text)
    prefix = re.sub(r'\W+', '-', label.lower())
    text = re.sub(r'((?: id="|href="#|url\(#))', rf'\1{prefix}-', text)
    for name, colour in COLOURS.items():
        text = re.sub(f'(: ?){colour}', rf'\1var(--{name})', text, flags=re.IGNORECASE)
    view = re.search(r'viewBox="[^"]*"', text)
    box = view[0] if view else ''
    opening = f'<svg {box} role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r'^<svg[^>]*>', opening, text))


def _draw(axes: Axes, line: Line) -> None:
    steps, values = zip(*line.series, strict=True)
    # Markers show the points of a short series, above all a single one, but clutter a long one.
    marker = 'o' if len(steps) <= 30 and line.style != ':' else None
    axes.plot(
        steps,
        values,
        line.style,
        color=COLOURS[line.colour],
        marker=marker,
        markersize=3,
        linewidth=1.6,
    )
