"""Verdicts that are written down: who hears of it, under which phase, and how a verdict becomes a judgement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from heed.errors import HeedError
from heed.oversight import Proposal, Recorded, Store, Verdict
from heed.oversight.overseers.recorded import judgement_of, verdict_of


class Scripted:
    """Answers with the verdicts that it is given, one after another."""

    name = "scripted"

    def __init__(self, *verdicts):
        self.verdicts = iter(verdicts)

    def judge(self, proposal, /):
        return next(self.verdicts)

    def reset(self, seed):
        """Nothing to forget."""


class Hears:
    """A listener that remembers what it heard, under its own name, in a list that others share."""

    def __init__(self, name, heard):
        self.name, self.heard = name, heard

    def written(self, verdict, row):
        self.heard.append((self.name, verdict, row))

    def retracted(self, row):
        self.heard.append((self.name, "retracted", row))


def proposal(step=0):
    return Proposal(np.array([0.5]), np.array([0.25]), step=step)


def recorded(*verdicts, where=lambda: ("oversight", 0), **options):
    store, made = Store("sqlite://"), Recorded(Scripted(*verdicts), **options)
    made.begin(store, "r", "Walk", where)
    return made, store


def test_listeners_hear_in_their_order_of_each_persons_verdict_once_it_is_on_disk():
    heard, bob = [], Verdict(False, person="bob", key="b")
    ada = Verdict(True, person="ada", key="a", others=(bob,))
    overseer, store = recorded(ada, listeners=[Hears("first", heard), Hears("second", heard)])
    assert overseer.judge(proposal()) is ada
    assert heard == [("first", ada, 1), ("second", ada, 1), ("first", bob, 2), ("second", bob, 2)]
    assert [(row.id, row.person, row.key) for row in store.effective()] == [(1, "ada", "a"), (2, "bob", "b")]


def test_of_verdicts_that_wait_for_the_disk_together_nothing_is_heard_before():
    heard = []
    overseer, store = recorded(*[Verdict(False)] * 3, every=3, listeners=[Hears("it", heard)])
    overseer.judge(proposal(0))
    overseer.judge(proposal(1))
    assert heard == [] and store.count() == 0
    overseer.judge(proposal(2))
    assert [row for _, _, row in heard] == [1, 2, 3] and store.count() == 3


def test_a_retraction_is_a_row_with_a_reason_and_comes_back_as_an_event():
    heard = []
    overseer, store = recorded(Verdict(True, person="ada", key="a"), listeners=[Hears("it", heard)])
    overseer.judge(proposal())
    overseer.retract(1, "ada", "slip")
    assert heard[1:] == [("it", "retracted", 1)] and store.effective() == [] and store.verify() == 2
    with pytest.raises(HeedError, match="there is no judgement 7 for 'ada' to retract"):
        overseer.retract(7, "ada")
    assert len(heard) == 2
    with pytest.raises(HeedError, match="nothing is written down here"):
        Recorded(Scripted()).retract(1, "ada")


def test_within_a_phase_judgements_are_filed_under_it_and_the_fit_in_force_then():
    now = ["autonomy", 3]
    overseer, store = recorded(*[Verdict(False)] * 3, where=lambda: tuple(now))
    overseer.judge(proposal(0))
    with overseer.during("evaluation"):
        now[:] = "oversight", 9
        overseer.judge(proposal(1))
    overseer.judge(proposal(2))
    found = [(row.shown["phase"], row.model_version) for row in store.effective()]
    assert found == [("autonomy", "3"), ("evaluation", "3"), ("oversight", "9")]


def test_a_verdict_becomes_a_judgement_with_all_that_it_holds_and_no_more():
    flags = {"catastrophe": True, "silent": True, "acted": True, "glimpsed": True}
    verdict = Verdict(True, 250.0, np.array([0.5]), person="ada", key="k", credit=4, reason="too near", **flags)
    judgement = judgement_of(verdict, {"x": 1}, "browser", "walk-1", 2)
    assert judgement.verdict == {"block": True, "instead": [0.5], "credit": 4, "reason": "too near"} | flags
    assert verdict_of(judgement).reason == "too near" and verdict_of(judgement).glimpsed
    assert (judgement.kind, judgement.person, judgement.key, judgement.latency_ms) == ("block", "ada", "k", 250.0)
    assert (judgement.shown, judgement.run, judgement.model_version) == ({"x": 1}, "walk-1", "2")
    plain = judgement_of(Verdict(False), {}, "local", "walk-1", 0)
    assert plain.verdict == {"block": False, "instead": None} and plain.person == "local" and len(plain.key) == 36


def test_after_a_resume_the_label_of_several_people_is_the_one_that_it_was():
    shown = Proposal(np.array([0.5]), 0)
    fast, seen = Verdict(True, person="ada", key="a", glimpsed=True), Verdict(True, person="bob", key="b")
    store = Store("sqlite://")

    class Two(Scripted):
        def judge(self, proposal, /):
            return replace(seen, others=(fast,))

    recorded = Recorded(Two([]))
    recorded.begin(store, "walk-1", "Walk")
    assert recorded.judge(shown).key == "b"
    again = Recorded(Two([]))
    again.begin(store, "walk-1", "Walk")
    again.restore({"given": None, "inner": None})
    found = again.judge(shown)
    assert (found.person, found.is_label) == ("bob", True) and store.count() == 2
