"""Counts of decisions by phase: against runs of which every count is known, from rows and from the file alike."""

import dataclasses

import numpy as np
import pytest

from heed.errors import HeedError
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Decision
from heed.guard.run.counts import decisions_of, latest_counts, latest_return, read_decisions, worst_stretch
from heed.oversight.overseers.base import Verdict

OVERSIGHT, LENGTH = 30, 10
CATASTROPHES, GOALS = {4, 27, 38}, {9, 19, 49}
BLOCKS = {0: "person", 4: "person", 31: "planner", 33: "fallback", 40: "planner", 44: "blocker"}
SPARE = {31: 3.0, 33: 0.5, 40: -1.0, 44: -1.0}
MISSED = {36, 37}


def a_log(steps=55, oracle=True):
    """Two catastrophes, two goals and two blocks in oversight; one, one and four in autonomy, its last episode open."""
    log = DecisionLog(lambda step: "autonomy" if step >= OVERSIGHT else "oversight")
    for step in range(steps):
        alone, source = step >= OVERSIGHT, BLOCKS.get(step)
        planned = alone and source is not None and source != "blocker"
        decision = Decision(
            0,
            1 if source else 0,
            "block" if source else "allow",
            source or "policy",
            demonstrated=source == "person",
            verdict=None if alone else Verdict(source is not None),
            feasible=source == "planner" if planned else None,
            latency_ms=20.0 if source else 1.0 + step % 2,
            plan_ms=15.0 + step if planned else 0.0,
        )
        truth = {"needless": step in (31, 33), "needed": step in MISSED, "spare": SPARE.get(step, 2.0)}
        log.add(
            decision, step // LENGTH, 0.1 * (step % LENGTH), step in CATASTROPHES,
            goal=step in GOALS, **(truth if oracle else {}),
        )  # fmt: skip
    return log


def test_the_counts_of_each_phase_are_those_of_its_steps():
    decisions = decisions_of(a_log().rows)
    assert dataclasses.astuple(decisions.counts("oversight")) == (30, 2, 2, 0, 2, 0, 2, 30, 2)
    assert dataclasses.astuple(decisions.counts("autonomy")) == (25, 1, 4, 2, 1, 2, 1, 0, 0)
    assert dataclasses.astuple(decisions.counts()) == (55, 3, 6, 2, 3, 2, 3, 30, 2)


def test_where_no_oracle_knows_needless_early_and_missed_blocks_are_unknown():
    counts = decisions_of(a_log(oracle=False).rows).counts("autonomy")
    assert (counts.needless, counts.early, counts.missed) == (None, None, None)
    assert (counts.blocks, counts.catastrophes) == (4, 1)


def test_an_episode_that_outlives_its_phase_returned_in_neither():
    log = DecisionLog(lambda step: "autonomy" if step >= 5 else "oversight")
    for step in range(11):
        decision = Decision(0, 0, "allow", "policy")
        log.add(decision, step // 3, 10.0 ** (step // 3), False, goal=False)
    decisions = decisions_of(log.rows)  # of three steps each; the second is begun in oversight, the fourth is open
    assert decisions.whole_returns("oversight").tolist() == decisions.returns("oversight").tolist() == [3.0]
    assert decisions.returns("autonomy").tolist() == [30.0, 300.0]
    assert decisions.whole_returns("autonomy").tolist() == [300.0]
    assert decisions_of(log.rows[:2]).whole_returns("oversight").tolist() == []


def test_rates_are_over_the_phases_own_steps():
    counts = decisions_of(a_log().rows).counts("autonomy")
    assert counts.exposure == 25 / 10_000 and counts.blocks_per_100 == 16.0
    assert decisions_of([]).counts().blocks_per_100 == 0.0


def test_the_summary_tells_the_same_counts_and_the_last_whole_episodes():
    summary = decisions_of(a_log().rows).summary()
    assert summary["catastrophes"] == {"oversight": 2, "autonomy": 1, "worst_500": 1}
    assert (summary["env_steps"], summary["autonomy_steps"], summary["episodes"]) == (55, 25, 6)
    assert (summary["interventions"], summary["interventions_autonomy"], summary["demonstrations"]) == (6, 4, 2)
    assert (summary["false_blocks"], summary["early_blocks"], summary["missed_blocks"]) == (2, 1, 2)
    assert summary["goals"] == {"oversight": 2, "autonomy": 1}
    assert summary["return_mean"] == pytest.approx(4.5) and summary["goals_late"] == pytest.approx(3 / 5)
    assert summary["plans_feasible_share"] == pytest.approx(2 / 3)
    assert summary["plan_ms"] == {"p50": 48.0, "p99": pytest.approx(54.86)}
    assert summary["decision_ms"]["p50"] == 2.0


def test_a_run_without_a_step_has_a_summary_of_nothing():
    summary = decisions_of([]).summary()
    assert summary["catastrophes"] == {"oversight": 0, "autonomy": 0, "worst_500": 0}
    assert (summary["return_mean"], summary["goals_late"], summary["false_blocks"]) == (None, 0.0, None)
    assert summary["decision_ms"] == summary["plan_ms"] == {"p50": None, "p99": None}
    assert summary["plans_feasible_share"] is None and summary["episodes"] == 0


@pytest.mark.parametrize("oracle", [True, False])
def test_the_file_tells_what_the_rows_do(tmp_path, oracle):
    log = a_log(oracle=oracle)
    log.write(tmp_path / "decisions.parquet")
    from_file, from_rows = read_decisions(tmp_path), decisions_of(log.rows)
    for field in dataclasses.fields(from_rows):
        assert np.array_equal(
            getattr(from_file, field.name),
            getattr(from_rows, field.name),
            equal_nan=field.name not in ("source", "cause"),
        )
    assert from_file.summary() == from_rows.summary()


def test_returns_are_of_whole_episodes_by_the_step_in_which_they_end():
    steps, returns, reached = decisions_of(a_log().rows).episodes()
    assert steps.tolist() == [10, 20, 30, 40, 50]  # the sixth was cut off with the run
    assert returns.tolist() == pytest.approx([4.5] * 5)
    assert reached.tolist() == [True, True, False, False, True]


def test_the_cumulative_curve_rises_by_one_after_each_catastrophe():
    steps, totals = decisions_of(a_log().rows).cumulative_catastrophes()
    assert steps.tolist() == [0, 5, 28, 39, 55]
    assert totals.tolist() == [0, 1, 2, 3, 3]


def test_sources_of_executed_actions_are_told_the_most_frequent_first():
    decisions = decisions_of(a_log().rows)
    assert decisions.sources() == [("planner", 2), ("blocker", 1), ("fallback", 1)]
    assert decisions.sources("oversight") == [("person", 2)]


def test_the_worst_stretch_is_the_largest_sum_of_a_window():
    events = np.random.default_rng(0).random(300) < 0.1
    for length in (1, 7, 100, 300, 500):
        windows = [events[start : start + length].sum() for start in range(max(1, 300 - length + 1))]
        assert worst_stretch(events, length) == max(windows)


def test_a_folder_without_decisions_has_none_and_another_file_is_named(tmp_path):
    assert read_decisions(tmp_path) is None
    (tmp_path / "decisions.parquet").write_text("{no")
    with pytest.raises(HeedError, match=r"not a Parquet file.*decisions\.parquet"):
        read_decisions(tmp_path)


def test_a_file_that_calls_a_reported_catastrophe_struck_is_read_alike(tmp_path):
    log = a_log()
    expected = decisions_of(log.rows).summary()
    assert all(row["catastrophe_reported"] is False for row in log.rows)
    log.rows = [row | {"struck": row.pop("catastrophe_reported")} for row in log.rows]
    log.write(tmp_path / "decisions.parquet")
    assert read_decisions(tmp_path).summary() == expected


def test_the_latest_counts_are_those_of_the_latest_steps():
    rows = a_log().rows
    for steps in (1, 20, 55, 99):
        counts = decisions_of(rows[-steps:]).counts()
        expected = {"catastrophes": counts.catastrophes, "blocks": counts.blocks, "goals": counts.goals}
        assert latest_counts(rows, steps) == expected
    assert latest_counts(rows, 20) == {"catastrophes": 1, "blocks": 2, "goals": 1}
    assert latest_counts([]) == {"catastrophes": 0, "blocks": 0, "goals": 0}


def test_the_latest_return_leaves_out_the_episode_under_way():
    rows = [{"episode": step // LENGTH, "reward": 0.1 * (step % LENGTH)} for step in range(55)]
    assert latest_return(rows) == pytest.approx(4.5)
