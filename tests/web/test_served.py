"""A person as overseer from Python, played over their socket: blocks are obeyed, verdicts land in a store."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request

import gymnasium as gym
import numpy as np
import pytest
from judgements_room import retract
from socket_person import SocketPerson

import heed.web
import heed.worlds
from heed.errors import HeedError, Stopped
from heed.guard import Guard, GuardJob, LearnerConfig, train_guard
from heed.oversight import Proposal, Recorded, Store
from heed.web.served import STOPPED

POINT = "heed/PointHazard-v0"
PATIENCE = 20.0


def pushes_right(proposal):
    return proposal["action"][0] > 0


def steps(overseer, count=12):
    """Decisions of a bare loop whose proposals push to the right and to the left in turn."""
    guard = Guard(gym.make(POINT), overseer=overseer)
    guard.reset(seed=0)
    pushes = [np.array([0.5 * (-1) ** n, 0.0], np.float32) for n in range(count)]
    return [guard.step(push)[4]["guard"] for push in pushes]


def test_a_bare_guard_obeys_the_person_whose_verdicts_land_in_the_store(tmp_path):
    file = tmp_path / "judgements.db"
    with heed.web.serve(gym.make(POINT), people=["ada"], watchers=["eve"], store=str(file)) as person:
        assert set(person.addresses) == {"ada", "eve"}
        ada = SocketPerson(person.addresses["ada"], blocks=pushes_right)
        decisions = steps(person.overseer)
    ada.join(PATIENCE)
    assert person.human.status()["ended"] == f"{STOPPED}, and what you said is kept"
    assert [told["decision"] for told in decisions] == ["block", "allow"] * 6
    assert [told["executed"][0] for told in decisions] == [0.0, -0.5] * 6
    with contextlib.closing(Store(f"sqlite:///{file}")) as store:
        (run,) = store.runs()
        kept = store.effective("block", "ada", run)
        assert [judgement.verdict["block"] for judgement in kept] == [True, False] * 6
        assert [judgement.shown["step"] for judgement in kept] == list(range(12))
        assert {judgement.shown["env"] for judgement in kept} == {POINT} and run.startswith("PointHazard-v0-")
        assert [judgement.key for judgement in kept] == [f"key-{n}" for n in range(1, 13)]
        assert ada.written.items() <= {judgement.key: judgement.id for judgement in kept}.items() and ada.written


def test_without_a_store_verdicts_are_obeyed_and_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with heed.web.serve(POINT, people=["ada"]) as person:
        ada = SocketPerson(person.addresses["ada"], blocks=pushes_right)
        assert [told["decision"] for told in steps(person.overseer, 4)] == ["block", "allow"] * 2
    ada.join(PATIENCE)
    assert ada.written == {} and list(tmp_path.iterdir()) == []
    assert person.human.status()["ended"] == STOPPED  # which does not say that anything is kept


def test_a_run_that_trains_asks_the_person_and_writes_their_verdicts_into_its_folder(tmp_path):
    out = tmp_path / "run"
    job = GuardJob(
        POINT, overseer="browser", steps=20, learner=LearnerConfig(learning_starts=100), evaluation_episodes=0
    )
    with heed.web.serve(job.env, people=["ada"], run=out, report=lambda folder: "<!doctype html>") as person:
        ada = SocketPerson(person.addresses["ada"], blocks=pushes_right)
        summary = train_guard(job, out, person=person.human)
        page, _, token = person.addresses["ada"].partition("/#token=")
        asked = urllib.request.Request(f"{page}/api/judgements/about", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked) as answer:
            assert json.loads(answer.read())["count"] == 20
        with urllib.request.urlopen(f"{page}/pages") as answer:
            assert set(json.loads(answer.read())) == {"/", "/run", "/judgements"}
    ada.join(PATIENCE)
    assert summary["judgements"] == len(ada.proposals) == 20
    assert {shown["phase"] for shown in ada.proposals} == {"oversight"}
    with contextlib.closing(Store(f"sqlite:///{out / 'judgements.db'}")) as store:
        kept = store.effective("block", "ada", summary["run"])
        assert [judgement.verdict["block"] for judgement in kept] == [shown["action"][0] > 0 for shown in ada.proposals]


def test_a_store_of_ones_own_stays_open_and_a_retraction_reaches_what_is_learnt():
    store = Store("sqlite://")
    with heed.web.serve(POINT, people=["ada"], store=store) as person:
        assert isinstance(person.overseer, Recorded)
        SocketPerson(person.addresses["ada"], blocks=pushes_right)
        steps(person.overseer, 2)
        page, _, token = person.addresses["ada"].partition("/#token=")
        assert retract(page, token, 1)["retraction"]["person"] == "ada"
        assert person.human.retractions() == ["key-1"]
    assert [judgement.id for judgement in store.effective()] == [2]
    store.close()


def test_a_thread_that_waits_for_a_verdict_stops_as_the_block_ends():
    stopped, waits = [], threading.Event()

    def ask(overseer):
        try:
            overseer.judge(Proposal(np.zeros(4), np.zeros(2)))
        except Stopped:
            stopped.append(True)

    with heed.web.serve(POINT, people=["ada"]) as person, person.human.notifying(waits.set):
        agent = threading.Thread(target=ask, args=(person.overseer,), daemon=True)
        agent.start()
        assert waits.wait(PATIENCE)
    agent.join(PATIENCE)
    assert stopped == [True]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"people": ["ada", "ada"]}, "'ada' cannot be a person's name"),
        ({"people": ["ada"], "votes": 2}, "1 cannot judge each action 2 times"),
        ({"people": []}, "0 cannot judge each action 1 times"),
        ({"host": "203.0.113.1"}, "nothing can listen at 203.0.113.1"),
        ({"store": "no/such/folder/j.db"}, "cannot be opened"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(options, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeedError, match=wrong), heed.web.serve(POINT, **options):
        pass
