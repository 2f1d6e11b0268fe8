"""What a guarded run shows of itself while it goes on: metrics every hundred steps, and all decisions now and then."""

import errno
import itertools
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from heed.errors import RunFailed, Stopped
from heed.guard.decision_log import DecisionLog
from heed.guard.run.build import build
from heed.guard.run.config import job_of
from heed.guard.run.counts import latest_return
from heed.guard.run.train import train_guard
from heed.oversight.overseers.base import Verdict
from heed.oversight.overseers.human import HumanOverseer
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
        expected = latest_return(before)
        assert line["return"] == expected or (math.isnan(line["return"]) and math.isnan(expected))


def test_the_latest_return_is_of_whole_episodes_within_reach():
    lengths = [3, 5, 2, 4, 6]
    rows = [{"episode": e, "reward": float(e)} for e, length in enumerate(lengths) for _ in range(length)]
    assert latest_return(rows) == np.mean([0, 5, 4, 12])  # the last one goes on
    assert latest_return(rows, episodes=2) == np.mean([4, 12])
    assert latest_return(rows, reach=14) == np.mean([4, 12])  # the first within reach began before
    assert math.isnan(latest_return(rows[:3]))


@pytest.mark.parametrize("at_the_end_too", [False, True])
def test_a_full_disk_on_the_way_is_logged_once_and_ends_nothing(tmp_path, monkeypatch, caplog, at_the_end_too):
    out, asked, write = tmp_path / "run", [], DecisionLog.write

    def full(log, path):
        if path.parent != out:  # of a checkpoint
            return write(log, path)
        asked.append(len(log.rows))
        if len(log.rows) < 400 or at_the_end_too:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(log, path)

    monkeypatch.setattr(DecisionLog, "write", full)
    job = job_of(UNGUARDED)
    if at_the_end_too:
        with pytest.raises(RunFailed, match="run could not be written: No space left on device"):
            train_guard(job, out)
    else:
        assert train_guard(job, out)["completed"]
        assert pq.read_table(out / "decisions.parquet").num_rows == 400
    assert asked == [200, 300, 400]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "heed.guard.run.progress"]
    assert warning == f"{out / 'decisions.parquet'} cannot be written now: No space left on device"


class Person(HumanOverseer):
    """Lets everything pass in so many words, and retracts in each step what is given.

    Args:
        retracted: keys, step by step; the verdicts' are k0, k1 and so on.
    """

    def __init__(self, retracted):
        super().__init__()
        self.keys, self.retracted = (f"k{number}" for number in itertools.count()), iter(retracted)

    def judge(self, proposal):
        return Verdict(False, person="ada", key=next(self.keys))

    def retractions(self):
        return next(self.retracted)


def test_what_is_retracted_is_forgotten_by_the_next_step_and_what_was_no_label_is_asked_of_once_more(monkeypatch):
    job = job_of({**UNGUARDED, "method": "mbhi", "overseer": "browser"})
    run = build(job, Person([["never"], ["k1", "k0"], [], []]))
    asked, labels = [], run.phases.labels
    retract = labels.retract
    monkeypatch.setattr(labels, "retract", lambda key: asked.append(key) or retract(key))
    run.guard.reset(seed=0)
    forgotten = []
    for _ in range(4):
        run.guard.step(np.zeros(run.guard.action_space.shape, run.guard.action_space.dtype))
        forgotten.append(labels.labels().states.isnan().any(1).tolist())
    # k1 is retracted before the step that it judged brings its label
    assert forgotten == [[False], [True, False], [True, True, False], [True, True, False, False]]
    assert asked == ["never", "never", "k1", "k0", "k1"]


class Acting(Person):
    """The same, who acts in the agent's place in each step."""

    def judge(self, proposal):
        return Verdict(True, instead=np.zeros(2, np.float32), acted=True, person="ada", key=next(self.keys))


def test_a_demonstration_that_is_retracted_is_forgotten_as_well():
    settings = {"method": "mbhi", "overseer": "browser", "steps": 4, "learning_starts": 10}
    run = build(job_of(UNGUARDED | settings), Acting([[], ["k0", "k1"], [], []]))
    run.learner.learn(4)  # k1 is retracted before the learner has kept its step
    assert run.learner.demonstrations.state()["keys"] == ["k2", "k3"]
