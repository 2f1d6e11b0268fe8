"""A guarded run that is stopped or fails: what it came to so far, the learner included, is whole in its folder."""

import json
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from heed.cli import main
from heed.cli.console import Bar
from heed.errors import RunFailed, Stopped
from heed.guard.learners.sb3 import GuardedSAC
from heed.guard.models.transitions import Transitions
from heed.guard.run.config import job_of
from heed.guard.run.train import train_guard
from heed.report import write_report
from heed.worlds.point_hazard.env import PointHazardEnv

SMALL = {
    "steps": 80, "oversight_steps": 50, "learning_starts": 30, "batch_size": 16, "hidden": 16, "method": "mbhi-true",
    "evaluation_episodes": 2, "horizon": 3, "plan_samples": 8, "plan_iterations": 1, "particles": 1,
}  # fmt: skip


def summary_in(out):
    return json.loads((out / "summary.json").read_text())


def stop_at(call):
    """Asks to stop when it is called for the so-manieth time; tells with what it was called."""
    heard = []

    def on_step(step, metrics):
        heard.append((step, metrics))
        if len(heard) == call:
            raise Stopped

    return heard, on_step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    heard, on_step = stop_at(-1)
    return out, train_guard(job_of(SMALL), out, on_step), heard


def test_the_evaluation_s_steps_are_heard_as_those_of_the_training(whole):
    _, summary, heard = whole
    assert [step for step, _ in heard[:80]] == list(range(1, 81))
    assert len(heard) >= 80 + 4  # two episodes with the guard on, two with it off
    assert all(metrics == heard[79] for metrics in heard[80:])
    assert summary["completed"] and summary["evaluation_episodes"] == 2


@pytest.mark.parametrize("later", [1, 30])
def test_a_stop_in_the_evaluation_keeps_what_the_training_came_to(whole, tmp_path, later):
    _, summary, _ = whole
    with pytest.raises(Stopped):
        train_guard(job_of(SMALL), tmp_path / "run", stop_at(80 + later)[1])
    stopped = summary_in(tmp_path / "run")
    assert stopped["completed"] is False and not any("guarded" in name for name in stopped)
    same = (
        "method",
        "seed",
        "env_steps",
        "catastrophes",
        "interventions",
        "goals",
        "judgements",
        "fits",
        "handed_over_at",
    )
    assert {name: stopped[name] for name in same} == json.loads(json.dumps({name: summary[name] for name in same}))
    text = write_report(tmp_path / "run").read_text()
    assert "This run is not complete: it stands at step 80" in text


def test_a_fault_in_the_evaluation_keeps_what_the_training_came_to(tmp_path, monkeypatch):
    step, taken = PointHazardEnv.step, []

    def breaks(env, action):
        taken.append(1)
        if len(taken) == 100:
            raise ConnectionError("the motor is off")
        return step(env, action)

    monkeypatch.setattr(PointHazardEnv, "step", breaks)
    with pytest.raises(RunFailed, match="the motor is off"):
        train_guard(job_of(SMALL), tmp_path / "run")
    assert summary_in(tmp_path / "run")["env_steps"] == 80
    assert GuardedSAC.load(tmp_path / "run" / "learner.zip", device="cpu").num_timesteps == 80


@pytest.mark.parametrize("method", ["mbhi-true", "none"])
def test_a_stopped_run_keeps_its_learner_beside_what_it_has_seen(tmp_path, method):
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        train_guard(job_of(SMALL | {"method": method}), out, stop_at(47)[1])
    learner = GuardedSAC.load(out / "learner.zip", device="cpu")
    assert learner.num_timesteps == 47 and learner._n_updates > 0
    assert len(pq.read_table(out / "decisions.parquet")) == 47
    if method != "none":
        assert len(Transitions.load(out / "transitions.npz")) == 47
    assert not [path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_a_learner_that_fails_is_kept_as_far_as_it_came(tmp_path, monkeypatch):
    train = GuardedSAC.train

    def fails(learner, *arguments, **settings):
        if learner._n_updates == 12:
            raise ValueError("a loss that is no number")
        train(learner, *arguments, **settings)

    monkeypatch.setattr(GuardedSAC, "train", fails)
    with pytest.raises(RunFailed, match="a loss that is no number"):
        train_guard(job_of(SMALL), tmp_path / "run")
    assert GuardedSAC.load(tmp_path / "run" / "learner.zip", device="cpu")._n_updates == 12


def test_a_learner_that_the_disk_refuses_leaves_no_half_of_it(tmp_path, monkeypatch):
    def full(learner, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GuardedSAC, "save", full)
    with pytest.raises(RunFailed, match="could not be written: No space left"):
        train_guard(job_of(SMALL), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*learner*")) and not list((tmp_path / "run").glob(".learner*"))
    assert len(pq.read_table(tmp_path / "run" / "decisions.parquet")) == 80
    assert np.load(tmp_path / "run" / "labels.npz")["states"].shape[1] == 4


def test_ctrl_c_in_the_evaluation_ends_the_command_quietly(tmp_path, monkeypatch, capsys):
    shown, steps = Bar.show, []

    def show(bar, name, done, total, numbers=""):
        shown(bar, name, done, total, numbers)
        steps.append(done)
        if steps.count(80) == 2:  # the last step's bar again: in the evaluation
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Bar, "show", show)
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        main(["guard", *(f"--{name}={value}" for name, value in SMALL.items()), "--out", str(out)])
    assert ended.value.code == 130 and f"is in {out}" in capsys.readouterr().err
    assert summary_in(out)["env_steps"] == 80 and steps.count(80) <= 3
