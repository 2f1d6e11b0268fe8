"""Geometry, by hand, by Monte Carlo and against qhull."""

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from heed.errors import HeedError
from heed.worlds.apothecary.hulls import hypervolume, minkowski_average, upper_hull


def monte_carlo(points, reference, hull, samples, rng):
    """Share of a box that is dominated; for the hull, by the best mixture that dominates each sample (K = 2)."""
    top = points.max(0)
    drawn = reference + (top - reference) * rng.random((samples, len(reference)))
    if hull:
        front = upper_hull(points)[::-1]
        dominated = drawn[:, 1] <= np.interp(drawn[:, 0], front[:, 0], front[:, 1], left=top[1], right=-np.inf)
    else:
        dominated = (drawn[:, None] <= points).all(-1).any(-1)
    return dominated.mean() * (top - reference).prod()


def test_staircase_and_hull_of_two_points_by_hand():
    points = [[1.0, 3.0], [2.0, 1.0]]
    assert hypervolume(points, [0.0, 0.0]) == pytest.approx(4.0)
    assert hypervolume(points, [0.0, 0.0], hull=True) == pytest.approx(3.0 + 2.0)  # the trapezium under the chord
    assert hypervolume(points, [1.5, 0.0], hull=True) == pytest.approx(0.5 * (2.0 + 1.0) / 2)


def test_points_on_other_scales_scale_the_volume():
    points, units = np.array([[1.0, 3.0], [2.0, 1.0]]), np.array([1e-4, 1e5])
    assert hypervolume(points * units, [0.0, 0.0], hull=True) == pytest.approx(5.0 * 10.0)


def test_mixtures_of_points_outside_the_reference_box_count_only_for_the_hull():
    points = [[-1.0, 3.0], [3.0, -1.0]]  # their chord x + y = 2 crosses the box above (0, 0)
    assert hypervolume(points, [0.0, 0.0]) == 0.0
    assert hypervolume(points, [0.0, 0.0], hull=True) == pytest.approx(2.0)


@pytest.mark.parametrize("hull", [False, True])
def test_nothing_above_the_reference_is_no_volume(hull):
    assert hypervolume([[1.0, 1.0], [0.5, 2.0]], [3.0, 3.0], hull) == 0.0
    assert hypervolume([[1.0, 1.0]], [1.0, 0.0], hull) == 0.0


def test_hull_of_three_unit_points_by_hand():
    # The free-disposal hull of the unit vectors above 0 is the corner simplex.
    assert hypervolume(np.eye(3), np.zeros(3), hull=True) == pytest.approx(1 / 6)
    assert hypervolume(np.eye(4), np.zeros(4), hull=True) == pytest.approx(1 / 24)
    assert hypervolume(np.eye(3) + 1, np.zeros(3), hull=True) == pytest.approx(1 + 3 * (1.0) + 3 * 0.5 + 1 / 6)


@pytest.mark.parametrize("hull", [False, True])
def test_two_objectives_agree_with_monte_carlo(hull):
    rng = np.random.default_rng(0)
    points, reference = rng.random((20, 2)), np.array([0.2, 0.1])
    expected = monte_carlo(points, reference, hull, 200_000, rng)
    assert hypervolume(points, reference, hull) == pytest.approx(expected, abs=0.006)


def test_three_objectives_agree_with_monte_carlo():
    rng = np.random.default_rng(1)
    points, reference = rng.random((10, 3)), np.zeros(3)
    expected = monte_carlo(points, reference, False, 200_000, rng)
    assert hypervolume(points, reference) == pytest.approx(expected, abs=0.006)
    assert hypervolume(points, reference, hull=True) > hypervolume(points, reference)


def test_one_objective_is_a_length():
    assert hypervolume([[1.0], [3.0]], [0.5], hull=True) == hypervolume([[1.0], [3.0]], [0.5]) == 2.5


@pytest.mark.parametrize("points", [[[1.0, np.nan]], [[1.0, 2.0, 3.0]], [[np.inf, 0.0]]])
def test_wrong_shapes_and_values_that_are_not_finite_are_refused(points):
    with pytest.raises(HeedError, match="give finite points"):
        hypervolume(points, [0.0, 0.0])


def test_upper_hull_leaves_out_dominated_interior_and_collinear_points():
    points = np.array([[0, 4], [1, 3.5], [2, 3], [1, 3], [3, 0], [2.5, 0], [3, -1], [-1, 4]], float)
    assert upper_hull(points).tolist() == [[3, 0], [2, 3], [0, 4]]


@pytest.mark.parametrize("seed", range(5))
def test_minkowski_average_equals_the_hull_of_all_averages(seed):
    rng = np.random.default_rng(seed)
    sets = [rng.integers(0, 6, (6, 2)).astype(float) for _ in range(3)]
    everything = np.array([(a + b + c) / 3 for a in sets[0] for b in sets[1] for c in sets[2]])
    chain = minkowski_average([upper_hull(points) for points in sets])
    np.testing.assert_allclose(chain, upper_hull(everything)[::-1], atol=1e-12)
    if len(chain) > 1:
        corners = {tuple(point.round(9)) for point in everything[ConvexHull(everything).vertices]}
        assert {tuple(point.round(9)) for point in chain} <= corners
