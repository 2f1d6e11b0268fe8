"""A guarded run that was interrupted and resumed is the run that was not, decision for decision."""

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from kept_runs import Ledge, Watcher, small_job
from stable_baselines3.common.save_util import load_from_zip_file

from heed.cli import main
from heed.errors import HeedError, RunFailed, Stopped
from heed.guard.run.keeping.resumption import LEARNER, LOG
from heed.guard.run.keeping.rewinding import Rewinding
from heed.guard.run.train import resume_guard, train_guard
from heed.oversight.store.store import open_store
from heed.runs.checkpoints import MANIFEST, step_of, write_manifest
from heed.runs.state import read_state, write_state

HERE = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": f"{HERE}:{':'.join(sys.path)}", "OMP_NUM_THREADS": "1"}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from kept_runs import small_job
from heed.guard.run.train import resume_guard, train_guard

out, changes, at = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
def on_step(step, metrics):
    if step == at:
        os.kill(os.getpid(), signal.SIGKILL)
resume_guard(out, on_step) if (out / "config.yaml").exists() else train_guard(small_job(**changes), out, on_step)
"""
TIMES = ("seconds", "decision_ms", "plan_ms", "run")


def plain(array):
    return str(array.tolist())


def content(out: Path):
    """All that a run came to, without how long it took and what it is called."""
    rows = [
        {name: str(value) for name, value in row.items() if not name.endswith("_ms")}
        for row in pq.read_table(out / "decisions.parquet").to_pylist()
    ]
    summary = json.loads((out / "summary.json").read_text())
    found = {
        "decisions": rows,
        "summary": {name: value for name, value in summary.items() if name not in TIMES},
        "metrics": (out / "metrics.jsonl").read_text(),
    }
    for name in ("transitions.npz", "labels.npz", "moments.npz"):
        if (out / name).exists():
            with np.load(out / name) as stored:
                found[name] = {column: plain(stored[column]) for column in stored}
    parameters = load_from_zip_file(out / "learner.zip", device="cpu")[1]
    if (out / "guard").exists():
        found["guard"] = [(out / "guard" / name).read_bytes() for name in ("guard.json", "guard.safetensors")]
    found["learner"] = {
        f"{name}.{part}": str(value) for name, each in parameters.items() for part, value in each.items()
    }
    if (out / "judgements.db").exists():
        with closing(open_store(str(out / "judgements.db"), "--out", new=False)) as store:
            given = store.effective()
            assert len(given) == store.count() and store.verify() == len(given)
            found["judgements"] = [(judgement.shown, judgement.verdict, judgement.person) for judgement in given]
    return found


def stopped_at(*steps):
    def on_step(step, metrics):
        if step in steps:
            raise Stopped

    return on_step


def assert_same(one: Path, other: Path):
    left, right = content(one), content(other)
    assert left.keys() == right.keys()
    for number, (row, there) in enumerate(zip(left["decisions"], right["decisions"], strict=True)):
        assert row == there, number
    for name in left:
        assert left[name] == right[name], name


RUNS = {
    "sac": {"overseer": "local,miss=0.1,delay=1,tire=400", "checkpoint_every": 60},
    "balanced and imagined": {"balance": "gapo", "imagined": 2, "ask_above": 0.2, "refit_every": 20},
    "taken over": {"overseer": "kept_runs:Driver", "balance": "gapo", "checkpoint_every": 50},
    "choices": {"env": "kept_runs:Steps", "learner": "dqn", "horizon": 3},
    "on-policy": {"learner": "ppo", "rollout_steps": 32, "checkpoint_every": 1, "planner": "mppi"},
    "unguarded": {"method": "none"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_stopped_twice_and_resumed_is_the_run_that_was_not(name, tmp_path):
    job = small_job(**RUNS[name])
    train_guard(job, tmp_path / "whole")
    out = tmp_path / "halves"
    with pytest.raises(Stopped):
        train_guard(job, out, stopped_at(73))
    with pytest.raises(Stopped):
        resume_guard(out, stopped_at(131))
    resume_guard(out)
    assert_same(tmp_path / "whole", out)
    driven = json.loads((out / "summary.json").read_text())["demonstrations"]
    assert (driven > 10) is (name == "taken over")


def test_a_folder_from_before_there_were_demonstrations_is_gone_on_from(tmp_path):
    train_guard(small_job(), tmp_path / "whole")
    out = tmp_path / "older"
    with pytest.raises(Stopped):
        train_guard(small_job(), out, stopped_at(73))
    config = yaml.safe_load((out / "config.yaml").read_text())
    del config["learner"]["demonstration_weight"]
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    for checkpoint in (out / "checkpoints").iterdir():
        state = read_state(checkpoint, LEARNER)
        assert state.pop("demonstrations")["keys"] == []
        write_state(checkpoint, LEARNER, state)
        log = pq.read_table(checkpoint / LOG)
        pq.write_table(log.select([name for name in log.column_names if name != "demonstrated"]), checkpoint / LOG)
        (checkpoint / MANIFEST).unlink()
        write_manifest(checkpoint, step_of(checkpoint))
    resume_guard(out)
    lacking, whole = content(out), content(tmp_path / "whole")
    assert lacking["learner"] == whole["learner"] and lacking["summary"] == whole["summary"]


def killed(out, at, changes):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), json.dumps(changes), str(at)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == (-signal.SIGKILL if at >= 0 else 0), done.stderr


def test_a_run_that_was_killed_and_resumed_is_the_run_that_was_not(tmp_path):
    changes = {"checkpoint_every": 30}
    train_guard(small_job(**changes), tmp_path / "whole")
    out = tmp_path / "killed"
    for at in (45, 140):
        killed(out, at, changes)
    resume_guard(out)
    assert_same(tmp_path / "whole", out)


def test_nobody_is_asked_twice_for_what_they_said_before_a_crash(tmp_path):
    job = small_job(overseer="kept_runs:Watcher", checkpoint_every=40, evaluation_episodes=0, audit=0.0)
    train_guard(job, tmp_path / "whole")

    def crash(step, metrics):
        if step == 75:
            raise OSError("power")

    Watcher.asked.clear()
    with pytest.raises(RunFailed, match="power"):
        train_guard(job, tmp_path / "halves", crash)
    before = len(Watcher.asked)
    resume_guard(tmp_path / "halves")
    assert before == 75 and len(set(Watcher.asked)) == len(Watcher.asked) == 100
    assert_same(tmp_path / "whole", tmp_path / "halves")


@pytest.mark.slow
def test_fifty_kills_at_random_steps_change_nothing(tmp_path):
    changes = {"checkpoint_every": 4, "evaluation_episodes": 0}
    train_guard(small_job(**changes), tmp_path / "whole")
    done = subprocess.run(
        [sys.executable, HERE / "kill_runs.py", str(tmp_path / "killed"), "50", "0", json.dumps(changes)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 20  # then it came to its end
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.raises(Stopped):
        train_guard(small_job(), out, stopped_at(3))
    return out


def test_other_settings_and_folders_that_hold_no_such_run_are_refused_in_a_line(stopped, tmp_path, capsys):
    def said(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["guard", *map(str, arguments)])
        assert end.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "the run has other settings: planning.horizon: 4 -> 9" in said("--resume", stopped, "--horizon", 9)
    assert "a run that goes on stays where it is (--out)" in said("--resume", stopped, "--out", tmp_path / "x")
    assert "this folder holds no run" in said("--resume", tmp_path / "absent")
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    (other / "summary.json").write_text('{"kind": "guard", "completed": true}')
    assert "this run is finished" in said("--resume", other)
    (other / "summary.json").write_text('{"kind": "guard", "completed": false}')
    assert "there is no checkpoint to go on from" in said("--resume", other)
    (other / "summary.json").write_text('{"kind": "align"}')
    assert "this is a run of kind align" in said("--resume", other)


def test_a_checkpoint_that_is_torn_is_none_and_the_one_before_it_is_gone_on_from(stopped, tmp_path):
    whole, torn = (stopped / "checkpoints" / name for name in ("step-0", "step-3"))
    assert whole.is_dir() and torn.is_dir()
    again = tmp_path / "again"
    again.mkdir()
    for file in stopped.rglob("*"):
        place = again / file.relative_to(stopped)
        place.mkdir(parents=True) if file.is_dir() else place.write_bytes(file.read_bytes())
    (again / "checkpoints" / "step-3" / "guard.json").write_text("{")
    heard = []

    def on_step(step, metrics):
        heard.append(step)
        raise Stopped

    with pytest.raises(Stopped):
        resume_guard(again, on_step)
    assert heard == [1]


class OwnChance(Ledge):
    """Its chance is not ``np_random``, and nobody can say what it is."""

    def __init__(self):
        self.own = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.state = observation + self.own.normal(size=2).astype(np.float32) / 10
        return self.state, info


class SaysItsChance(OwnChance):
    """The same, and it says it."""

    def get_state(self):
        return self.own.bit_generator.state

    def set_state(self, state):
        self.own.bit_generator.state = state


def rewound(kind, episodes):
    """The observations of steps after an environment was put back in another copy of it, and in itself."""
    env, other = Rewinding(kind(), "own"), Rewinding(kind(), "own")
    env.reset(seed=1)
    for _ in range(episodes):
        env.reset()
    seen = env.step(np.array([0.5]))[0].copy()
    other.reset(seed=2)
    other.replay(env.kept(), seen)
    told = [[], []]
    for each, observations in zip((env, other), told, strict=True):
        for _ in range(2):
            observations += [each.step(np.array([-0.5]))[0].tolist() for _ in range(3)]
            observations.append(each.reset()[0].tolist())
    return told


@pytest.mark.parametrize(("kind", "episodes"), [(Ledge, 0), (Ledge, 3), (SaysItsChance, 2)])
def test_an_environment_goes_on_where_it_stood(kind, episodes):
    there, here = rewound(kind, episodes)
    assert there == here


def test_an_environment_that_cannot_be_put_back_says_so_in_a_line():
    with pytest.raises(HeedError, match=r"own does not come back .* np_random alone \(--resume\): give it get_state"):
        rewound(OwnChance, 2)


def test_a_run_outlives_a_checkpoint_that_cannot_be_written_and_names_the_one_that_stands(
    tmp_path, monkeypatch, caplog
):
    from heed.guard.run.keeping import resumption

    written = resumption.write_state

    def full(folder, name, state):
        if "step-30" not in str(folder):
            raise OSError(28, "No space left on device")
        written(folder, name, state)

    monkeypatch.setattr(resumption, "write_state", full)
    with pytest.raises(Stopped):
        train_guard(small_job(checkpoint_every=30), tmp_path / "run", stopped_at(61))
    monkeypatch.undo()
    assert "checkpoint of step 60 could not be written" in caplog.text
    assert "the run goes on" in caplog.text
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-30"]
    with pytest.raises(Stopped):
        resume_guard(tmp_path / "run", stopped_at(31))
