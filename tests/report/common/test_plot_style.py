"""The look of the plots: both layouts, and the moving average."""

import re

import numpy as np

from heed.report.common.plot_style import draw, panels, smooth


def test_smoothing_leaves_a_constant_alone_and_averages_its_window():
    assert smooth(np.full(5, 2.0), 9).tolist() == [2.0] * 5
    assert smooth(np.array([0.0, 0.0, 6.0, 0.0, 0.0]), 3).tolist() == [0.0, 2.0, 2.0, 2.0, 0.0]


def test_a_plot_is_drawn_for_paper_and_for_a_phone():
    def plot(layout):
        figure, (axes,) = panels(layout, 1, 2.0)
        axes.set_title("a < b & $x_1$")
        return figure

    svg = str(draw(plot, "sample", 'says "this"'))
    widths = [float(w) for w in re.findall(r'viewBox="0 0 ([\d.]+)', svg)]
    assert len(widths) == 2
    assert widths[0] > 2 * widths[1]
    assert "a &lt; b &amp; $x_1$" in svg
    assert 'aria-label="says &#34;this&#34;"' in svg
