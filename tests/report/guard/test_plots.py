"""What the plots of a guarded run draw: rates in windows, averages of neighbours, the worst predicted variables."""

import numpy as np
import pytest
from guard_runs import JUDGES
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.report.guard.plots import drifts, per_hundred, shown_variables, thinned


def test_many_points_are_thinned_to_averages():
    assert thinned(np.arange(6.0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert thinned(np.arange(1000.0))[:2].tolist() == [1.0, 4.0] and len(thinned(np.arange(1000.0))) == 334
    assert thinned(np.empty(0)).tolist() == []


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=1500), st.integers(1, 20))
def test_windows_of_equal_length_hold_all_events(flags, most):
    middles, rates = per_hundred(np.array(flags), most)
    edges = [0.0]
    for middle in middles:
        edges.append(2 * middle - edges[-1])
    widths = np.diff(edges)
    assert edges[-1] == len(flags) and len(middles) <= most
    assert (widths[:-1] == widths[0]).all() and (len(widths) == 1 or widths[-1] >= widths[0] / 2)
    assert (rates * widths).sum() / 100 == pytest.approx(sum(flags))


def test_no_step_has_no_window():
    assert [part.tolist() for part in per_hundred(np.empty(0, np.bool_))] == [[], []]


def test_drift_is_a_share_of_each_variables_deviation_and_unknown_where_nothing_varies():
    dynamics = JUDGES["dynamics"]
    assert drifts(dynamics)[:, 0] == pytest.approx([0.05, 0.05, 0.1]) and np.isnan(drifts(dynamics)[2, 2:]).all()


def test_the_worst_predicted_variables_are_shown_where_there_are_too_many():
    assert shown_variables(JUDGES["dynamics"]) == [0, 1, 2, 3]
    wide = {"error": [list(range(12))], "spread": [1.0] * 12}
    assert shown_variables(wide) == [4, 5, 6, 7, 8, 9, 10, 11]
