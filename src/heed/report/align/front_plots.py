"""The plots of families of policies: points against the exact front, values against preference, methods in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from heed.report.align.plots import draw_front
from heed.report.common.formats import number
from heed.report.common.gather import Exact
from heed.report.common.plot_style import INK, RULE, SOFT, Floats, Layout, colour_of, name_panel, panels

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class MethodPoints:
    """One method's policies.

    Attributes:
        method: its title.
        preferences: [n, K].
        values: [n, K].
        seeds: [n].
    """

    method: str
    preferences: Floats
    values: Floats
    seeds: Floats


LABEL = 30
"""Characters in a line of a method's name beside the panels."""


def plot_front(
    layout: Layout, names: list[str], methods: Sequence[MethodPoints], exact: Exact | None, optima: Floats
) -> Figure:
    """Plot every policy in the plane of two objectives, one panel a pair.

    Args:
        layout: the room there is.
        names: [K] of the objectives.
        methods: what was trained.
        exact: the exact front, where the world has one.
        optima: [n, K] exact optima at the same preferences; may be empty.
    """
    pairs = list(combinations(range(len(names)), 2))
    single = len(pairs) == 1
    height = (4.6 if layout.columns > 2 else 3.8) if single else 2.9
    figure, grid = panels(layout, len(pairs), height, columns=1 if single or layout.columns == 2 else 3)
    for axes, (a, b) in zip(grid, pairs, strict=True):
        everything = np.concatenate([method.values[:, [a, b]] for method in methods] or [np.empty((0, 2))])
        if exact is not None:
            draw_front(axes, exact, (a, b), include=np.empty((0, 2)))
            axes.plot(*optima[:, [a, b]].T, "o", color=INK, markersize=7, markerfacecolor="none", zorder=3)
        else:
            axes.grid(axis="x", color=RULE, linewidth=0.6)
            axes.set_xlabel(f"{names[a]}  (more is better)")
            axes.set_ylabel(f"{names[b]}  (more is better)")
        for index, method in enumerate(methods):
            axes.scatter(
                method.values[:, a],
                method.values[:, b],
                s=26,
                marker=MARKS[index % len(MARKS)],
                color=colour_of(index),
                alpha=0.85,
                linewidth=0,
                zorder=4,
            )
        if exact is not None:
            (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
            gone = int(((everything < [x0, y0]) | (everything > [x1, y1])).any(1).sum())
            if gone:
                words = f"{gone} of {len(everything)} policies lie outside"
                axes.text(0.015, 0.02, words, transform=axes.transAxes, color=SOFT, ha="left", va="bottom")
    return figure


def plot_achieved(
    layout: Layout, names: list[str], methods: Sequence[MethodPoints], exact: Exact | None, optima: Floats
) -> Figure:
    """Plot the value of each objective against the preference for it: a method that listens rises.

    Args:
        layout: the room there is.
        names: [K] of the objectives.
        methods: what was trained; each point is one policy, the line joins the means over seeds.
        exact: the exact front; its range sets the vertical axis, so that stray policies do not squeeze it.
        optima: [n, K] exact optima at the preferences of the first method, in their order; may be empty.
    """
    figure, grid = panels(layout, len(names), 2.5 if layout.columns > 2 else 2.2, columns=2)
    for objective, axes in enumerate(grid):
        if len(optima) and methods:
            preference, first = np.unique(distinct(methods[0].preferences)[:, objective], return_index=True)
            axes.plot(preference, optima[first, objective], "o-", color=INK, markerfacecolor="none", linewidth=1)
        for index, method in enumerate(methods):
            weights, values = method.preferences[:, objective], method.values[:, objective]
            mark = MARKS[index % len(MARKS)]
            axes.scatter(weights, values, s=16, alpha=0.6, linewidth=0, marker=mark, color=colour_of(index))
            levels = np.unique(weights)
            means = [values[weights == level].mean() for level in levels]
            axes.plot(levels, means, color=colour_of(index), linewidth=1.6)
        if exact is not None:
            size = exact.ideal[objective] - exact.nadir[objective]
            axes.set_ylim(exact.nadir[objective] - 0.35 * size, exact.ideal[objective] + 0.12 * size)
        axes.set_xlabel(f"preference for {names[objective]}")
        name_panel(axes, names[objective])
    return figure


def distinct(rows: Floats) -> Floats:
    """Keep the first of equal rows, in the order in which they come.

    >>> distinct(np.array([[0.5, 0.5], [0.1, 0.9], [0.5, 0.5]])).tolist()
    [[0.5, 0.5], [0.1, 0.9]]
    """
    _, first = np.unique(rows.round(9), axis=0, return_index=True)
    return np.asarray(rows[np.sort(first)], dtype=np.float64)


def plot_comparison(layout: Layout, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot methods in rows and measures in panels: a dot for the mean, a line for the interval.

    Args:
        layout: the room there is.
        columns: measures with at least one number.
        rows: ``{"method", column: {"mean", "low", "high"}}``.
    """
    narrow = layout.columns == 2
    labels = [folded(str(row["method"])) for row in rows]
    height = 0.55 + (0.1 + 0.14 * max(label.count("\n") + 1 for label in labels)) * len(rows)
    figure, grid = panels(layout, len(columns), height, columns=1 if narrow else min(len(columns), 3))
    places = np.arange(len(rows))[::-1]
    across = 1 if narrow else min(len(columns), 3)
    for index, (axes, column) in enumerate(zip(grid, columns, strict=True)):
        cells = [spans(row.get(column)) for row in rows]
        window = crowd([mean for mean, _, _ in cells if mean is not None])
        for place, (mean, low, high) in zip(places, cells, strict=True):
            if mean is None:
                continue
            if window is not None and not window[0] <= mean <= window[1]:
                _point_away(axes, mean, place, right=mean > window[1])
                continue
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=SOFT, linewidth=1.6, zorder=2)
            axes.plot(mean, place, "o", color=colour_of(0), markersize=5, markeredgewidth=0, zorder=3)
        if window is not None:
            axes.set_xlim(*window)
        axes.set_yticks(places, labels if index % across == 0 else [])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis="y", colors=INK)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        name_panel(axes, str(column))
    return figure


def folded(method: str) -> str:
    r"""A method's name in lines that leave room for the panels, folded before its settings.

    >>> folded("gapo:p=1"), folded("lagrangian:constraints=harmless>=-0.5:rate=0.05")
    ('gapo:p=1', 'lagrangian\n:constraints=harmless>=-0.5\n:rate=0.05')
    """
    lines = [""]
    for piece in method.replace(":", "\n:").splitlines():
        if lines[-1] and len(lines[-1]) + len(piece) > LABEL:
            lines.append(piece)
        else:
            lines[-1] += piece
    return "\n".join(lines)


def crowd(means: Sequence[float]) -> tuple[float, float] | None:
    """Find a window that leaves out one stray value, where that value would squeeze all others together.

    Args:
        means: of all methods.

    Returns:
        The window with a margin, or None if no value strays: none that, left out, shrinks the range to a third.

    >>> crowd([0.0, -1.0, -2.0, -25.0]), crowd([0.0, 1.0, 2.0, 3.0])
    ((-2.3, 0.3), None)
    """
    ordered = sorted(means)
    if len(ordered) < 4:
        return None
    low, high = min((ordered[1:], ordered[:-1]), key=lambda rest: rest[-1] - rest[0])[:: len(ordered) - 2]
    if not 0 < 3 * (high - low) < ordered[-1] - ordered[0]:
        return None
    margin = 0.15 * (high - low)
    return low - margin, high + margin


def _point_away(axes: Axes, value: float, place: float, right: bool) -> None:
    """Mark a value beyond the panel's edge: an arrow towards it, and what it is."""
    edge, inward = (1.0, -12) if right else (0.0, 12)
    axes.annotate(
        number(value),
        xy=(edge, place),
        xytext=(inward, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        color=SOFT,
        arrowprops={"arrowstyle": "-|>", "color": colour_of(0), "shrinkA": 2, "shrinkB": 0},
    )


def spans(cell: Any) -> tuple[float | None, float | None, float | None]:
    """Read a cell as mean, low and high; a bare number is a mean.

    >>> spans({"mean": 2.0, "low": 1.0, "high": 3.0}), spans(2), spans(None)
    ((2.0, 1.0, 3.0), (2.0, None, None), (None, None, None))
    """
    if isinstance(cell, Mapping):
        mean, low, high = (cell.get(name) for name in ("mean", "low", "high"))
        return _finite(mean), _finite(low), _finite(high)
    return _finite(cell), None, None


def _finite(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    return float(value) if usable else None
