"""A proposal that several people judge: nothing is decided before all have; one block is a block; each is kept."""

from __future__ import annotations

import threading

import gymnasium as gym
import numpy as np
import pytest

from heed.errors import HeedError
from heed.guard.stored_labels import recalled
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Order, Pace, State
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.store.store import Store

PATIENCE = 10.0


class Two:
    """A desk at which two judge, with a clock that the test turns; ada and bob are there."""

    def __init__(self):
        self.now = 0.0
        self.desk = Desk(Pace(rates=(10.0,), rate=0, heartbeat=1e9, glance=0.0), clock=lambda: self.now, votes=2)
        for name in ("ada", "bob"):
            self.desk.connect(name, name)
        self.desk.order("ada", Order("each"))

    def show(self, number, *pages, asked=False):
        self.desk.put(number, asked)
        for page in pages or ("ada", "bob"):
            self.desk.rendered(page, number)

    def says(self, name, do, number=1, **rest):
        self.desk.order(name, Order(do, proposal=number, key=f"{name} {do}", **rest))


@pytest.fixture
def two():
    return Two()


def each(verdict):
    return [(given.person, given.block, given.key) for given in verdict.all]


def test_it_waits_for_the_second_and_reports_both(two):
    two.show(1)
    two.says("bob", "allow")
    assert two.desk.collect() is None
    assert two.desk.judged_by == ["bob"]
    two.says("ada", "allow")
    assert each(two.desk.collect()) == [("bob", False, "bob allow"), ("ada", False, "ada allow")]


@pytest.mark.parametrize("order", [("ada", "bob"), ("bob", "ada")])
def test_one_block_is_a_block_whoever_came_first(two, order):
    two.show(1)
    for name in order:
        two.says(name, "block" if name == "bob" else "allow")
    assert each(two.desk.collect()) == [("bob", True, "bob block"), ("ada", False, "ada allow")]


def test_nobody_judges_twice_but_may_still_think_better_of_letting_it_pass(two):
    two.show(1)
    two.says("ada", "allow")
    with pytest.raises(HeedError, match="you have judged it already"):
        two.says("ada", "allow")
    two.says("ada", "block")
    assert two.desk.collect() is None
    with pytest.raises(HeedError, match="blocked already, by ada"):
        two.says("ada", "block")
    two.says("bob", "allow")
    assert each(two.desk.collect()) == [("ada", True, "ada block"), ("bob", False, "bob allow")]


def test_in_silence_it_passes_only_when_both_have_had_it_in_view(two):
    two.desk.order("ada", Order("go"))
    two.show(1, "ada")
    two.now = 50.0
    assert two.desk.collect() is None
    two.desk.rendered("bob", 1)
    assert two.desk.due() == pytest.approx(0.1)
    two.now = 50.05
    assert two.desk.collect() is None
    two.now = 50.11
    found = two.desk.collect()
    assert [(said.person, said.block, said.silent) for said in found.all] == [
        ("ada", False, True),
        ("bob", False, True),
    ]


def test_who_is_silent_beside_a_block_is_written_down_as_silent(two):
    two.desk.order("ada", Order("go"))
    two.show(1)
    two.says("bob", "block")
    assert two.desk.collect() is None
    two.now = 0.11
    found = two.desk.collect()
    assert (found.person, found.block, found.silent) == ("bob", True, False)
    assert [(said.person, said.block, said.silent) for said in found.others] == [("ada", False, True)]


def test_where_it_asks_patience_ends_in_a_block_and_each_verdict_is_kept(two):
    two.show(1, asked=True)
    two.says("ada", "allow")
    two.now = 9.9
    assert two.desk.collect() is None
    two.now = 10.0
    assert each(two.desk.collect()) == [("", True, ""), ("ada", False, "ada allow")]


def test_who_holds_or_acts_decides_alone(two):
    two.show(1)
    two.says("bob", "allow")
    two.desk.order("ada", Order("hold"))
    assert each(two.desk.collect()) == [("ada", True, ""), ("bob", False, "bob allow")]
    two.desk.order("ada", Order("loose"))
    two.desk.order("ada", Order("take"))
    two.show(2)
    two.says("ada", "act", 2, action=[0.5])
    assert (found := two.desk.collect()).acted and found.instead == [0.5]


def test_a_verdict_outlives_its_page(two):
    two.show(1)
    two.says("bob", "block")
    two.desk.disconnect("bob")
    assert two.desk.state is State.DECIDING
    two.says("ada", "allow")
    assert each(two.desk.collect())[0] == ("bob", True, "bob block")


class Watching:
    """Two people before an agent whose judgements are written into a store."""

    def __init__(self):
        self.store, self.overseer = Store("sqlite://"), HumanOverseer(Desk(Pace(heartbeat=1e9, glance=0.0), votes=2))
        self.recorded = Recorded(self.overseer, listeners=[self.overseer])
        self.recorded.begin(self.store, "walk", "heed/PointHazard-v0", lambda: ("oversight", 0))
        self.overseer.bind(self.recorded)
        self.steps = 0
        for name in ("ada", "bob"):
            self.overseer.connect(name, name, judges=True)
        self.overseer.order("ada", Order("each"))

    def judge(self, **orders):
        """The verdict that the agent gets, where people order this."""
        found, there = [], threading.Event()
        proposal = Proposal(np.zeros(4), np.zeros(2), step=self.steps)
        agent = threading.Thread(target=lambda: found.append(self.recorded.judge(proposal)), daemon=True)
        self.steps += 1
        with self.overseer.notifying(there.set):
            agent.start()
            assert there.wait(PATIENCE)
        for name, do in orders.items():
            self.overseer.rendered(name, self.steps)
            self.overseer.order(name, Order(do, self.steps, f"{name} {self.steps}"))
        agent.join(PATIENCE)
        return found[0]


def test_each_verdict_is_a_judgement_of_its_own_and_the_agent_learns_one():
    watching = Watching()
    verdict = watching.judge(ada="allow", bob="block")
    assert (verdict.block, verdict.person, verdict.key) == (True, "bob", "bob 1")
    rows = [(row.person, row.verdict["block"], row.shown["step"]) for row in watching.store.effective()]
    assert rows == [("bob", True, 0), ("ada", False, 0)]
    watching.judge(ada="allow", bob="allow")
    labels = recalled(watching.store, gym.make("heed/PointHazard-v0"), "heed/PointHazard-v0")
    assert labels.blocked.tolist() == [True, False]  # one label for each action, not one for each word


def test_nothing_is_retracted_in_place_of_what_is_on_its_way():
    watching = Watching()
    watching.judge(ada="allow", bob="allow")
    watching.overseer.order("ada", Order("each"))
    watching.overseer.desk.put(9)
    watching.overseer.rendered("ada", 9)
    watching.overseer.order("ada", Order("block", 9, "ada 9"))
    with pytest.raises(HeedError, match="your last verdict is not on disk yet"):
        watching.overseer.undo("ada")
    watching.overseer.undo("bob")
    assert [row.person for row in watching.store.effective()] == ["ada"]


def test_a_retracted_block_is_forgotten_only_when_nobody_else_supports_it():
    watching = Watching()
    watching.judge(ada="block", bob="block")
    watching.overseer.undo("ada")
    assert watching.overseer.retractions() == []
    watching.overseer.undo("bob")
    assert watching.overseer.retractions() == ["ada 1"]
    assert watching.store.effective() == []
    watching.judge(ada="allow", bob="block")
    watching.overseer.undo("ada")  # which nothing was learnt from
    assert watching.overseer.retractions() == []
    watching.overseer.undo("bob")
    assert watching.overseer.retractions() == ["bob 2"]
