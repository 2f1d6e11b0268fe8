"""Spaces that a guard refuses: the advice can be pasted, and what it makes is accepted and acts as before."""

import logging

import gymnasium
import gymnasium as gym
import numpy
import numpy as np
import pytest
from guard_worlds import CartEnv

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.guard import Guard
from heed.guard.spaces import check_actions

BOX = gym.spaces.Box
CASES = [
    (BOX(-np.inf, np.inf, (2,)), [0.5, -0.5], [0.5, -0.5]),
    (BOX(-1, 1, (2, 2)), [0.5, 0.25, 0, -1], [[0.5, 0.25], [0, -1]]),
    (BOX(0, 10, (2,), np.int64), [3.4, 8.6], [3, 9]),
    (BOX(np.array([-1, 0, 2, -3], np.float32), np.array([1, 0, 2, 3], np.float32)), [0.5, -2], [0.5, 0, 2, -2]),
    (BOX(np.array([0.5, -1.0]), np.array([0.5, 1.0]), dtype=np.float64), [0.25], [0.5, 0.25]),
    (gym.spaces.MultiDiscrete([3, 2]), 3, [1, 1]),
    (gym.spaces.MultiDiscrete([3, 2], start=[5, -1]), 3, [6, 0]),
    (gym.spaces.MultiDiscrete([[2, 2], [2, 2]]), 6, [[0, 1], [1, 0]]),
    (gym.spaces.MultiBinary(3), 5, [1, 0, 1]),
    (gym.spaces.Dict(a=BOX(-1, 1, (2,)), b=BOX(0, 3, (1,))), [0.5, -0.5, 2.0], {"a": [0.5, -0.5], "b": [2.0]}),
    (gym.spaces.Tuple((BOX(-1, 1, (1,)), BOX(0, 3, (1,)))), [0.5, 2.0], ([0.5], [2.0])),
]


class Records(gym.Env):
    """Keeps what it was given to do."""

    observation_space = BOX(-1, 1, (2,), np.float32)

    def __init__(self, space):
        self.action_space = space

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.done = action
        return np.zeros(2, np.float32), 0.0, False, False, {}


def as_lists(action):
    if isinstance(action, dict):
        return {key: as_lists(value) for key, value in action.items()}
    return tuple(map(as_lists, action)) if isinstance(action, tuple) else np.asarray(action).round(6).tolist()


@pytest.mark.parametrize(("space", "action", "wanted"), CASES, ids=lambda case: str(case)[:30])
def test_what_the_refusal_advises_works_and_acts_as_it_did(space, action, wanted):
    env = Records(space)
    with pytest.raises(HeedError, match=r"^the guard cannot act in") as refused:
        Guard(env)
    assert "\n" not in str(refused.value)
    code = refused.value.fix.removeprefix("wrap the environment: ")
    code = code.partition(", with the bounds")[0].partition(", which leaves")[0]
    known = {"env": env, "gymnasium": gymnasium, "numpy": numpy, "low": -2, "high": 2}
    wrapped = eval(code, known)
    guard = Guard(wrapped)
    coder = guard.situations[0].actions
    executed = coder.meant(action)
    wrapped.reset()
    wrapped.step(executed)
    kept = {BOX: lambda: np.asarray(env.done).shape == space.shape}.get(type(space), lambda: space.contains(env.done))()
    assert as_lists(env.done) == as_lists(wanted) and kept
    assert coder.decode(coder.encode(executed)) == pytest.approx(executed)


@pytest.mark.parametrize(
    "space", [BOX(-1, 1, (2,)), BOX(np.array([-2.0]), np.array([0.5]), dtype=np.float64), gym.spaces.Discrete(3)]
)
def test_boxes_of_any_floats_and_choices_are_taken_and_come_back_as_they_were(space):
    check_actions(space)
    coder, some = ActionCoder(space), space
    some.seed(0)
    for _ in range(50):
        action = some.sample()
        back = coder.decode(coder.encode(action))
        assert np.asarray(back) == pytest.approx(np.asarray(action), abs=1e-6)
        assert space.dtype == np.asarray(back).dtype or coder.discrete


def test_a_box_that_cannot_move_at_all_and_a_space_of_words_are_refused():
    with pytest.raises(HeedError, match="none of its axes can move"):
        check_actions(BOX(np.float32([1.0]), np.float32([1.0])))
    for other in (gym.spaces.Text(5), gym.spaces.Dict(choice=gym.spaces.Discrete(2))):
        with pytest.raises(HeedError, match="a bounded Box of one dimension or Discrete is supported"):
            check_actions(other)


def test_what_was_meant_by_an_action_in_another_form():
    coder = ActionCoder(BOX(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32)))
    for form in ([0.5, 9.0], np.array([[0.5], [9.0]]), (0.5, 9)):
        assert coder.meant(form).tolist() == [0.5, 4.0] and coder.meant(form).dtype == np.float32
    for none in ([0.5], [0.5, np.inf], [np.nan, 1.0], "up", None, {}, [[1.0], [2.0, 3.0]]):
        assert coder.meant(none) is None
    choice = ActionCoder(gym.spaces.Discrete(3, start=1))
    assert [choice.meant(form) for form in (3, 3.0, [2], np.array([[1]]))] == [3, 3, 2, 1]
    assert [choice.meant(none) for none in (0, 4, 1.5, "2", None, [1, 2])] == [None] * 6


def test_running_statistics_below_the_guard_are_warned_of_and_fixed_ones_are_not(caplog):
    running = gym.wrappers.NormalizeObservation(CartEnv())
    with caplog.at_level(logging.WARNING):
        Guard(gym.wrappers.TimeLimit(running, 5))
    assert "set its update_running_mean to False" in caplog.text and caplog.text.count("NormalizeObservation") == 1
    caplog.clear()
    running.update_running_mean = False
    Guard(running)
    advised = eval(
        "gymnasium.wrappers.TransformObservation(env, lambda seen: (seen - mean) / scale, None)",
        {"gymnasium": gymnasium, "env": CartEnv(), "mean": np.float32([1, 0]), "scale": np.float32([2, 1])},
    )
    assert Guard(advised).reset()[0].tolist() == [-1.0, 0.0] and caplog.text == ""
