"""Return and catastrophes by steps and by judgements, of decisions that are known, and medians over seeds."""

import math

import numpy as np
import pytest

from heed.compare.efficiency import (
    catastrophes_after,
    curves_of,
    efficiency_tables,
    returns_after,
    steps_until,
    steps_with,
)
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Decision
from heed.guard.run.counts import LATE_EPISODES, decisions_of
from heed.oversight.overseers.base import Verdict


def log_of(steps, length=10, overseen=0, broken=(), reward=1.0):
    """So many steps in episodes of a length, a person asked in the first, catastrophes in some."""
    log = DecisionLog(lambda step: "oversight" if step < overseen else "autonomy")
    for step in range(steps):
        verdict = Verdict(False) if step < overseen else None
        decision = Decision(0, 0, "allow", "policy", verdict=verdict)
        log.add(decision, step // length, reward * (1 + step // length), step in broken)
    return log


def run_in(folder, **told):
    folder.mkdir(parents=True)
    log_of(**told).write(folder / "decisions.parquet")
    return folder


def test_a_run_tells_its_return_and_its_catastrophes_after_any_number_of_steps():
    decisions = decisions_of(log_of(40, broken=(4, 20, 39)).rows)
    at = np.array([0, 4, 5, 10, 19, 20, 21, 40, 90.0])
    steps = steps_until(decisions, at)
    assert steps.tolist() == [0, 4, 5, 10, 19, 20, 21, 40, 40]
    assert catastrophes_after(decisions, steps).tolist() == [0, 0, 1, 1, 1, 1, 2, 3, 3]
    returns = returns_after(decisions, steps).tolist()
    assert all(math.isnan(value) for value in returns[:3])
    assert returns[3:] == [10, 10, 15, 15, 20, 20]  # whole episodes of 10, 20 and 30; the last was cut off


def test_return_is_of_the_latest_episodes_alone():
    decisions = decisions_of(log_of(10 * (LATE_EPISODES + 11)).rows)
    last = returns_after(decisions, np.array([len(decisions)]))[0]
    assert last == pytest.approx(np.mean([10.0 * n for n in range(11, LATE_EPISODES + 11)]))


def test_on_so_many_judgements_a_run_comes_as_far_as_it_asks_no_more():
    decisions = decisions_of(log_of(40, overseen=15).rows)
    assert steps_with(decisions, np.array([0, 1, 7, 14, 15, 99])).tolist() == [0, 1, 7, 14, 40, 40]
    nobody = decisions_of(log_of(40).rows)
    assert steps_with(nobody, np.array([0, 99])).tolist() == [40, 40]


def test_bands_are_quartiles_over_seeds_and_a_method_that_asks_nobody_is_level(tmp_path):
    folders = {
        "none": [run_in(tmp_path / f"none{n}", steps=100, broken=tuple(range(0, 100, 10 + n))) for n in (0, 10, 15)],
        "mbhi": [run_in(tmp_path / f"mbhi{n}", steps=100, overseen=50, broken=(10, 70)[: n + 1]) for n in (0, 1)],
        "gone": [tmp_path / "nowhere"],
    }
    curves = curves_of(folders)
    assert list(curves["steps"]["methods"]) == ["none", "mbhi"]
    assert (curves["steps"]["at"][0], curves["steps"]["at"][-1], curves["judgements"]["at"][-1]) == (0, 100, 50)
    end = {name: values[-1] for name, values in curves["steps"]["methods"]["none"]["catastrophes"].items()}
    assert end == {"low": 4.5, "median": 5.0, "high": 7.5}  # of 10, 5 and 4
    asked = curves["judgements"]["methods"]
    assert set(asked["none"]["catastrophes"]["median"]) == {5.0}
    assert asked["mbhi"]["catastrophes"]["median"][-2:] == [1.0, 1.5]  # what came of being left alone
    assert math.isnan(curves["steps"]["methods"]["none"]["return"]["median"][5])
    by_steps, by_judgements = efficiency_tables(curves)
    assert by_steps["columns"][:2] == ["return at 25", "return at 50"] and by_judgements["title"] == "By judgements"
    assert by_steps["rows"][0]["catastrophes at 100"] == {"mean": 5.0, "low": 4.5, "high": 7.5}


def test_where_nobody_is_asked_there_is_no_table_of_judgements_and_without_decisions_nothing(tmp_path):
    curves = curves_of({"none": [run_in(tmp_path / "none", steps=30)]})
    assert curves["judgements"]["at"] == [0.0]
    assert [table["title"] for table in efficiency_tables(curves)] == ["By steps"]
    assert curves_of({"none": [tmp_path / "nowhere"]}) == {}
    assert efficiency_tables({}) == []
