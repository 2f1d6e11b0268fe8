import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import VERTICES, make_align_run

from heed.report import gather
from heed.report.align.plots import Path2D, plot_conflict, plot_objectives, plot_plane, plot_policy, upper_right_hull
from heed.report.common.gather import Exact
from heed.report.common.plot_style import INK, SOFT, WIDE

EXACT = Exact(["help", "harmless"], np.array(VERTICES), np.array([12.0, 0.0]), np.array([0.0, -1.85]))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=12))
def test_no_point_lies_beyond_the_upper_right_hull(points):
    points = np.array(points)
    hull = upper_right_hull(points)
    assert (np.diff(hull[:, 0]) >= 0).all()
    assert (np.diff(hull[:, 1]) <= 0).all()
    for angle in np.linspace(0, np.pi / 2, 9):
        direction = np.array([np.cos(angle), np.sin(angle)])
        assert (points @ direction).max() == pytest.approx((hull @ direction).max(), abs=1e-9)


def test_the_gold_row_plots_the_values_of_the_run(align_run):
    run = gather(align_run)
    figure = plot_objectives(WIDE, run)
    drawn = figure.axes[0].lines[0].get_xydata()
    steps, values = run.series("gold/help/mean")
    np.testing.assert_array_equal(drawn, np.column_stack([steps, values]))
    assert [axes.get_title("left").split(" ")[0] for axes in figure.axes] == ["help", "harmless"] * 2


def test_the_rewards_axes_tell_their_units_and_gold_s_do_not(align_run):
    figure = plot_objectives(WIDE, gather(align_run))
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "", "points", ""]


def test_the_kl_is_told_per_token_as_the_metric_is(align_run):
    figure = plot_policy(WIDE, gather(align_run))
    panel = next(axes for axes in figure.axes if axes.get_title("left") == "KL to the reference")
    assert panel.get_ylabel() == "nats a token"


def test_the_start_is_a_dashed_line_at_its_value(align_run):
    figure = plot_objectives(WIDE, gather(align_run))
    assert figure.axes[1].lines[-1].get_ydata()[0] == pytest.approx(-2.4)


def test_the_weights_of_the_run_are_plotted(align_run):
    run = gather(align_run)
    figure = plot_conflict(WIDE, run)
    panel = next(axes for axes in figure.axes if axes.get_title("left") == "weight")
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), run.series("weights/help")[1])


def test_the_plane_holds_the_front_and_the_warm_start():
    path = Path2D("GAPO", np.array([[5.0, -3.7], [8.0, -0.6]]), INK)
    axes = plot_plane(WIDE, EXACT, [path]).axes[0]
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    for point in [*VERTICES, [5.0, -3.7]]:
        assert x0 < point[0] < x1
        assert y0 < point[1] < y1


def test_a_run_that_leaves_does_not_stretch_the_plane_and_says_where_it_ends():
    stays = Path2D("GAPO", np.array([[5.0, -2.0], [8.0, -0.6]]), INK)
    leaves = Path2D("help only", np.array([[5.0, -2.0], [12.0, -24.8]]), SOFT)
    axes = plot_plane(WIDE, EXACT, [stays, leaves]).axes[0]
    assert axes.get_ylim()[0] > -4
    texts = [text.get_text() for text in axes.texts]
    assert "help only leaves the plot,\nends at (12, −24.8)" in texts
    assert "GAPO\n(8, −0.6)" in texts


def test_a_run_that_leaves_and_returns_is_marked_at_its_end():
    returns = Path2D("GAPO", np.array([[5.0, -1.0], [5.0, -30.0], [8.0, -0.6]]), INK)
    texts = [text.get_text() for text in plot_plane(WIDE, EXACT, [returns]).axes[0].texts]
    assert "GAPO\n(8, −0.6)" in texts


def test_a_run_that_starts_outside_and_stays_there_is_marked_at_the_edge():
    outside = Path2D("lost", np.array([[5.0, -50.0], [5.0, -40.0]]), INK)
    texts = [text.get_text() for text in plot_plane(WIDE, EXACT, [outside]).axes[0].texts]
    assert "lost leaves the plot,\nends at (5, −40)" in texts


def test_three_objectives_make_three_planes():
    cube = Exact(["a", "b", "c"], np.eye(3), np.ones(3), np.zeros(3))
    figure = plot_plane(WIDE, cube, [Path2D("run", np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.3]]), INK)])
    assert [(axes.get_xlabel()[0], axes.get_ylabel()[0]) for axes in figure.axes] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_up_to_four_objectives_have_a_panel_each(tmp_path, count):
    names = ["help", "harmless", "brevity", "price"][:count]
    run = make_align_run(tmp_path / "run", start=[1] * 4, end=[2] * 4, names=names, world=False)
    assert len(plot_objectives(WIDE, gather(run)).axes) == count
