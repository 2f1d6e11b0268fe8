"""The look of the plots: SVG drawn once, coloured by the page, in one layout for paper and one for a phone."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """The room that a plot has.

    Attributes:
        name: CSS class of the plot.
        width: in inches; the page scales the plot to its column.
        font: size of text in points at that width.
        columns: panels side by side at most.
    """

    name: str
    width: float
    font: float
    columns: int


WIDE = Layout("wide", 8.8, 8.2, 4)
NARROW = Layout("narrow", 4.1, 9.0, 2)

# Stand-ins that matplotlib draws with; `to_svg` replaces each by a colour of the page, which knows light from dark.
INK, SOFT, RULE, PAPER, FILL = "#010101", "#010102", "#010103", "#010104", "#010105"
SERIES = tuple(f"#0202{index:02x}" for index in range(1, 9))
_VARIABLES = {INK: "--ink", SOFT: "--ink-soft", RULE: "--rule", PAPER: "--paper", FILL: "--fill"} | {
    colour: f"--series-{index}" for index, colour in enumerate(SERIES, start=1)
}


def colour_of(index: int) -> str:
    """Give the stand-in for the colour of the series of this index, counted from 0; they come round after 8."""
    return SERIES[index % len(SERIES)]


def css_colour(stand_in: str) -> str:
    """Give the CSS colour that a stand-in becomes.

    >>> css_colour(colour_of(0))
    'var(--series-1)'
    """
    return f"var({_VARIABLES[stand_in]})"


def draw(plot: Callable[[Layout], Figure], name: str, description: str) -> Markup:
    """Draw a plot in both layouts; the page shows the one that fits.

    Args:
        plot: makes the figure for a layout.
        name: unique on the page; keeps the ids of its parts apart from other plots'.
        description: read aloud in place of the picture.

    Returns:
        Inline SVG without links, scripts or fixed colours.
    """
    pictures = []
    for layout in (WIDE, NARROW):
        with mpl.rc_context(_settings(layout, f"{name}-{layout.name}")):
            svg = to_svg(plot(layout), description)
        pictures.append(Markup('<div class="plot {}">{}</div>').format(layout.name, svg))
    return Markup("").join(pictures)


def to_svg(figure: Figure, description: str) -> Markup:
    """Turn a figure into inline SVG that takes its colours and its font from the page.

    Args:
        figure: drawn with the stand-in colours.
        description: read aloud in place of the picture.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    opening, inside = text[: text.index(">") + 1], text[text.index(">") + 1 :]
    view = re.search(r'viewBox="[^"]*"', opening)
    head = f'<svg {view.group() if view else ""} role="img" aria-label="{escape(description)}">'
    return Markup(head + re.sub(r"<[^>]*>", _clean_tag, inside).strip())


def _clean_tag(match: re.Match[str]) -> str:
    """Rid a tag of what the page decides: fonts, colours; and of what nothing refers to: ids like patch_3."""
    tag = re.sub(r' id="[A-Za-z][\w.]*?_\d+"', "", match.group())
    tag = tag.replace("xlink:href", "href")
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r"font: (\w+) ([\d.]+px) [^;\"]*", r"font-weight: \1; font-size: \2", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)  # a hundredth of a point is finer than any screen
    return re.sub(r"#02020[1-8]|#01010[1-5]", lambda colour: css_colour(colour.group()), tag)


def panels(layout: Layout, count: int, height: float, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure with some panels in a grid.

    Args:
        layout: the room there is.
        count: how many panels.
        height: of one row, in inches.
        columns: panels side by side; what the layout allows by default.

    Returns:
        The figure and its panels, row by row.
    """
    columns = min(columns or layout.columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(
        figsize=(layout.width, height * rows),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.04),
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in grid[count:]:
        spare.set_visible(False)
    for axes in grid[:count]:
        dress(axes)
    return figure, list(grid[:count])


def dress(axes: Axes) -> None:
    """Give a panel its quiet frame: horizontal rules, no box, few ticks, true minus signs."""
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(length=0, colors=SOFT, pad=4)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=2, steps=[1, 2, 4, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def name_panel(axes: Axes, title: str, unit: str = "") -> None:
    """Write a panel's name above its left edge, and the unit after it, quieter."""
    axes.set_title(title + (f"  ({unit})" if unit else ""), loc="left", color=INK, fontweight="bold", pad=7)


def plain(value: float) -> str:
    """Write a tick without trailing zeros and with a true minus sign.

    >>> plain(-0.50), plain(12.0), plain(2e-5)
    ('−0.5', '12', '2e−05')
    """
    return f"{value + 0:.6g}".replace("-", "−")


def smooth(values: Floats, window: int) -> Floats:
    """Average each value with its neighbours; at the ends it has those on one side only.

    Args:
        values: [n].
        window: values averaged, odd.

    Returns:
        [n].

    >>> smooth(np.array([0.0, 3.0, 0.0, 3.0]), 3).tolist()
    [1.5, 1.0, 2.0, 1.5]
    """
    reach = window // 2
    return np.array(
        [values[max(0, index - reach) : index + reach + 1].mean() for index in range(len(values))], dtype=np.float64
    )


def _settings(layout: Layout, salt: str) -> dict[str, object]:
    return {
        "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
        "svg.hashsalt": salt,
        "text.parse_math": False,  # a name may hold a dollar sign
        "font.size": layout.font,
        "axes.titlesize": layout.font,
        "axes.labelsize": layout.font,
        "xtick.labelsize": layout.font * 0.94,
        "ytick.labelsize": layout.font * 0.94,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "lines.solid_capstyle": "round",
        "axes.unicode_minus": True,
    }
