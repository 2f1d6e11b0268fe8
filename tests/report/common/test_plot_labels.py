"""Labels in a plot cover neither each other nor the lines, and stay in their panel."""

import numpy as np

from heed.report.common.plot_labels import Label, place_labels
from heed.report.common.plot_style import INK, WIDE, panels


def test_labels_of_one_point_do_not_cover_each_other():
    figure, (axes,) = panels(WIDE, 1, 3.0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    point = np.array([0.5, 0.5])
    place_labels(axes, [Label(point, "one", INK), Label(point, "two", INK), Label(point, "three", INK)], [], 8.0)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(3) for j in range(i))


def test_a_label_stays_in_its_panel_and_off_the_line():
    figure, (axes,) = panels(WIDE, 1, 3.0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    line = np.array([[0.0, 0.4], [1.0, 0.6]])
    place_labels(axes, [Label(line[1], "the end of the line", INK)], [line], 8.0)
    figure.draw_without_rendering()
    (box,) = [text.get_window_extent() for text in axes.texts]
    panel = axes.get_window_extent()
    assert panel.x0 <= box.x0
    assert box.x1 <= panel.x1 + 1
    samples = axes.transData.transform(np.linspace(line[0], line[1], 200))
    assert not any(box.contains(*sample) for sample in samples)
