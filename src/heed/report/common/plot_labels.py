"""Labels in a plot, placed where they cover neither lines nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes

from heed.report.common.plot_style import Floats

# Of a sans-serif letter, in units of the font's size; the page picks the font, so this can only be an estimate
LETTER_WIDTH, LINE_HEIGHT = 0.56, 1.35


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point.

    Attributes:
        point: [2] in the panel's data coordinates.
        text: one line or several.
        colour: a stand-in of `plot_style`.
    """

    point: Floats
    text: str
    colour: str


def place_labels(axes: Axes, labels: Sequence[Label], lines: Sequence[Floats], font: float) -> None:
    """Write labels beside their points, each on the side where it covers least.

    Args:
        axes: the panel, with its limits set.
        labels: in order of importance.
        lines: [n, 2] each, in data coordinates: what should stay visible.
        font: size of the text in points.
    """
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr] # it has a figure; its layout is fixed here
    point_size = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr] # as above
    panel = np.array(axes.get_window_extent().extents, dtype=np.float64)
    covered = np.concatenate([_samples(axes.transData.transform(line)) for line in lines] or [np.empty((0, 2))])
    taken: list[Floats] = []
    for label in labels:
        rows = label.text.split("\n")
        size = np.array([LETTER_WIDTH * max(map(len, rows)), LINE_HEIGHT * len(rows)]) * font * point_size
        anchor = np.asarray(axes.transData.transform(label.point), dtype=np.float64)
        choices = [(side, away) for away, *side in product((8.0, 18.0), (1, -1, 0), (-1, 1, 0)) if side != [0, 0]]
        boxes = [_box(anchor, np.array(side), away * point_size, size) for side, away in choices]
        costs = [_cost(box, panel, covered, taken) for box in boxes]
        best = int(np.argmin(costs))
        (right, up), away = choices[best]
        axes.annotate(
            label.text,
            xy=(float(label.point[0]), float(label.point[1])),
            xytext=(right * away, up * away * 0.6),
            textcoords="offset points",
            ha=("center", "left", "right")[right],
            va=("center", "bottom", "top")[up],
            color=label.colour,
            linespacing=1.25,
            zorder=6,
        )
        taken.append(boxes[best])


def _box(anchor: Floats, side: Floats, away: float, size: Floats) -> Floats:
    """Give the box [left, bottom, right, top] of a text on one side of a point."""
    centre = anchor + side * (np.array([away, 0.6 * away]) + size / 2)
    return np.concatenate([centre - size / 2, centre + size / 2])


def _cost(box: Floats, panel: Floats, covered: Floats, taken: Sequence[Floats]) -> float:
    """Count what a box would cover; leaving the panel or covering another label weighs most."""
    inside = ((covered > box[:2]) & (covered < box[2:])).all(1).sum()
    outside = np.maximum(panel[:2] - box[:2], 0).sum() + np.maximum(box[2:] - panel[2:], 0).sum()
    overlaps = sum(bool((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()) for other in taken)
    return float(inside) + 10.0 * float(outside) + 500.0 * overlaps


def _samples(line: Floats, spacing: float = 3.0) -> Floats:
    """Cut a line into points a few pixels apart."""
    pieces = [
        np.linspace(first, second, max(2, min(2000, int(np.hypot(*(second - first)) / spacing))))
        for first, second in pairwise(line)
    ]
    return np.concatenate([*pieces, np.asarray(line, dtype=np.float64)])
