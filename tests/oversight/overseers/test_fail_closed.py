"""An overseer that fails blocks: errors, silence, answers that are none; said once, counted, and then asked again."""

import logging
import sqlite3
import sys
import threading
import time

import numpy as np
import pytest

from heed.errors import HeedError
from heed.oversight import FailClosedOverseer, Proposal, RuleOverseer, Verdict, fail_closed

PROPOSAL = Proposal(np.zeros(2), 0)


class Erratic:
    """Does what it is told to: answers, raises, or waits until it is let go."""

    name = "erratic"

    def __init__(self):
        self.mood, self.go, self.asked = "pass", threading.Event(), 0

    def judge(self, proposal):
        self.asked += 1
        if self.mood == "raise":
            raise ConnectionError("the line is dead")
        if self.mood == "hang":
            self.go.wait(20)
            return Verdict(block=False, latency_ms=777.0)
        return {"pass": Verdict(block=False), "block": Verdict(block=True, instead=4), "none": None}[self.mood]

    def reset(self, seed):
        if self.mood == "raise":
            raise ConnectionError("the line is dead")


@pytest.fixture
def erratic():
    made = Erratic()
    yield made
    made.go.set()


def test_an_overseer_that_works_is_heard_as_it_is(erratic):
    safe = fail_closed(erratic, timeout_s=5.0)
    safe.reset(0)
    assert safe.name == "erratic"
    assert not safe.judge(PROPOSAL).block
    erratic.mood = "block"
    verdict = safe.judge(PROPOSAL)
    assert (verdict.block, verdict.instead) == (True, 4)
    assert 0 < verdict.latency_ms < 5000
    assert safe.failures == {"raised": 0, "hung": 0, "no verdict": 0}


@pytest.mark.parametrize(("mood", "kind"), [("raise", "raised"), ("none", "no verdict")])
def test_an_overseer_that_fails_blocks_is_said_once_and_counted(erratic, caplog, mood, kind):
    safe = fail_closed(erratic, timeout_s=5.0)
    erratic.mood = mood
    with caplog.at_level(logging.WARNING):
        assert [safe.judge(PROPOSAL).block for _ in range(3)] == [True] * 3
    assert safe.failures[kind] == 3
    assert len(caplog.records) == 1
    assert "erratic" in caplog.text
    assert ("the line is dead" in caplog.text) == (mood == "raise")
    erratic.mood = "pass"
    assert not safe.judge(PROPOSAL).block


def test_a_verdict_that_is_neither_yes_nor_no_blocks():
    class Vague(RuleOverseer):
        def judge(self, proposal):
            return Verdict(block=None)

    assert fail_closed(Vague(lambda observation, info: False), 5.0).judge(PROPOSAL).block


def test_an_overseer_that_hangs_blocks_in_time_and_is_not_asked_until_it_is_back(erratic, caplog):
    safe = fail_closed(erratic, timeout_s=0.05)
    safe.reset(0)
    erratic.mood = "hang"
    with caplog.at_level(logging.WARNING):
        started = time.perf_counter()
        assert [safe.judge(PROPOSAL).block for _ in range(4)] == [True] * 4
    assert 0.05 <= time.perf_counter() - started < 2.0
    assert erratic.asked == 1
    assert safe.failures["hung"] == 4
    assert len(caplog.records) == 1
    erratic.mood = "block"
    erratic.go.set()
    while (verdict := safe.judge(PROPOSAL)).failed:  # until its late answer is there, which is not the next one's
        pass
    assert verdict.block
    assert verdict.instead == 4
    assert erratic.asked == 2


def test_a_new_run_leaves_a_thread_that_hangs_to_itself(erratic):
    safe = fail_closed(erratic, timeout_s=0.05)
    erratic.mood = "hang"
    assert safe.judge(PROPOSAL).block
    erratic.mood = "pass"
    safe.reset(1)
    assert not safe.judge(PROPOSAL).block


def test_an_overseer_that_cannot_start_is_refused_in_a_line(erratic):
    erratic.mood = "raise"
    with pytest.raises(HeedError, match="erratic cannot start: it raised: ConnectionError: the line is dead"):
        fail_closed(erratic, timeout_s=1.0).reset(0)


class Ledger:
    """Keeps its proposals in a SQLite file, which no thread but the one that opened it may use."""

    name = "ledger"

    def __init__(self, hangs=None):
        self.hangs, self.made_in = hangs, threading.get_ident()
        self.table = sqlite3.connect(":memory:")
        self.table.execute("create table seen (x)")

    def judge(self, proposal):
        if self.hangs is not None and not self.hangs.is_set():
            self.hangs.wait(20)
        self.table.execute("insert into seen values (?)", (float(proposal.observation[0]),))
        return Verdict(self.table.execute("select sum(x) from seen").fetchone()[0] > 2)

    def reset(self, seed):
        self.table.execute("delete from seen")


def test_an_overseer_is_made_in_the_thread_in_which_it_judges():
    ones = Proposal(np.ones(1), 0)
    safe = FailClosedOverseer.made_by(Ledger, timeout_s=20.0)
    for _ in range(2):  # a new run goes on in the same thread
        safe.reset(0)
        assert [safe.judge(ones).block for _ in range(4)] == [False, False, True, True]
    assert safe.failures == {"raised": 0, "hung": 0, "no verdict": 0} and safe.inner.made_in != threading.get_ident()
    elsewhere = fail_closed(Ledger(), timeout_s=20.0)
    assert elsewhere.judge(ones).failed and elsewhere.failures["raised"] == 1


def test_one_that_was_made_there_and_hangs_blocks_in_time_and_is_made_anew_for_the_next_run():
    woken = threading.Event()
    safe = FailClosedOverseer.made_by(lambda: Ledger(woken), timeout_s=0.05)
    first = safe.inner
    assert safe.judge(PROPOSAL).failed and safe.failures["hung"] == 1
    safe.reset(1)
    assert safe.inner is not first and safe.inner.made_in != first.made_in
    woken.set()


@pytest.mark.parametrize("problem", [HeedError("no such map", "--overseer", "draw one"), ValueError("no such map")])
def test_one_that_cannot_be_made_is_refused_in_a_line(problem):
    def make():
        raise problem

    with pytest.raises(HeedError, match=r"no such map[^\n]*$") as refused:
        FailClosedOverseer.made_by(make, 1.0)
    assert isinstance(problem, ValueError) or refused.value is problem


def test_an_overseer_that_would_end_the_program_blocks(erratic, monkeypatch):
    safe = fail_closed(erratic, timeout_s=20.0)
    monkeypatch.setattr(erratic, "judge", lambda proposal: sys.exit(3))
    assert safe.judge(PROPOSAL).failed and safe.failures["raised"] == 1


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_time_out_must_be_a_time(erratic, timeout):
    with pytest.raises(HeedError, match="time-out"):
        fail_closed(erratic, timeout)
