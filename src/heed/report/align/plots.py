"""The plots of one align run: objectives, the plane of gold values, conflict, and the policy itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from heed.report.common.gather import Exact, RunRecord
from heed.report.common.plot_labels import Label, place_labels
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

SMOOTHING = 9


@dataclass(frozen=True)
class Path2D:
    """One run's way through the plane of gold values.

    Attributes:
        label: what to call it in the plot.
        points: [n, K] from the start to the end.
        colour: a stand-in of `plot_style`.
    """

    label: str
    points: Floats
    colour: str


def plot_objectives(layout: Layout, run: RunRecord) -> Figure:
    """Plot every objective over the steps: gold where the world tells it, below that the reward learnt from.

    Args:
        layout: the room there is.
        run: with at least one reward or gold value logged.
    """
    names = run.judged_names
    judges = [judge for judge in ("gold", "rewards") if any(_judged(run, judge, name) for name in names)]
    columns = len(names) if layout.columns > 2 or len(names) <= 2 else 2
    order = [(judge, name) for judge in judges for name in names]
    figure, grid = panels(layout, len(order), 1.9 if layout.columns > 2 else 1.55, columns=min(columns, 4))
    objectives = {objective.name: objective for objective in run.objectives()}
    for axes, (judge, name) in zip(grid, order, strict=True):
        colour = colour_of(names.index(name))
        _noisy_line(axes, *run.series(f"{judge}/{name}/mean"), colour)
        steps, values = run.series(f"eval/{judge}/{name}")
        axes.plot(steps, values, "o", color=colour, markersize=3.6, markeredgewidth=0, zorder=3)
        start = objectives[name].gold_start if judge == "gold" else objectives[name].proxy_start
        if start is not None:
            axes.axhline(start, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        name_panel(axes, name, "gold" if judge == "gold" else "reward")
        if judge == "rewards":
            axes.set_ylabel(objectives[name].unit)
        _step_axis(axes)
    return figure


def plot_conflict(layout: Layout, run: RunRecord) -> Figure:
    """Plot what the weighting saw: cosines, weights, norms and signal share over the steps.

    Args:
        layout: the room there is.
        run: with at least one of these logged.
    """
    pairs = [f"cosine/{a}~{b}" for a, b in combinations(run.names, 2)]
    groups = [("cosine", pairs)] + [
        (title, [f"{metric}/{name}" for name in run.names])
        for title, metric in (("weight", "weights"), ("gradient norm", "norm"), ("signal share", "signal"))
    ]
    groups = [(title, metrics) for title, metrics in groups if any(run.has(metric) for metric in metrics)]
    figure, grid = panels(layout, len(groups), 1.9 if layout.columns > 2 else 1.6, columns=2)
    for axes, (title, metrics) in zip(grid, groups, strict=True):
        if title == "cosine":
            axes.axhspan(-1, 0, color=FILL, linewidth=0)
            axes.axhline(0, color=SOFT, linewidth=0.8)
            axes.set_ylim(-1, 1)
        for index, metric in enumerate(metrics):
            colour = conflict_colour(run, index) if title == "cosine" else objective_colour(run, run.names[index])
            _noisy_line(axes, *run.series(metric), colour)
        if title in ("weight", "gradient norm"):
            _logarithmic_if_wide(axes, [run.series(metric)[1] for metric in metrics])
        if title == "signal share":
            axes.set_ylim(-0.03, 1.03)
        name_panel(axes, title, "shaded: conflict" if title == "cosine" else "")
        _step_axis(axes)
    return figure


POLICY_METRICS = (
    ("kl", "KL to the reference", "nats a token"),
    ("entropy", "entropy", "nats a token"),
    ("completions/mean_length", "reply length", "tokens"),
    ("well_formed", "well-formed", "share"),
)


def plot_policy(layout: Layout, run: RunRecord) -> Figure:
    """Plot the health of the policy: KL, entropy, reply length and the share of well-formed replies.

    Args:
        layout: the room there is.
        run: with at least one of these logged.
    """
    shown = [(metric, title, unit) for metric, title, unit in POLICY_METRICS if run.has(metric)]
    figure, grid = panels(layout, len(shown), 1.75 if layout.columns > 2 else 1.5)
    for axes, (metric, title, unit) in zip(grid, shown, strict=True):
        _noisy_line(axes, *run.series(metric), INK)
        if metric == "well_formed":
            axes.set_ylim(min(0.9, float(run.series(metric)[1].min())) - 0.02, 1.02)
        else:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if metric == "kl" else 0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        name_panel(axes, title)
        axes.set_ylabel(unit)
        _step_axis(axes)
    return figure


def plot_plane(layout: Layout, exact: Exact, paths: Sequence[Path2D]) -> Figure:
    """Plot runs through the plane of two gold objectives, against the exact front; one panel a pair of objectives.

    The axes hold the front and the common start; a run that leaves them is marked where it does.

    Args:
        layout: the room there is.
        exact: the front.
        paths: the runs, the one in question first.
    """
    pairs = list(combinations(range(len(exact.names)), 2))
    single = len(pairs) == 1
    columns = 1 if single else (3 if layout.columns > 2 else 1)
    height = (4.5 if layout.columns > 2 else 3.7) if single else 2.9
    figure, grid = panels(layout, len(pairs), height, columns=columns)
    for axes, pair in zip(grid, pairs, strict=True):
        ways = [path.points[:, list(pair)] for path in paths]
        front = draw_front(axes, exact, pair, include=np.concatenate([way[:1] for way in ways]), leaving=ways)
        labels = [_draw_path(axes, path, way) for path, way in zip(paths, ways, strict=True) if len(way)]
        if single:
            start = next((way[0] for way in ways if len(way)), front[0])
            place_labels(axes, [*labels, Label(start, "warm start", SOFT)], [front, *ways], layout.font)
    return figure


def draw_front(
    axes: Axes, exact: Exact, pair: tuple[int, int], include: Floats, leaving: Sequence[Floats] = ()
) -> Floats:
    """Draw the exact front of two objectives and what lies within reach, and set the axes to hold it.

    Args:
        axes: the panel.
        exact: the front.
        pair: which two objectives.
        include: [n, 2] points that the axes should hold too, unless they lie far off.
        leaving: [n, 2] each, ways that may end outside; there the axes leave room to see them go.

    Returns:
        [m, 2] the front as drawn.
    """
    a, b = pair
    front = upper_right_hull(exact.vertices[:, [a, b]])
    low, high = front.min(0), front.max(0)
    size = np.maximum(high - low, 1e-9)
    reach = np.clip(include, low - 1.5 * size, high + 0.5 * size) if len(include) else front
    low, high = np.minimum(low, reach.min(0)) - 0.08 * size, np.maximum(high, reach.max(0)) + 0.1 * size
    ends = np.array([way[-1] for way in leaving if len(way)]).reshape(-1, 2)
    low = np.where((ends < low).any(0), low - 0.3 * size, low)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    corners = [[low[0], low[1]], [low[0], front[0, 1]], *front.tolist(), [front[-1, 0], low[1]]]
    axes.fill(*np.array(corners).T, color=FILL, linewidth=0, zorder=0)
    axes.plot(*front.T, color=INK, linewidth=1.3, zorder=2)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_xlabel(f"{exact.names[a]}  (gold, more is better)")
    axes.set_ylabel(f"{exact.names[b]}  (gold, more is better)")
    return front


def upper_right_hull(points: Floats) -> Floats:
    """Find the part of the convex hull that no mixture of points beats in both coordinates.

    Args:
        points: [n, 2].

    Returns:
        [m, 2] with the first coordinate rising and the second falling.

    >>> upper_right_hull(np.array([[0.0, 1.0], [1.0, 0.0], [0.4, 0.4], [0.9, 0.9], [0.5, 0.1]])).tolist()
    [[0.0, 1.0], [0.9, 0.9], [1.0, 0.0]]
    """
    order = points[np.lexsort((points[:, 1], points[:, 0]))]
    hull: list[Floats] = []
    for point in order:
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) >= 0:
            hull.pop()
        hull.append(point)
    top = max(range(len(hull)), key=lambda i: (hull[i][1], hull[i][0]))
    return np.array(hull[top:])


def _turn(first: Floats, second: Floats, third: Floats) -> float:
    """Tell the way a corner turns: positive to the left."""
    ahead, aside = second - first, third - first
    return float(ahead[0] * aside[1] - ahead[1] * aside[0])


def objective_colour(run: RunRecord, name: str) -> str:
    """Give an objective's colour, the same in every plot of a run."""
    return colour_of(run.judged_names.index(name))


def conflict_colour(run: RunRecord, pair: int) -> str:
    """Give the colour of a pair of objectives: ink if it is the only one, else one that no objective has."""
    return INK if len(run.names) == 2 else colour_of(len(run.judged_names) + pair)


def _judged(run: RunRecord, judge: str, name: str) -> bool:
    return run.has(f"{judge}/{name}/mean") or run.has(f"eval/{judge}/{name}")


def _noisy_line(axes: Axes, steps: Floats, values: Floats, colour: str) -> None:
    """Draw every value faintly and their moving average over them."""
    if len(steps) == 0:
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
    axes.plot(steps, smooth(values, SMOOTHING), color=colour, linewidth=1.7)


def _step_axis(axes: Axes) -> None:
    axes.margins(x=0.02)
    axes.set_xlabel("step")


def _logarithmic_if_wide(axes: Axes, series: Sequence[Floats]) -> None:
    """Use a logarithmic axis where the values span more than a factor of twenty and all are positive."""
    values = np.concatenate(series)
    if len(values) and values.min() > 0 and values.max() / values.min() > 20:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
        axes.tick_params(which="minor", length=0)
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min()) if len(values) else 0.0))


def _draw_path(axes: Axes, path: Path2D, points: Floats) -> Label:
    """Draw a run from its start to its end; where it leaves the panel for good, an arrow says where it went.

    Returns:
        The label that belongs to its end.
    """
    axes.plot(*points.T, color=path.colour, linewidth=1.4, alpha=0.8, zorder=3)
    axes.plot(*points.T, "o", color=path.colour, markersize=2.6, markeredgewidth=0, alpha=0.8, zorder=3)
    axes.plot(*points[0], "o", color=SOFT, markersize=6, markeredgewidth=0, zorder=4)
    end = points[-1]
    if _inside(axes, end):
        axes.plot(*end, "o", color=path.colour, markersize=8.5, markeredgewidth=0, zorder=5)
        return Label(end, f"{path.label}\n({plain_pair(end)})", path.colour)
    outside = max(i for i in range(len(points)) if i == 0 or _inside(axes, points[i - 1]))
    inside = points[max(outside - 1, 0)]
    exit_point = _exit(axes, inside, points[outside])
    axes.annotate(
        "",
        xy=tuple(exit_point),
        xytext=tuple(inside + 0.7 * (exit_point - inside)),
        arrowprops={"arrowstyle": "-|>", "color": path.colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0},
        zorder=5,
    )
    return Label(exit_point, f"{path.label} leaves the plot,\nends at ({plain_pair(end)})", path.colour)


def plain_pair(point: Floats) -> str:
    """Write a point as its two coordinates.

    >>> plain_pair(np.array([12.0, -24.81]))
    '12, −24.8'
    """
    return ", ".join(plain(float(f"{value:.3g}")) for value in point)


def _inside(axes: Axes, point: Floats) -> bool:
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    return bool(x0 <= point[0] <= x1 and y0 <= point[1] <= y1)


def _exit(axes: Axes, inside: Floats, outside: Floats) -> Floats:
    """Find where the way from a point inside to one outside crosses the panel's edge."""
    if not _inside(axes, inside):
        inside = np.clip(inside, *np.array([axes.get_xlim(), axes.get_ylim()]).T)
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    way = outside - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(way > 0, (high - inside) / way, np.where(way < 0, (low - inside) / way, np.inf))
    return np.asarray(inside + min(float(shares.min()), 1.0) * way, dtype=np.float64)
