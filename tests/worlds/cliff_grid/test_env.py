"""Cliff grid's environment: its moves by hand, its doomed states against a search that knows only `step`."""

import warnings
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import heed.worlds
from heed.errors import HeedError
from heed.worlds.cliff_grid.env import CliffGridEnv
from heed.worlds.cliff_grid.grid import LAYOUT, doomed_states, observation

COAST, UP, DOWN, LEFT, RIGHT = range(5)
STATES = list(doomed_states())


@pytest.fixture
def env():
    return gym.make(heed.worlds.CLIFF_GRID, render_mode="rgb_array")


def stepped(state, action):
    """Where one step leads and how it ends, from a fresh environment."""
    env = CliffGridEnv()
    env.reset(options={"state": state})
    _, reward, terminated, _, info = env.step(action)
    return env.state, reward, terminated, info


def test_gymnasium_has_nothing_to_say_against_it(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize(
    ("state", "action", "end", "reward"),
    [
        ((4, 3, 0, 0), COAST, (4, 3, 0, 0), -1),
        ((4, 3, 0, 0), UP, (3, 3, -1, 0), -1),
        ((4, 3, 0, 1), RIGHT, (4, 5, 0, 2), -1),
        ((4, 3, 0, 2), RIGHT, (4, 5, 0, 2), -1),  # two is the fastest
        ((4, 3, 0, 2), UP, (3, 5, -1, 2), -21),  # over (3, 4), which is free
        ((4, 4, 0, 2), UP, (3, 5, -1, 2), -21),  # on the way to (3, 6): halves count as whole
        ((2, 3, 0, 1), RIGHT, (2, 5, 0, 2), -21),
        ((4, 0, 0, 0), LEFT, (4, -1, 0, -1), -21),
        ((5, 3, 1, 0), DOWN, (6, 3, 2, 0), -21),  # the first cliff on the way ends it, not the cell beyond
        ((4, 11, 1, 0), DOWN, (6, 11, 2, 0), 19),
        ((5, 9, 1, 1), RIGHT, (6, 11, 1, 2), 19),  # over (6, 10), which is a cell beyond the cliff's end
    ],
)
def test_the_walker_moves_by_its_velocity_cell_by_cell(state, action, end, reward):
    got = stepped(state, action)
    assert got[:2] == (end, reward)
    assert got[2] == (reward != -1)
    assert got[3] == {"catastrophe": reward == -21, "goal": reward == 19}


def test_sixty_steps_truncate(env):
    env.reset(seed=0)
    assert [env.step(COAST)[2:4] for _ in range(60)] == [(False, False)] * 59 + [(False, True)]


def test_the_doomed_states_are_those_from_which_no_sequence_of_actions_survives():
    """Oracle: depth-first over all sequences of 8 actions, through `step` alone."""

    @cache
    def way(state, action):
        end, _, terminated, info = stepped(state, action)
        return end, terminated, info["catastrophe"]

    @cache
    def survives(state, depth):
        if depth == 0:
            return True
        for action in range(5):
            end, terminated, catastrophe = way(state, action)
            if not catastrophe and (terminated or survives(end, depth - 1)):
                return True
        return False

    doomed = doomed_states()
    assert len(doomed) == 25 * sum(cell not in "#G" for row in LAYOUT for cell in row)
    assert {state for state in STATES if not survives(state, 8)} == {state for state in STATES if doomed[state]}
    assert 0.05 < sum(doomed.values()) / len(doomed) < 0.4
    assert any(doomed[state] and survives(state, 1) for state in STATES)  # some are settled before the last step


def test_peeking_tells_what_a_step_will_do_and_moves_nothing(env):
    for state in STATES[::7]:
        for action in range(5):
            env.reset(options={"state": state})
            seen = env.unwrapped.peek(action)
            assert env.unwrapped.state == state
            observed, *_ = env.step(np.int64(action))
            assert env.unwrapped.state == seen
            np.testing.assert_array_equal(observed, observation(seen))
            assert observed in env.observation_space


@pytest.mark.parametrize("action", [5, -1, 0.5])
def test_an_action_that_does_not_exist_is_refused(action):
    env = CliffGridEnv()
    env.reset(seed=0)
    with pytest.raises(HeedError, match="there is no action"):
        env.step(action)


@pytest.mark.parametrize("state", [(6, 2, 0, 0), (6, 11, 0, 0), (0, 0, 3, 0), (9, 0, 0, 0)])
def test_an_episode_starts_in_no_state_where_it_would_be_over(state):
    with pytest.raises(HeedError, match="no episode starts"):
        CliffGridEnv().reset(options={"state": state})


def test_the_picture_shows_the_walker_where_it_is(env):
    env.reset(options={"state": (4, 3, 0, 2)})
    picture = env.render()
    blue = (picture == (38, 70, 120)).all(-1)
    rows, columns = np.nonzero(blue)
    assert (rows.mean() // 32, columns.min() // 32, columns.max() // 32) == (4, 3, 5)
