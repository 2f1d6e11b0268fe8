"""How fast methods get where they get, and what a gain costs."""

import pytest

from heed.compare.rounds import by_rounds
from heed.runs.statistics import mean_cell
from heed.worlds.apothecary import Apothecary

FRONT = Apothecary().front()
NAMES = ["help", "harmless"]


def run(*scaled, seconds=60.0, tokens=5000):
    """A run whose scaled average went so, an evaluation every tenth round."""
    points = [FRONT.nadir + FRONT.ranges * each for each in scaled]
    curve = [{"step": 10 * n, **dict(zip(NAMES, map(float, point), strict=True))} for n, point in enumerate(points)]
    return {"curve": curve, "seconds": seconds, "tokens": tokens}


def test_values_by_rounds_are_means_over_seeds_and_costs_are_of_all_seeds_together():
    table = by_rounds({"a": [run(0.0, 0.2, 0.4), run(0.0, 0.4, 0.4, seconds=20.0)]}, NAMES, FRONT)
    (row,) = table["rows"]
    assert table["columns"] == ["0", "10", "20", "seconds per .1", "1,000 tokens per .1"]
    assert row["10"] == pytest.approx(mean_cell([0.2, 0.4]))
    assert row["seconds per .1"]["mean"] == pytest.approx(80 / 8)  # eight tenths were gained in 80 seconds
    assert row["1,000 tokens per .1"]["mean"] == pytest.approx(10 / 8)


def test_where_nothing_is_gained_nothing_is_told_of_the_cost():
    (row,) = by_rounds({"a": [run(0.5, 0.1)]}, NAMES, FRONT)["rows"]
    assert set(row) == {"method", "0", "10"}


def test_rounds_at_which_not_all_were_evaluated_are_left_out():
    table = by_rounds({"a": [run(0.0, 0.2, 0.4), run(0.0, 0.2)], "b": [run(0.0, 0.1, 0.2)]}, NAMES, FRONT)
    assert "20" not in table["rows"][0] and table["rows"][1]["20"]["mean"] == pytest.approx(0.2)
