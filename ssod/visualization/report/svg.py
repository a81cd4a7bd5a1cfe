"""Charts as inline SVG, in the page's colours and font."""

import io
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssod.visualization.curves import draw_panel
from ssod.visualization.panels import COLOURS, Panel

SIZE = (5.6, 2.35)
"""Width and height in inches of a chart, two in a row; the page scales it."""
SMALL = (3.9, 1.75)
"""The same for three in a row."""

_STYLE: dict[Any, Any] = {
    'svg.fonttype': 'none',
    'font.size': 8,
    'text.color': COLOURS['muted'],
    'axes.labelcolor': COLOURS['muted'],
    'xtick.color': COLOURS['muted'],
    'ytick.color': COLOURS['muted'],
    'axes.facecolor': 'none',
}


class Key(NamedTuple):
    """A line of a legend: name, colour and style of the curve, and its value as text."""

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
    panel: Panel,
    spans: Sequence[tuple[float, float]] = (),
    size: tuple[float, float] = SIZE,
    last: int = 1,
) -> Chart:
    """Draw curves over the iterations.

    Args:
        panel: The curves.
        spans: First and last iteration of shaded stretches, such as alarms.
        size: :data:`SIZE` or :data:`SMALL`.
        last: Iteration the axis reaches at least, so that charts can be compared.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = blank(size)
        drawn = draw_panel(axes, panel, width=1.6)
        if not drawn:
            return Chart(panel.title, panel.unit, missing=panel.missing)
        for begin, end in spans:
            axes.axvspan(begin, end, color=COLOURS['alarm'], alpha=0.15, linewidth=1)
        axes.set_xlim(0, 1.02 * max(1, last, *(line.series[-1][0] for line, _ in drawn)))
        axes.xaxis.set_major_locator(MaxNLocator(round(1.3 * size[0]), integer=True))
        axes.xaxis.set_major_formatter('{x:,.0f}')
        drawing = as_svg(figure, panel.title)
    keys = [Key(line.name, line.colour, line.style, value) for line, value in drawn]
    return Chart(panel.title, panel.unit, drawing, keys)


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
            axes.axvline(mark, color=COLOURS['muted'], linestyle='--', linewidth=1.2)
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
    axes.grid(color=COLOURS['grid'], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(COLOURS['grid'])
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
