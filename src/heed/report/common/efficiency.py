"""Return and catastrophes of several methods, by the steps that they take and by the judgements that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, MaxNLocator

from heed.report.common.blocks import Block, Figure, Key, Table
from heed.report.common.formats import interval
from heed.report.common.plot_style import SERIES, Floats, Layout, colour_of, css_colour, draw, name_panel, panels

AXES = {"steps": "steps of the environment", "judgements": "judgements asked"}
MEASURES = {"return": "return, latest episodes", "catastrophes": "catastrophes so far"}
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
"""Lines of the first eight methods, of the next eight, and of all others."""


def efficiency_blocks(curves: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Show the curves and tabulate them at each quarter of an axis.

    Args:
        curves: as ``efficiency.json`` holds them: ``{axis: {"at": [m], "methods": {method: {measure: {"low", "median",
            "high"}}}}}``, each band a list [m] in which None stands where there is no value.
        tables: ``{"title", "columns", "rows"}``, rows as those of the comparison's own table.
    """
    names = list(curves["steps"]["methods"])
    picture = draw(
        partial(plot_efficiency, curves=curves), "efficiency", "Return and catastrophes by steps and judgements"
    )
    key = [Key(css_colour(colour_of(i)), name, "line" if i < len(SERIES) else "dashed") for i, name in enumerate(names)]
    caption = (
        "Lines are medians over seeds, bands reach from the lower to the upper quartile. Return is the mean of the "
        "latest 20 episodes that were over. By judgements: how far a run came on so many. A method that asks nobody is "
        "level, at where it ended; one that is left alone jumps, where its judgements end, to the dot of what followed."
    )
    shown: list[Block] = [Figure(picture, "Sample efficiency.", caption, key)]
    for table in tables:
        columns = [str(column) for column in table["columns"]]
        rows = [[str(row["method"]), *(interval(row.get(column)) for column in columns)] for row in table["rows"]]
        shown.append(Table(["method", *columns], rows, f"{table['title']}: median over seeds, quartiles in brackets."))
    return shown


def plot_efficiency(layout: Layout, curves: Mapping[str, Any]) -> Picture:
    """Plot each measure over each axis: a line for the median, a band for the quartiles.

    Args:
        layout: the room there is.
        curves: see `efficiency_blocks`; an axis on which nothing moves is left out.
    """
    axes = [axis for axis in AXES if axis in curves and len(curves[axis]["at"]) > 1]
    places = [(axis, measure) for measure in MEASURES for axis in axes]
    wide = layout.columns > 2
    figure, grid = panels(layout, len(places), 2.5 if wide else 2.1, columns=len(axes) if wide else 1)
    for panel, (axis, measure) in zip(grid, places, strict=True):
        at = np.array(curves[axis]["at"], np.float64)
        for index, bands in enumerate(curves[axis]["methods"].values()):
            _band(panel, at, bands[measure], index, level=axis == "steps")
        if measure == "catastrophes":
            panel.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            panel.set_ylim(bottom=0, top=max(1.0, panel.get_ylim()[1]))
        panel.set_xlim(0, (1 if axis == "steps" else 1.04) * at[-1])  # room for what comes of being left alone
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panel.set_xlabel(AXES[axis])
        name_panel(panel, MEASURES[measure])
    return figure


def _band(panel: Axes, at: Floats, band: Mapping[str, Sequence[float | None]], index: int, level: bool) -> None:
    low, median, high = (np.array(band[name], np.float64) for name in ("low", "median", "high"))
    dashes = DASHES[min(index // len(SERIES), len(DASHES) - 1)]
    step = {} if level else {"drawstyle": "steps-post"}
    panel.fill_between(at, low, high, color=colour_of(index), alpha=0.16, linewidth=0, step=None if level else "post")
    panel.plot(at, median, color=colour_of(index), linewidth=1.6, linestyle=dashes, **step)  # type: ignore[arg-type] # matplotlib's own
    if not level:
        panel.plot(at[-1], median[-1], "o", color=colour_of(index), markersize=5, markeredgewidth=0, clip_on=False)
