"""What is executed in place of a blocked action, and how plans are warm-started from step to step."""

import copy

import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, braking, full_ahead, imagined

from heed.guard.decisions import Decision
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import ICEM
from heed.guard.planning.planner import Plan, SafePlanner
from heed.guard.replacement import Planning, Replacement
from heed.guard.situations import situations_of

PROPOSED = np.array([2.0], np.float32)
BRAKE = np.array([-2.0], np.float32)


def situations(count=1, safe_action=None):
    """Of carts at rest, two metres before the wall, each in its first episode."""
    here = situations_of([None] * count, CartEnv.observation_space, CartEnv.action_space, safe_action)
    for one in here:
        begin(one)
    return here


def begin(here):
    here.begin(np.array([-1.0, 0.0], np.float32), {})


def step(here, count=1):
    for _ in range(count):
        here.advance(Decision(PROPOSED, PROPOSED, "allow", "policy"), here.observation, 0.0, False, False, {})


class Recording:
    """A search that writes down what is asked of it; ``copies`` holds its copies in their order."""

    horizon, size = 3, 1

    def __init__(self):
        self.calls, self.copies = [], []

    def __deepcopy__(self, memo):
        other = Recording()
        self.copies.append(other)
        return other

    def taken(self):
        """What was asked since the last time."""
        calls, self.calls = self.calls, []
        return calls

    def reset(self):
        self.calls.append("reset")

    def begin(self):
        self.calls.append("begin")

    def propose(self, iteration, generator=None):
        self.calls.append("propose")
        return torch.zeros(1, 3, 1)

    def update(self, plans, utility):
        pass


@pytest.fixture
def recorded():
    search = Recording()
    return search, Planning(SafePlanner(search, imagined(), 0.5, iterations=1))


def test_plans_move_on_by_the_steps_that_passed_since_they_were_last_asked_for_and_not_beyond_their_end(recorded):
    search, planning = recorded
    here = situations()[0]
    step(here, 2)
    planning.plan(here)
    assert search.taken() == ["reset", "propose"]  # nothing was learnt in this episode that could move on
    planning.plan(here)
    assert search.taken() == ["propose"]
    for steps, moved in ((1, 1), (3, 3), (5, 3)):
        step(here, steps)
        assert search.taken() == []
        planning.plan(here)
        assert search.taken() == ["begin"] * moved + ["propose"]


def test_plans_are_forgotten_at_an_episode_s_start(recorded):
    search, planning = recorded
    here = situations()[0]
    step(here, 3)
    planning.plan(here)
    search.taken()
    for steps in (0, 3, 4):  # also where the new episode has come as far as the old one, and further
        begin(here)
        step(here, steps)
        planning.plan(here)
        assert search.taken() == ["reset", "propose"]


def test_plans_are_each_environment_s_own(recorded):
    search, planning = recorded
    first, second, third = situations(3)
    for here in (first, second, third):
        planning.plan(here)
    assert search.taken() == ["reset", "propose"] and len(search.copies) == 2
    for other in search.copies:
        calls = other.taken()
        assert set(calls[:-1]) == {"reset"} and calls[-1] == "propose"
    step(second, 2)
    begin(third)
    for here in (first, second, third):
        planning.plan(here)
    assert search.taken() == ["propose"]
    assert [other.taken() for other in search.copies] == [["begin", "begin", "propose"], ["reset", "propose"]]


def test_a_plan_after_an_action_teaches_the_search_nothing(recorded):
    search, planning = recorded
    here = situations()[0]
    planning.plan(here)
    step(here)
    search.taken()
    planning.plan_after(here, PROPOSED, 0.5)
    assert search.taken() == ["begin"] and [copied.taken() for copied in search.copies] == [["propose"]]


def test_the_warm_start_is_what_moving_on_with_every_step_would_have_made_of_it():
    def planner():
        return SafePlanner(ICEM(12, 1, samples=16, elites=4), imagined(), 0.5, enough=99)

    here = situations()[0]
    lazy, eager, plans = Planning(planner(), [full_ahead, braking]), planner(), []
    for _ in range(2):
        begin(here)
        eager.reset()
        for timestep in range(9):
            if timestep in (2, 3, 7):
                plans.append((lazy.plan(here), eager.plan(here.tensor, [full_ahead, braking], torch.zeros(1))))
            here.advance(Decision(PROPOSED, PROPOSED, "allow", "policy"), [0.05 * timestep, 0.6], 0.0, False, False, {})
            eager.move_on()
    for one, other in plans:
        assert torch.equal(one.actions, other.actions) and (one.risk, one.value) == (other.risk, other.value)
    assert len({plan.actions[0].item() for plan, _ in plans}) == 6


# What is chosen, with a planner that gives a known plan.


class Known:
    """A planner of one plan; keeps what it is given."""

    def __init__(self, *actions, feasible=True):
        plan = torch.tensor(actions)[:, None]
        states = torch.zeros(len(actions) + 1, 1, 1, 2)
        self.answer = Plan(plan, 0.1 if feasible else 0.9, feasible, 0.0, 1, 1, False, states)
        self.given = []

    def reset(self):
        pass

    def move_on(self, steps=1):
        pass

    def apart(self):
        return copy.copy(self)

    def plan(self, *given, **spent):
        self.given.append((*given, spent))
        return self.answer

    def plan_after(self, *given):
        self.given.append(given)
        return self.answer


def chosen(planner=None, safe_action=None, **fields):
    here = situations(1, safe_action)[0]
    return Replacement(None if planner is None else Planning(planner)).choose(here, PROPOSED, **fields)


def test_a_feasible_plan_s_first_action_is_executed_and_the_rest_is_the_way_out():
    planner = Known(-0.5, 0.25, 0.75)
    decision = chosen(planner, safe_action=lambda _: BRAKE)
    assert (decision.decision, decision.source, decision.feasible) == ("block", "planner", True)
    assert decision.proposed is PROPOSED and decision.executed.tolist() == [-1.0]  # the box is twice as wide
    assert decision.plan is planner.answer and decision.way_out.flatten().tolist() == [0.25, 0.75]
    assert decision.plan_ms > 0 and decision.judged and not decision.asked


@pytest.mark.parametrize(
    ("first", "safe_action", "executed"),
    [
        (-0.5, lambda _: BRAKE, [-2.0]),
        (-0.5, None, [-1.0]),  # where nothing is declared, the least risky plan is the best there is
        (float("nan"), None, [0.0]),
        (float("nan"), lambda _: BRAKE, [-2.0]),
    ],
)
def test_a_plan_that_is_not_feasible_gives_way_to_what_is_declared(first, safe_action, executed):
    decision = chosen(Known(first, 0.0, feasible=False), safe_action)
    assert (decision.decision, decision.source, decision.feasible) == ("block", "fallback", False)
    assert decision.executed.tolist() == executed and decision.way_out.flatten().tolist() == [0.0]


def test_without_planning_the_declared_safe_action_is_taken():
    decision = chosen(safe_action=lambda _: BRAKE, spent=0.25)
    assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "blocker", [-2.0])
    assert (decision.plan_ms, decision.plan, decision.feasible, decision.way_out) == (250.0, None, None, None)
    assert chosen().executed.tolist() == [0.0]


def test_a_look_is_part_of_the_decision():
    look = Lookout(imagined(), 5, 0.5).look(torch.tensor([0.9, 1.5]), torch.ones(1))
    for decision in (chosen(look=look), chosen(Known(0.0, 0.0), look=look)):
        assert decision.look is look
        assert (decision.risk, decision.member_risk, decision.first_unsafe) == (1.0, (1.0,), 0)
    unseen = chosen()
    assert unseen.look is None and np.isnan(unseen.risk)


def test_the_planner_is_given_all_that_is_known():
    planner = Known(0.0, 0.0)
    here = situations()[0]
    planning, way_out = Planning(planner, [full_ahead, braking]), torch.tensor([[0.5]])
    here.advance(Decision(PROPOSED, PROPOSED, "allow", "policy", way_out=way_out), [0.5, 1.0], 0.0, False, False, {})
    Replacement(planning).choose(here, PROPOSED, spent=0.125)
    planning.plan_after(here, PROPOSED, 0.2)
    state, controllers, held, known, spent = planner.given[0]
    assert state.tolist() == [0.5, 1.0] and controllers == [full_ahead, braking] and held.tolist() == [0.0]
    assert known is way_out and spent == {"spent": 0.125}
    state, action, limit, controllers, held, known = planner.given[1]
    assert (state.tolist(), action.tolist(), limit) == ([0.5, 1.0], [1.0], 0.2) and controllers == [full_ahead, braking]
    assert held.flatten().tolist() == [0.0, 1.0, -1.0] and known is way_out
