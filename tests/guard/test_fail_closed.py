"""An intervention that fails lets nothing pass, whatever it is and wherever it fails."""

import gymnasium as gym
import numpy as np
import pytest
from guard_worlds import NO_ACTION, CartEnv, Person, at, lookahead, stops_in_time
from gymnasium.vector import SyncVectorEnv

from heed.errors import HeedError, Stopped
from heed.guard.decisions import Decision
from heed.guard.guard import Guard
from heed.guard.intervention import AskWhenUnsure, FailClosed, Intervention, Off, Overseen, Shadow, fail_closed
from heed.guard.vector_guard import VectorGuard
from heed.oversight import local_overseer

AHEAD, BACK = np.array([2.0], np.float32), np.array([-2.0], np.float32)
FREE, NEAR = (-1.0, -1.0), (0.5, 0.9)
"""Full ahead is harmless; is a catastrophe, though the brake still stops in time."""


class Raising(Intervention):
    """Fails in deciding, and in naming a replacement if asked to."""

    def __init__(self, problem, of_replacement=None):
        self.problem, self.of_replacement = problem, of_replacement

    def decide(self, situation, proposed):
        raise self.problem

    def instead_of(self, situation, proposed):
        if self.of_replacement is not None:
            raise self.of_replacement
        return super().instead_of(situation, proposed)


@pytest.mark.parametrize("problem", [RuntimeError("gone"), HeedError("no"), ValueError(), MemoryError("full")])
def test_whatever_fails_is_a_block_by_the_declared_safe_action(problem, caplog):
    here = at(FREE)
    for _ in range(2):
        decision = FailClosed(Raising(problem)).decide(here, AHEAD)
        assert (decision.decision, decision.source, decision.judged) == ("block", "fallback", False)
        assert decision.executed.tolist() == [-2.0] and decision.latency_ms > 0
    (fault,) = here.faults
    assert here.faults[fault] == 2 and f"judging failed ({type(problem).__name__}: {problem})" in fault
    assert [record.getMessage() for record in caplog.records] == [fault]


def test_an_overseer_that_raises_and_a_planner_that_raises_are_blocks():
    def gone(_):
        raise OSError("the page is gone")

    for inner, fault in (
        (Overseen(Person(gone)), "the page is gone"),
        (AskWhenUnsure(lookahead(), Person(gone), lambda look: True), "the page is gone"),
        (AskWhenUnsure(lookahead(), Person(lambda _: False), gone), "the page is gone"),
    ):
        here = at(FREE)
        decision = FailClosed(inner).decide(here, AHEAD)
        assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "fallback", [-2.0])
        assert fault in next(iter(here.faults))


@pytest.mark.parametrize("state", [(np.nan, 0.0), (0.0, np.inf)])
def test_a_state_that_is_not_finite_is_a_block_and_nobody_is_asked(state):
    here, person = at(state), Person(lambda _: False)
    decision = FailClosed(Overseen(person)).decide(here, AHEAD)
    assert (decision.decision, decision.source, decision.judged) == ("block", "fallback", False)
    assert decision.executed.tolist() == [-2.0] and not person.seen
    assert "not finite" in next(iter(here.faults))


@pytest.mark.parametrize("proposed", NO_ACTION)
def test_what_is_no_action_is_a_block_and_nobody_is_asked(proposed):
    here, person = at(FREE), Person(lambda _: False)
    decision = FailClosed(Overseen(person)).decide(here, proposed)
    assert (decision.decision, decision.source, decision.judged) == ("block", "blocker", False)
    assert decision.executed.tolist() == [-2.0] and not person.seen and decision.proposed is proposed
    assert "not finite or not in the space" in next(iter(here.faults))


def test_what_is_no_action_is_replaced_as_the_inner_one_replaces():
    for inner in (lookahead(), AskWhenUnsure(lookahead(), Person(lambda _: False), lambda look: True)):
        decision = FailClosed(inner).decide(at(NEAR), NO_ACTION[0])
        assert (decision.decision, decision.source, decision.judged) == ("block", "planner", False)
        assert stops_in_time(NEAR, decision.plan.actions) and np.isnan(decision.risk)
    here = at(FREE)
    failing = FailClosed(Raising(RuntimeError("gone"), of_replacement=RuntimeError("here too")))
    decision = failing.decide(here, NO_ACTION[0])
    assert (decision.source, decision.executed.tolist()) == ("fallback", [-2.0])
    assert len(here.faults) == 2 and any("here too" in fault for fault in here.faults)


def test_a_wish_to_stop_is_no_failure():
    here = at(FREE)
    for wish in (Stopped, KeyboardInterrupt):
        with pytest.raises(wish):
            FailClosed(Raising(wish())).decide(here, AHEAD)
        with pytest.raises(wish):
            Shadow(Raising(wish())).decide(here, AHEAD)
    assert not here.faults


def test_what_already_fails_closed_is_left_as_it_is():
    inner = Overseen(Person(lambda _: True))
    wrapped = fail_closed(inner)
    assert isinstance(wrapped, FailClosed) and wrapped.inner is inner
    for closed in (wrapped, Off(), Shadow(inner)):
        assert fail_closed(closed) is closed


def test_a_shadow_of_what_fails_records_a_block():
    here = at(FREE)
    decision = Shadow(Raising(RuntimeError("gone"))).decide(here, AHEAD)
    assert (decision.decision, decision.source, decision.judged) == ("block", "fallback", False)
    assert decision.executed is AHEAD and sum(here.faults.values()) == 1


# In a guard.


class Careless(Intervention):
    """An intervention of the user's own, with a fault."""

    def decide(self, situation, proposed):
        return situation.no_such_thing


def test_whatever_is_set_as_a_guard_s_intervention_fails_closed():
    guard = Guard(CartEnv(), intervention=Careless(), safe_action=lambda _: BACK)
    guard.reset(seed=0)
    for raw in (guard.intervention.inner, Careless(), Raising(RuntimeError("gone")), Overseen(Person(None))):
        guard.intervention = raw
        assert isinstance(guard.intervention, FailClosed) and guard.intervention.inner is raw
        info = guard.step(AHEAD)[4]["guard"]
        assert (info["decision"], info["source"], info["executed"].tolist()) == ("block", "fallback", [-2.0])
    before = guard.intervention
    guard.intervention = guard.intervention
    assert guard.intervention is before
    guard.intervention = Off()
    assert guard.step(AHEAD)[4]["guard"]["executed"] is AHEAD


def test_who_decides_is_changed_through_the_intervention_alone():
    guard, other = Guard(CartEnv(), overseer=Person(lambda _: True)), Person(lambda _: False)
    guard.reset(seed=0)
    with pytest.raises(AttributeError):
        guard.overseer = other
    assert guard.step(AHEAD)[4]["guard"]["decision"] == "block"
    guard.intervention = Overseen(other)
    assert guard.step(AHEAD)[4]["guard"]["decision"] == "allow" and len(other.seen) == 1


def test_an_intervention_of_one_s_own_needs_one_method():
    class EverySecond(Intervention):
        def decide(self, situation, proposed):
            return (self.instead_of if situation.timestep % 2 else Off().decide)(situation, proposed)

    guard = Guard(CartEnv(), intervention=EverySecond(), safe_action=lambda _: BACK)
    guard.reset(seed=0)
    executed = [float(guard.step(AHEAD)[4]["guard"]["executed"][0]) for _ in range(4)]
    assert executed == [2.0, -2.0, 2.0, -2.0]


@pytest.mark.parametrize(
    ("decided", "said"),
    [
        (lambda proposed: None, "None is no decision"),
        (lambda proposed: Decision(proposed, np.array([np.nan], np.float32), "block", "planner"), "which is no action"),
        (lambda proposed: Decision(proposed, -proposed, "allow", "policy"), "another one is to be executed"),
    ],
)
def test_what_is_no_decision_on_the_action_blocks_it(decided, said):
    class Odd(Off):  # what extends one that fails closed is closed all the same
        def decide(self, situation, proposed):
            return decided(proposed)

    guard = Guard(CartEnv(), intervention=Odd())
    guard.reset(seed=0)
    info = guard.step(AHEAD)[4]["guard"]
    assert (info["decision"], info["source"], info["executed"].tolist()) == ("block", "fallback", [0.0])
    assert any(said in fault for fault in guard.faults)


def test_an_action_that_is_changed_while_it_is_judged_is_blocked():
    class Meddles(Off):
        def decide(self, situation, proposed):
            proposed[:] = -1.0
            return super().decide(situation, proposed)

    guard = Guard(CartEnv(), intervention=Meddles())
    guard.reset(seed=0)
    assert guard.step(np.array([2.0], np.float32))[4]["guard"]["decision"] == "block"
    assert any("was changed" in fault for fault in guard.faults)


def test_an_oracle_of_one_environment_is_refused_for_several():
    envs = [gym.make("heed/PointHazard-v0") for _ in range(2)]
    vector = VectorGuard(SyncVectorEnv([lambda each=each: each for each in envs]))
    with pytest.raises(HeedError, match="an oracle looks into one environment, and here are 2"):
        vector.intervention = Shadow(Overseen(local_overseer(envs[0])))
