"""Where an environment stands: what an episode's start and each step leave, and what is executed in need."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import CartEnv

from heed.errors import HeedError
from heed.guard.decisions import Decision
from heed.guard.situations import Faults, situations_of
from heed.oversight.overseers.base import Verdict


def situations(count=1, safe_action=None, space=CartEnv.action_space):
    return situations_of([None] * count, CartEnv.observation_space, space, safe_action)


def begun(safe_action=None, space=CartEnv.action_space):
    """One situation in its first episode, at rest in the middle."""
    here = situations(1, safe_action, space)[0]
    here.begin(np.array([0.5, -0.25], np.float32), {"fresh": True})
    return here


def advanced(here, decision, after=(0.75, 0.0), ends=(False, False), **info):
    return here.advance(decision, np.array(after, np.float32), 1.5, *ends, info)


def allowed(action=1.0, **fields):
    action = np.array([action], np.float32)
    return Decision(action, action, "allow", "policy", **fields)


# What is executed in need: the environment's action.


def test_the_fallback_is_the_declared_safe_action_of_the_observation():
    here = begun(lambda observation: 4 * observation[1:].astype(np.float64))
    action = here.fallback()
    assert action.tolist() == [-1.0] and action.dtype == np.float32
    advanced(here, allowed(), after=(0.0, 0.5))
    assert here.fallback().tolist() == [2.0] and not here.faults


def test_without_a_declared_one_the_fallback_idles():
    assert begun().fallback().tolist() == [0.0]
    lopsided = begun(space=gym.spaces.Box(np.float32([1.0]), np.float32([4.0])))
    assert lopsided.fallback().tolist() == [2.5]
    choice = begun(space=gym.spaces.Discrete(3, start=5))
    assert choice.fallback() == 5 and isinstance(choice.fallback(), int)


def broken(observation):
    raise ZeroDivisionError("by zero")


@pytest.mark.parametrize("safe_action", [lambda _: -1.5, lambda _: [[-1.5]], lambda _: np.array([-1.5])])
def test_a_declared_safe_action_in_another_form_is_what_was_meant(safe_action):
    here = begun(safe_action)
    assert here.fallback().tolist() == [-1.5] and here.fallback().dtype == np.float32 and not here.faults
    beyond = begun(lambda _: np.array([2.5]))
    assert beyond.fallback().tolist() == [2.0] and not beyond.faults
    choice = begun(lambda _: np.array([6.0]), gym.spaces.Discrete(3, start=5))
    assert choice.fallback() == 6 and isinstance(choice.fallback(), int)


@pytest.mark.parametrize(
    ("safe_action", "fault"),
    [
        (broken, "the declared safe action failed (ZeroDivisionError: by zero)"),
        (lambda _: np.array([np.nan], np.float32), "the declared safe action is not in the action space"),
        (lambda _: None, "the declared safe action is not in the action space"),
    ],
)
def test_a_declared_safe_action_that_is_none_is_a_fault_and_the_fallback_idles(safe_action, fault):
    here = begun(safe_action)
    assert [here.fallback().tolist() for _ in range(2)] == [[0.0], [0.0]]
    assert here.faults == {fault: 2}


def test_each_kind_of_fault_is_logged_the_first_time(caplog):
    faults = Faults()
    for what in ("one", "other", "one", "one"):
        faults.report(what)
    assert faults == {"one": 3, "other": 1}
    assert [record.getMessage() for record in caplog.records] == ["one", "other"]


# How an episode goes on.


def test_before_the_first_reset_nothing_is_known():
    here = situations()[0]
    assert (here.observation, here.episode, here.timestep, here.state_size) == (None, -1, 0, 2)


def test_an_episode_begins_with_nothing_blocked_and_no_way_out():
    here = begun()
    advanced(here, Decision(0.0, np.zeros(1, np.float32), "block", "planner", way_out=torch.ones(2, 1)))
    assert (here.episode, here.timestep, here.blocked) == (0, 1, True) and here.way_out is not None
    here.begin(np.zeros(2, np.float32), {"fresh": "again"})
    assert (here.episode, here.timestep, here.blocked, here.way_out) == (1, 0, False, None)
    assert here.info == {"fresh": "again"} and here.tensor.tolist() == [0.0, 0.0]


def test_a_block_is_remembered_for_one_step_and_a_way_out_until_another_is_known():
    here = begun()
    assert not here.blocked
    first, second = torch.tensor([[1.0]]), torch.tensor([[0.5]])
    for decision, blocked, way_out in (
        (allowed(way_out=first), False, first),
        (Decision(0.0, np.zeros(1, np.float32), "block", "blocker"), True, first),
        (Decision(0.0, np.zeros(1, np.float32), "block", "planner", way_out=second), True, second),
        (allowed(), False, second),
    ):
        advanced(here, decision)
        assert here.blocked is blocked and here.way_out is way_out


def test_a_step_is_what_was_before_it_what_was_done_and_where_it_led():
    here = begun()
    verdict = Verdict(True, key="k", catastrophe=True)
    decision = Decision(np.array([2.0], np.float32), np.array([-1.0], np.float32), "block", "person", verdict=verdict)
    step = advanced(here, decision, ends=(True, False), catastrophe=np.True_, extra=7)
    assert step.state.tolist() == [0.5, -0.25] and step.next_state.tolist() == step.observation.tolist() == [0.75, 0.0]
    assert (step.proposed.tolist(), step.executed.tolist()) == ([1.0], [-0.5])  # the box is twice as wide as a vector's
    assert step.decision is decision and step.info == {"catastrophe": np.True_, "extra": 7}
    assert (step.reward, step.terminated, step.truncated, step.catastrophe) == (1.5, True, False, True)
    assert (step.stream, step.episode, step.timestep) == (0, 0, 1)
    again = advanced(here, allowed(), after=(0.875, 0.0))
    assert again.state.tolist() == [0.75, 0.0] and (again.catastrophe, again.timestep) == (False, 2)


def test_a_proposal_that_was_no_action_has_no_vector():
    for proposed in (np.array([np.nan]), np.array([2.5]), "left", None):
        step = advanced(begun(), Decision(proposed, np.zeros(1, np.float32), "block", "fallback"))
        assert step.proposed is None and step.executed.tolist() == [0.0]


def test_what_an_environment_does_to_its_observation_later_changes_no_state():
    here, observation = begun(), np.array([0.75, 0.0], np.float32)
    step = here.advance(allowed(), observation, 0.0, False, False, {})
    observation[:] = 9.0
    assert here.state.tolist() == step.next_state.tolist() == [0.75, 0.0]


# Of many environments.


def test_episodes_are_numbered_across_environments_in_the_order_in_which_they_begin():
    here = situations(3)
    assert [one.number for one in here] == [0, 1, 2]
    order, nothing = [0, 1, 2, 1, 1, 0, 2], np.zeros(2, np.float32)
    numbers = []
    for number in order:
        here[number].begin(nothing, {})
        numbers.append(here[number].episode)
    assert numbers == list(range(7)) and [one.episode for one in here] == [5, 4, 6]
    step = advanced(here[2], allowed())
    assert (step.stream, step.episode, step.timestep) == (2, 6, 1)
    assert [one.timestep for one in here] == [0, 0, 1]
    others = situations(2)  # of another guard
    others[1].begin(nothing, {})
    assert others[1].episode == 0


def test_faults_are_shared_and_all_else_is_each_environment_s_own():
    first, second = situations(2, safe_action=broken)
    first.begin(np.ones(2, np.float32), {})
    second.begin(np.zeros(2, np.float32), {})
    first.fallback()
    second.fallback()
    assert first.faults is second.faults and sum(first.faults.values()) == 2
    advanced(first, Decision(0.0, np.zeros(1, np.float32), "block", "planner", way_out=torch.zeros(1, 1)))
    assert (second.blocked, second.way_out, second.tensor.tolist()) == (False, None, [0.0, 0.0])


def test_a_space_that_cannot_be_reasoned_about_is_refused():
    for spaces in itertools.product(
        (CartEnv.observation_space, gym.spaces.Discrete(3)), (CartEnv.action_space, gym.spaces.MultiBinary(2))
    ):
        if spaces != (CartEnv.observation_space, CartEnv.action_space):
            with pytest.raises(HeedError, match="the guard cannot"):
                situations_of([None], *spaces, None)
