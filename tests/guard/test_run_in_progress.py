"""What a guarded run shows of itself while it goes on: metrics every hundred steps, and all decisions now and then."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from heed.errors import Stopped
from heed.guard.job import train_guard
from heed.guard.settings import job_of
from heed.guard.summary import latest_return
from heed.report import report_of
from heed.runs import read_metrics

UNGUARDED = {"steps": 400, "learning_starts": 1000, "method": "none", "evaluation_episodes": 0, "hidden": 16}


def test_metrics_and_decisions_so_far_can_be_read_while_it_runs(tmp_path):
    out, seen = tmp_path / "run", {}

    def on_step(step, metrics):
        if step in (199, 200, 299, 300, 350):
            file = out / "decisions.parquet"
            rows = pq.read_table(file).num_rows if file.exists() else 0
            seen[step] = (rows, [line["step"] for line in read_metrics(out)])
        if step == 350:
            seen["report"] = report_of(out)
            raise Stopped

    with pytest.raises(Stopped):
        train_guard(job_of(UNGUARDED), out, on_step)
    assert {step: rows for step, (rows, _) in list(seen.items())[:5]} == {
        199: 0,
        200: 200,
        299: 200,
        300: 300,
        350: 300,
    }
    assert seen[350][1] == [100, 200, 300]
    assert "in 300 steps" in seen["report"]
    rows = pq.read_table(out / "decisions.parquet").to_pylist()
    assert len(rows) == 350  # all of them at the end, however it ends
    for line in read_metrics(out):
        before = rows[: int(line["step"])]
        assert line["catastrophes"] == sum(row["catastrophe"] for row in before)
        told = latest_return(before)
        assert line["return"] == told or (math.isnan(line["return"]) and math.isnan(told))


def test_the_latest_return_is_of_whole_episodes_within_reach():
    lengths = [3, 5, 2, 4, 6]
    rows = [{"episode": e, "reward": float(e)} for e, length in enumerate(lengths) for _ in range(length)]
    assert latest_return(rows) == np.mean([0, 5, 4, 12])  # the last one goes on
    assert latest_return(rows, episodes=2) == np.mean([4, 12])
    assert latest_return(rows, reach=14) == np.mean([4, 12])  # the first within reach began before
    assert math.isnan(latest_return(rows[:3]))
