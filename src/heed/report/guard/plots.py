"""The plots of a guarded run: catastrophes, return, blocks, latency, and the quality of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from heed.guard.run.counts import Bools, Decisions
from heed.report.common.plot_style import (
    FILL,
    INK,
    RULE,
    SOFT,
    Floats,
    Layout,
    colour_of,
    name_panel,
    panels,
    plain,
    smooth,
)

NEEDLESS, EARLY, MISSED = colour_of(4), colour_of(1), colour_of(3)
MOST_POINTS = 400
"""Episodes that are drawn one by one; of more, neighbours are averaged."""
WINDOW = 21
"""Episodes of a moving average."""
MOST_VARIABLES = 8


@dataclass(frozen=True)
class Curve:
    """One run's decisions as others are held against them.

    Attributes:
        label: what to call it.
        decisions: of the run.
        colour: a stand-in of `plot_style`.
        overseen: whether anybody judged in its oversight.
    """

    label: str
    decisions: Decisions
    colour: str
    overseen: bool = True


def plot_catastrophes(layout: Layout, curves: Sequence[Curve]) -> Figure:
    """Plot catastrophes so far over the steps, the first run's oversight shaded; a dot is where a guard took over.

    Args:
        layout: the room there is.
        curves: the run in question first.
    """
    figure, (axes,) = panels(layout, 1, 3.1 if layout.columns > 2 else 2.7, columns=1)
    if curves[0].overseen:
        shade(axes, curves[0].decisions)
    for curve in reversed(curves):
        steps, totals = curve.decisions.cumulative_catastrophes()
        axes.plot(
            steps, totals, color=curve.colour, linewidth=1.9 if curve is curves[0] else 1.4, drawstyle="steps-post"
        )
        alone = np.flatnonzero(curve.decisions.alone)
        if curve.overseen and len(alone):
            happened = curve.decisions.catastrophe[: alone[0]].sum()
            axes.plot(alone[0], happened, "o", color=curve.colour, markersize=6, markeredgewidth=0, zorder=4)
    axes.set_ylabel("catastrophes so far")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_ylim(bottom=0, top=max(1.0, axes.get_ylim()[1]))
    _step_axis(axes)
    return figure


def plot_learning(layout: Layout, decisions: Decisions, overseen: bool) -> Figure:
    """Plot the return of each episode and, where a goal was ever reached, the share of episodes that reach it.

    Args:
        layout: the room there is.
        decisions: with at least one whole episode.
        overseen: whether to shade the oversight.
    """
    steps, returns, reached = decisions.episodes()
    shown = [("episode return", returns)]
    if reached.any():
        shown.append(("episodes that reach the goal", reached.astype(np.float64)))
    figure, grid = panels(
        layout, len(shown), 2.2 if layout.columns > 2 else 1.9, columns=2 if layout.columns > 2 else 1
    )
    for axes, (title, values) in zip(grid, shown, strict=True):
        if overseen:
            shade(axes, decisions)
        if values is returns:
            at, few = thinned(steps), thinned(values)
            axes.plot(at, few, "o", color=colour_of(0), markersize=2.6, markeredgewidth=0, alpha=0.45)
        else:
            axes.set_ylim(-0.03, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.plot(thinned(steps), thinned(smooth(values, WINDOW)), color=colour_of(0), linewidth=1.7)
        name_panel(axes, title)
        _step_axis(axes)
    return figure


def plot_blocks(layout: Layout, decisions: Decisions, overseen: bool) -> Figure:
    """Plot blocks in 100 steps, the needless and the early ones among them, and the missed, where an oracle knows.

    Args:
        layout: the room there is.
        decisions: the run's.
        overseen: whether to shade the oversight.
    """
    known = decisions.judged_by_oracle
    figure, grid = panels(
        layout, 2 if known else 1, 2.2 if layout.columns > 2 else 1.9, columns=2 if layout.columns > 2 else 1
    )
    blocks = [(decisions.blocked, SOFT)]
    shown = [("blocks in 100 steps", blocks)]
    if known:
        blocks += [(decisions.needless_blocks, NEEDLESS), (decisions.early_blocks, EARLY)]
        shown.append(("missed in 100 steps", [(decisions.missed_blocks, MISSED)]))
    for axes, (title, parts) in zip(grid, shown, strict=True):
        if overseen:
            shade(axes, decisions)
        for flags, colour in parts:
            middles, rates = per_hundred(flags)
            width = 0.86 * (middles[1] - middles[0] if len(middles) > 1 else len(flags))
            axes.bar(middles, rates, width, color=colour, linewidth=0)
        axes.set_ylim(bottom=0, top=max(1.0, axes.get_ylim()[1]))
        name_panel(axes, title)
        _step_axis(axes)
    return figure


def plot_fits(layout: Layout, fits: Sequence[Mapping[str, Any]], cap: float | None) -> Figure:
    """Plot the threshold in force after each fit, and the share of the steps let pass that it flags.

    Args:
        layout: the room there is.
        fits: with ``threshold`` and, where the danger was learnt, ``flagged``.
        cap: share that may be flagged, if any.
    """
    figure, grid = panels(layout, 2, 2.0 if layout.columns > 2 else 1.7, columns=2 if layout.columns > 2 else 1)
    for axes, (title, name) in zip(
        grid, (("threshold", "threshold"), ("flagged of the let pass", "flagged")), strict=True
    ):
        values = np.array([np.nan if fit.get(name) is None else fit[name] for fit in fits], np.float64)
        axes.plot(np.arange(1, len(fits) + 1), values, "o-", color=INK, linewidth=1.2, markersize=4, markeredgewidth=0)
        if name == "flagged":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if cap is not None:
                axes.axhline(cap, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlim(0.5, len(fits) + 0.5)
        name_panel(axes, title)
        axes.set_xlabel("fit")
    return figure


def plot_latency(layout: Layout, groups: Sequence[tuple[str, Floats]]) -> Figure:
    """Plot how long decisions take, on a logarithmic scale; dashed lines are their median and 99th percentile.

    Args:
        layout: the room there is.
        groups: names and milliseconds [n], n > 0, of kinds of decisions.
    """
    figure, grid = panels(
        layout, len(groups), 2.0 if layout.columns > 2 else 1.7, columns=2 if layout.columns > 2 else 1
    )
    for axes, (title, values) in zip(grid, groups, strict=True):
        times = np.maximum(values, 1e-3)
        low, high = float(times.min()) / 1.1, float(times.max()) * 1.1
        counts, edges = np.histogram(times, np.geomspace(low, high, 33))
        axes.bar(edges[:-1], counts / len(times), np.diff(edges), align="edge", color=colour_of(0), linewidth=0)
        for share in (50, 99):
            axes.axvline(float(np.percentile(times, share)), color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(which="minor", length=0)
        axes.set_xlim(low, high)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        name_panel(axes, title)
        axes.set_xlabel("milliseconds")
    return figure


def plot_dynamics(layout: Layout, reported: Mapping[str, Any]) -> Figure:
    """Plot how far the dynamics drift over the steps ahead, and how often the truth lies in their intervals.

    Args:
        layout: the room there is.
        reported: the dynamics' part of ``judges.json``.
    """
    figure, grid = panels(layout, 2, 2.5 if layout.columns > 2 else 2.2, columns=2 if layout.columns > 2 else 1)
    drift = drifts(reported)
    for index, variable in enumerate(shown_variables(reported)):
        grid[0].plot(
            np.arange(1, len(drift) + 1),
            drift[:, variable],
            "o-",
            color=colour_of(index),
            linewidth=1.5,
            markersize=2.6,
        )
        covered = [np.nan if row[variable] is None else row[variable] for row in reported["coverage"]]
        grid[1].plot(reported["levels"], covered, "o-", color=colour_of(index), linewidth=1.5, markersize=3.4)
    grid[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{plain(100 * value)}%"))
    grid[0].set_ylim(bottom=0)
    grid[0].set_xlabel("steps ahead")
    name_panel(grid[0], "error", "of what a variable varies")
    _diagonal(grid[1], "should lie within", "lies within")
    name_panel(grid[1], "calibration")
    return figure


def plot_reliability(layout: Layout, reported: Mapping[str, Any]) -> Figure:
    """Plot the share that was blocked against the probability that the blockers give; dots grow with the labels.

    Args:
        layout: the room there is.
        reported: the blockers' part of ``judges.json``.
    """
    figure, grid = panels(layout, 2, 2.7 if layout.columns > 2 else 2.3, columns=2 if layout.columns > 2 else 1)
    filled = [i for i, count in enumerate(reported["count"]) if count and reported["predicted"][i] is not None]
    predicted, observed = ([reported[name][i] for i in filled] for name in ("predicted", "observed"))
    counts = np.array([reported["count"][i] for i in filled], np.float64)
    grid[0].plot(predicted, observed, color=colour_of(0), linewidth=1.2, alpha=0.6)
    grid[0].scatter(predicted, observed, 8 + 60 * counts / counts.max(), color=colour_of(0), linewidths=0, zorder=3)
    _diagonal(grid[0], "the blockers say", "the overseer says")
    name_panel(grid[0], "reliability", "blocks weighted")
    bins = len(reported["count"])
    grid[1].bar((np.array(filled) + 0.5) / bins, counts, 0.86 / bins, color=colour_of(0), linewidth=0)
    grid[1].set_yscale("symlog", linthresh=1)
    grid[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    grid[1].set_xlim(0, 1)
    grid[1].set_xlabel("the blockers say")
    name_panel(grid[1], "labels", "logarithmic")
    return figure


def per_hundred(flags: Bools, most: int = 60) -> tuple[Floats, Floats]:
    """How often something happens, in windows of equal length: of 100 steps, or more if else there are too many.

    Args:
        flags: [N].
        most: windows.

    Returns:
        The middles of the windows in steps, and events in 100 steps, [m] each; a last window shorter than half of the
        others is joined to the one before it.

    >>> per_hundred(np.arange(220) < 150)
    (array([ 50., 160.]), array([100.        ,  41.66666667]))
    """
    if not len(flags):
        return np.empty(0), np.empty(0)
    width = 100 * max(1, -(-len(flags) // (100 * most)))
    edges = np.arange(0, len(flags), width)
    if len(edges) > 1 and len(flags) - edges[-1] < width / 2:
        edges = edges[:-1]
    ends = np.append(edges[1:], len(flags))
    total = np.concatenate([[0], np.cumsum(flags)])
    return (edges + ends) / 2, 100 * (total[ends] - total[edges]) / (ends - edges)


def drifts(reported: Mapping[str, Any]) -> Floats:
    """The dynamics' error after 1, ..., k steps as a share of each variable's standard deviation, [k, S].

    Args:
        reported: the dynamics' part of ``judges.json``; NaN where a number is missing, or a variable never varies.
    """
    error = np.array([[np.nan if e is None else e for e in row] for row in reported["error"]], np.float64)
    spread = np.array([s if s else np.nan for s in reported["spread"]], np.float64)
    return np.asarray(error / spread)


def shown_variables(reported: Mapping[str, Any]) -> list[int]:
    """Numbers of the variables that `plot_dynamics` shows: the worst predicted where there are too many.

    Args:
        reported: the dynamics' part of ``judges.json``.
    """
    last = np.nan_to_num(drifts(reported)[-1], nan=-1.0)
    worst = np.argsort(-last, kind="stable")[:MOST_VARIABLES]
    return sorted(int(variable) for variable in worst)


def shade(axes: Axes, decisions: Decisions) -> None:
    """Shade the steps of oversight."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~decisions.alone, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        axes.axvspan(float(start), float(end), color=FILL, linewidth=0, zorder=0)


def thinned(values: Floats) -> Floats:
    """Averages of neighbours, so that at most `MOST_POINTS` are left; the last ones may be fewer to an average."""
    every = -(-len(values) // MOST_POINTS)
    return np.array([values[i : i + every].mean() for i in range(0, len(values), max(1, every))], np.float64)


def _diagonal(axes: Axes, across: str, up: str) -> None:
    """Make a panel of shares against shares, where the perfect ones lie on the diagonal."""
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(across)
    axes.set_ylabel(up)


def _step_axis(axes: Axes) -> None:
    axes.margins(x=0.01)
    axes.set_xlim(left=0)
    axes.set_xlabel("step")
