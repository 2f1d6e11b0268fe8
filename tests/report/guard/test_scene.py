"""Where states are drawn: in the arena of a known world, else over the variables that catastrophes depend on."""

import numpy as np
import pytest

from heed.report.guard.scene import scenery


def test_one_variable_alone_is_drawn_over_the_steps():
    ways = [np.linspace([0.0, -1.0], [9.0, 1.0], 5)]
    drawing = scenery("mine:Robot", {}, ways, [1])
    places = drawing.project(ways[0])
    assert places[:, 0].tolist() == sorted(places[:, 0]) and places[0, 0] == 0
    heights = np.diff(places[:, 1])
    assert (heights < 0).all() and heights == pytest.approx(heights[0])  # rising, evenly, as state[1] does
    assert "state[1], over the steps ahead" in drawing.about


def test_the_cells_of_cliff_grid_are_where_its_states_are():
    from heed.worlds.cliff_grid.grid import observation

    drawing = scenery("heed/CliffGrid-v0", {}, [np.zeros((1, 4))], None)
    places = drawing.project(np.stack([observation((row, column, 0, 0)) for row, column in ((0, 0), (6, 11))]))
    side = 1200 / 13
    assert places == pytest.approx(np.array([[side, side], [12 * side, 7 * side]]), abs=1e-3)
    cliff = f'<rect class="hazard" x="{1.5 * side + side:.0f}" y="{6.5 * side:.0f}"'  # row 6, column 2
    assert cliff in drawing.backdrop


def test_a_way_that_diverges_ends_where_it_is_no_longer_finite():
    drawing = scenery("heed/PointHazard-v0", {}, [], None)
    way = np.array([[0.0, 0.0, 0, 0], [1e9, 0.0, 0, 0], [np.nan, 0.0, 0, 0], [0.0, 0.0, 0, 0]])
    assert drawing.line(way).split(" ") == ["600,459", "2400,459"]
