"""Judgements of a guarded run: all of them in the store, with what was shown; what they teach a later run."""

import itertools
import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from heed.cli import main
from heed.errors import HeedError, RunFailed
from heed.guard.guard import Guard
from heed.guard.labels import Labels
from heed.guard.models.transitions import Transitions
from heed.guard.run.config import job_of
from heed.guard.run.environment import surroundings
from heed.guard.run.train import train_guard
from heed.guard.stored_labels import recalled
from heed.oversight import Judgement, Proposal, Recorded, RuleOverseer, Store, Verdict, fail_closed, open_store

POINT = "heed/PointHazard-v0"
SMALL = {
    "env": POINT, "steps": 400, "oversight_steps": 10_000, "learning_starts": 1000, "hidden": 16, "particles": 1,
    "evaluation_episodes": 0, "overseer": "far-sighted", "dynamics_hidden": 16, "members": 2, "horizon": 3,
    "plan_samples": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def overseen(tmp_path_factory):
    """A run that never leaves oversight."""
    out = tmp_path_factory.mktemp("runs") / "point"
    return out, train_guard(job_of(SMALL), out)


def labels_of(out):
    with np.load(out / "labels.npz") as kept:
        return Labels(**{name: torch.from_numpy(column) for name, column in kept.items()})


def store_of(out):
    return Store(f"sqlite:///{out / 'judgements.db'}")


def copy_of(out, folder):
    (folder / "judgements.db").write_bytes((out / "judgements.db").read_bytes())  # closed, so without a log beside it
    return folder / "judgements.db"


def test_every_judgement_of_a_run_is_in_its_store_with_what_was_shown(overseen):
    out, summary = overseen
    rows, stored = pq.read_table(out / "decisions.parquet").to_pylist(), store_of(out).effective()
    states = Transitions.load(out / "transitions.npz").tensors().states.tolist()
    assert len(stored) == len(rows) == summary["judgements"] == 400
    assert 0 < sum(judgement.verdict["block"] for judgement in stored) < 400
    started = -1
    for judgement, row, state in zip(stored, rows, states, strict=True):
        started = started + 1 if judgement.shown["step"] == 0 else started
        assert judgement.shown == {
            "env": POINT,
            "observation": state,
            "action": row["proposed"],
            "step": judgement.shown["step"],
            "episode": started,
            "phase": "oversight",
            "risk": None,
        }
        assert judgement.verdict == {"block": row["decision"] == "block", "instead": None}
        assert (judgement.person, judgement.run, judgement.model_version) == ("far-sighted", summary["run"], "0")
        assert 0 < judgement.latency_ms < row["latency_ms"]
    assert all(before.at <= after.at for before, after in itertools.pairwise(stored))
    assert summary["run"].startswith("point-")
    assert json.loads((out / "summary.json").read_text())["run"] == summary["run"]


def test_who_is_asked_in_autonomy_is_told_the_risk_and_the_fit_is_named(tmp_path):
    asked = {"method": "mbhi-true", "oversight_steps": 20, "steps": 50, "ask_above": 0.0, "evaluation_episodes": 1}
    train_guard(job_of(SMALL | asked), tmp_path / "run")
    rows = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    stored = store_of(tmp_path / "run").effective()
    phases = [judgement.shown["phase"] for judgement in stored]
    assert phases == ["oversight"] * 20 + ["autonomy"] * 30  # and in the evaluation nobody
    assert [judgement.model_version for judgement in stored] == ["0"] * 20 + ["3"] * 30
    assert [judgement.shown["risk"] for judgement in stored[20:50]] == [row["risk"] for row in rows[20:]]


def test_labels_made_from_the_store_are_those_that_the_run_itself_learnt_from(overseen, tmp_path):
    out, _ = overseen
    labels, store = labels_of(out), Store(f"sqlite:///{copy_of(out, tmp_path)}")
    env = surroundings(POINT).env
    stored = recalled(store, env, POINT)
    judged = ~labels.survived
    assert int(judged.sum()) == 400
    for name in ("states", "actions", "blocked", "catastrophes", "survived"):
        assert torch.equal(getattr(stored, name), getattr(labels, name)[judged]), name
    assert torch.equal(stored.episodes, -1 - labels.episodes[judged]) and bool(stored.next_states.isnan().all())
    block = next(judgement for judgement in store.effective() if judgement.verdict["block"])
    store.retract(block.id, "ada", "it was safe")
    after, kept = recalled(store, env, POINT), [n for n in range(400) if n != block.id - 1]
    assert torch.equal(after.states, stored.states[kept]) and torch.equal(after.actions, stored.actions[kept])
    assert int(after.blocked.sum()) == int(stored.blocked.sum()) - 1


def test_a_run_starts_with_earlier_judgements_and_fits_its_blockers_to_them(overseen, tmp_path):
    out, _ = overseen
    place = copy_of(out, tmp_path)
    before = recalled(Store(f"sqlite:///{place}"), surroundings(POINT).env, POINT)
    more = {"judgements": str(place), "steps": 12, "oversight_steps": 10, "least_blocks": 3, "threshold": "hirl"}
    summary = train_guard(job_of(SMALL | more), tmp_path / "run")
    known = int(before.blocked.sum())
    assert known >= 3 and [fit["blocks"] for fit in summary["fits"]] == [known] and summary["handed_over_at"] == 10
    assert summary["judgements"] == 10  # of its own: the earlier ones are of no budget of this run
    own = labels_of(tmp_path / "run")
    own = Labels(*(column[~own.survived] for column in vars(own).values()))
    assert torch.equal(own.states[:400], before.states) and torch.equal(own.actions[:400], before.actions)
    # Its seed is that run's, so the ten that it judged are the first ten of then.
    assert own.episodes[:10].tolist() == [0] * 10 and own.episodes[10:400].max() == -1
    assert not own.next_states[:10][~own.blocked[:10]].isnan().any() and len(own.episodes) == 400
    alone = train_guard(job_of(SMALL | more | {"judgements": None}), tmp_path / "alone")
    assert alone["handed_over_at"] is None  # from ten steps of its own nothing could have been learnt
    store = Store(f"sqlite:///{place}")
    store.retract(next(judgement.id for judgement in store.effective() if judgement.verdict["block"]), "ada", "slip")
    assert train_guard(job_of(SMALL | more), tmp_path / "again")["fits"][0]["blocks"] == known - 1


def test_several_runs_share_one_store_and_each_finds_its_own(tmp_path, store_url):
    url = store_url
    jobs = [job_of(SMALL | {"store": url, "steps": steps, "seed": steps}) for steps in (20, 30)]
    runs = [train_guard(job, tmp_path / f"run{n}")["run"] for n, job in enumerate(jobs)]
    store = Store(url)
    assert store.runs() == runs
    assert [len(store.effective(run=run)) for run in runs] == [20, 30] and store.count() == 50
    env = surroundings(POINT).env
    assert len(recalled(store, env, POINT).blocked) == 50
    assert len(recalled(store, env, POINT, runs[1]).blocked) == 30
    assert not (tmp_path / "run0" / "judgements.db").exists()
    assert yaml.safe_load((tmp_path / "run0" / "config.yaml").read_text())["store"] == url
    again = job_of(SMALL | {"judgements": f"{url},{runs[0]}", "steps": 5})
    train_guard(again, tmp_path / "again")
    assert len(labels_of(tmp_path / "again").blocked) == 25


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--store", "postgresql://ada:secret@host/judgements"], "a password would be written"),
        (["--store", "no/such/folder/j.db"], "cannot be opened"),
        (["--store", "mystery://host/x"], "mystery keeps no judgements"),
        (["--judgements", "nowhere.db"], "there is no store of judgements (--judgements nowhere.db)"),
        (["--judgements", "sqlite://"], "there is no store of judgements"),
        (["--judgements", "there.db"], "stand there (--judgements): its runs are r1"),
        (["--judgements", "there.db,r7"], "for the run r7"),
        (["--judgements", "there.db", "--env", "CartPole-v1", "--overseer", "rule"], "1 is about 2 numbers"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_and_leaves_no_folder(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = open_store("there.db", "--store")
    shown = {"env": "CartPole-v1", "observation": [1, 2], "action": 0}
    store.add(Judgement("block", "ada", shown, {"block": True}, run="r1"))
    store.close()
    with pytest.raises(SystemExit) as ended:
        main(["guard", *flags, "--out", "run"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and message in error and "secret" not in error
    assert not (tmp_path / "run").exists() and not (tmp_path / "nowhere.db").exists()


DIES = """
import os, signal
import numpy as np
from heed.oversight import Proposal, Recorded, RuleOverseer, Store
overseer = Recorded(RuleOverseer(lambda observation, info: observation[0] % 2 == 1), every={every})
overseer.begin(Store("{url}"), "r", "Walk", lambda: ("oversight", 0))
for n in range(27): overseer.judge(Proposal(np.array([float(n)]), n, step=n))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("every", "kept"), [(10, 20), (1, 27)])
def test_a_kill_loses_what_was_not_yet_written_together_and_no_part_of_a_judgement(store_url, every, kept):
    ended = subprocess.run([sys.executable, "-c", DIES.format(every=every, url=store_url)])
    assert ended.returncode == -signal.SIGKILL
    stored = Store(store_url).effective(kind="block", run="r")
    assert [judgement.shown["observation"] for judgement in stored] == [[float(n)] for n in range(kept)]
    assert [judgement.verdict["block"] for judgement in stored] == [n % 2 == 1 for n in range(kept)]


def recorded(overseer, **how):
    store, made = Store("sqlite://"), Recorded(overseer, **how)
    made.begin(store, "r", "Walk", lambda: ("oversight", 0))
    return made, store


def test_what_the_overseer_does_to_what_it_sees_is_not_what_it_was_shown():
    class Meddles(RuleOverseer):
        def judge(self, proposal):
            proposal.observation[:], proposal.action[:] = 9.0, 9.0
            return Verdict(True, instead=np.array([0.5]))

    overseer, store = recorded(Meddles(None))
    overseer.judge(Proposal(np.array([1.0, np.nan]), np.array([0.25]), step=4, episode=2, risk=0.75))
    (stored,) = store.effective()
    assert stored.shown["observation"] == [1.0, None] and stored.shown["action"] == [0.25]
    assert (stored.shown["step"], stored.shown["episode"], stored.shown["risk"]) == (4, 2, 0.75)
    assert stored.verdict == {"block": True, "instead": [0.5]}


def test_a_verdict_that_is_no_plain_no_is_written_as_the_block_that_it_is():
    class Vague(RuleOverseer):
        def judge(self, proposal):
            return Verdict(block=None)

    overseer, store = recorded(Vague(None))
    overseer.judge(Proposal(np.zeros(1), 0))
    assert store.effective()[0].verdict["block"] is True


def test_a_block_because_the_overseer_failed_is_nobodys_judgement():
    overseer, store = recorded(fail_closed(RuleOverseer(lambda observation, info: info["absent"]), 5.0))
    assert overseer.judge(Proposal(np.zeros(1), 0)).block
    assert store.count() == 0


def test_what_cannot_be_written_is_blocked_and_written_once_it_can_be():
    overseer, store = recorded(RuleOverseer(lambda observation, info: False))
    guard = Guard(surroundings(POINT).env, overseer)
    guard.reset(seed=0)
    go = np.array([1.0, 0.0], np.float32)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("create trigger full before insert on judgements begin select raise(fail, 'x'); end")
    info = guard.step(go)[4]["guard"]
    assert (info["decision"], info["source"], info["executed"].tolist()) == ("block", "fallback", [0.0, 0.0])
    assert any("could not be written" in fault for fault in guard.faults) and store.count() == 0
    with pytest.raises(RunFailed, match="could not be written"):
        overseer.flush()
    with store._engine.begin() as connection:
        connection.exec_driver_sql("drop trigger full")
    assert guard.step(go)[4]["guard"]["decision"] == "allow"
    assert [judgement.shown["step"] for judgement in store.effective()] == [0, 1]


def test_nothing_is_written_before_it_begins():
    overseer = Recorded(RuleOverseer(lambda observation, info: True))
    assert overseer.judge(Proposal(np.zeros(1), 0)).block
    overseer.flush()
    store = Store("sqlite://")
    overseer.begin(store, "r", "Walk", lambda: ("oversight", 0))
    overseer.flush()
    assert store.count() == 0 and overseer.name == "rule"


def test_labels_of_a_store_are_read_by_environment_run_and_phase():
    store, place = Store("sqlite://"), surroundings("CartPole-v1")
    shown = {"env": "CartPole-v1", "observation": [0.5, -1.0, None, 2.0], "action": 1, "step": 0, "episode": 0}
    given = Judgement("block", "ada", {**shown, "phase": "oversight", "risk": None}, {"block": True}, run="a")
    others = [
        replace(given, key="1", run="b", verdict={"block": False}, shown={**given.shown, "action": 0}),
        replace(given, key="2", shown={**given.shown, "phase": "evaluation"}),
        replace(given, key="3", shown={**given.shown, "env": POINT}),
        replace(given, key="4", kind="compare", shown=["left", "right"]),
        replace(given, key="5", run="b", shown={**given.shown, "episode": 3}),
    ]
    store.add_all([given, *others])
    stored = recalled(store, place.env, place.name)
    assert stored.actions.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    assert stored.blocked.tolist() == [True, False, True]
    assert stored.episodes.tolist() == [-1, -2, -3] and not stored.catastrophes.any()
    assert stored.states[0].isnan().tolist() == [False, False, True, False]
    assert recalled(store, place.env, place.name, "b").blocked.tolist() == [False, True]
    store.add(replace(given, key="6", shown={**given.shown, "step": 1, "action": 7}))
    with pytest.raises(HeedError, match="judgement 7 is about 4 numbers and the action 7"):
        recalled(store, place.env, place.name)
