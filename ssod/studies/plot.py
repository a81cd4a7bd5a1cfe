"""Draws the gains of a study."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssod.studies.plan import START
from ssod.studies.results import Row, half_width


def plot_gains(rows: Sequence[Row], baseline: str, path: Path) -> None:
    """Draw each method's gain over the baseline, one panel per data set and budget.

    A bar across a point is its 95 % confidence interval, shown for three or more seeds.

    Args:
        rows: Rows of a study's table.
        baseline: The method that the others are measured against.
        path: The picture.
    """
    rows = [r for r in rows if r.method not in (baseline, START) and r.gain is not None]
    methods = list(dict.fromkeys(row.method for row in rows))
    cells = list(dict.fromkeys((row.data, row.percent) for row in rows))
    figure = Figure(figsize=(2 + 2.2 * max(len(cells), 1), 1.2 + 0.35 * len(methods)), dpi=120)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(len(cells), 1), sharey=True, squeeze=False)[0]
    colours = matplotlib.colormaps['tab10']
    for panel, (data, percent) in zip(panels, cells, strict=False):
        panel.axvline(0, color='0.6', linewidth=1)
        for row in rows:
            if (row.data, row.percent) == (data, percent):
                place = methods.index(row.method)
                panel.errorbar(
                    row.gain,
                    place,
                    xerr=half_width(row.gains),
                    fmt='o',
                    color=colours(place % 10),
                    capsize=3,
                )
        panel.set_title(f'{data}, {percent:g} %', fontsize=9, parse_math=False)
        panel.set_xlabel('gain (mAP)', fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(axis='x', alpha=0.3)
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].set_ylim(max(len(methods), 1) - 0.5, -0.5)
    figure.tight_layout()
    figure.savefig(path)
