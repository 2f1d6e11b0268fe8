"""Point hazard as a Gymnasium environment: rewards, ends, peeking, pictures, refusals."""

import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import heed.worlds
from heed.errors import HeedError
from heed.worlds.point_hazard.geometry import Hazards, advance, hits
from heed.worlds.point_hazard.picture import BRAKING, GOAL, HAZARD, MASS, SCALE, WALL


@pytest.fixture
def env():
    return gym.make(heed.worlds.POINT_HAZARD, render_mode="rgb_array")


def test_gymnasium_has_nothing_to_say_against_it(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=False)


def test_an_episode_starts_at_rest_on_the_left(env):
    starts = np.stack([env.reset(seed=seed)[0] for seed in range(200)])
    assert (starts[:, 2:] == 0).all()
    np.testing.assert_allclose([starts[:, 0].min(), starts[:, 0].max()], [-3.6, -3.0], atol=0.02)
    np.testing.assert_allclose([starts[:, 1].min(), starts[:, 1].max()], [-1.0, 1.0], atol=0.05)


def test_the_reward_is_the_progress_to_the_goal_less_a_cent_a_step(env):
    env.reset(options={"state": [-2.0, 1.0, 1.0, 0.0]})
    observation, reward, *_ = env.step(np.array([0.0, 1.0], np.float32))
    np.testing.assert_allclose(observation, [-1.9, 1.01, 1.0, 0.1], atol=1e-6)
    assert reward == pytest.approx(np.hypot(5.0, 1.0) - np.hypot(4.9, 1.01) - 0.01)


@pytest.mark.parametrize(
    ("state", "bonus", "info"),
    [
        ([-0.6, 0.25, 1.5, 0.0], -2.0, {"catastrophe": True, "goal": False}),
        ([3.95, 0.0, 1.5, 0.0], -2.0, {"catastrophe": True, "goal": False}),
        ([2.3, 0.0, 1.5, 0.0], 10.0, {"catastrophe": False, "goal": True}),
    ],
)
def test_a_catastrophe_and_the_goal_end_the_episode_with_their_reward(env, state, bonus, info):
    env.reset(options={"state": state})
    before = np.hypot(state[0] - 3.0, state[1])
    observation, reward, terminated, truncated, reported = env.step(np.zeros(2, np.float32))
    progress = before - np.hypot(observation[0] - 3.0, observation[1])
    assert reward == pytest.approx(progress - 0.01 + bonus, abs=1e-6)
    assert (terminated, truncated, reported) == (True, False, info)


def test_an_episode_that_goes_nowhere_is_truncated_after_150_steps(env):
    env.reset(seed=1)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(150)]
    assert ends == [(False, False)] * 149 + [(False, True)]


def test_peeking_tells_what_a_step_will_do_and_moves_nothing(env):
    env.reset(seed=2)
    for _ in range(20):
        action = env.action_space.sample()
        state = env.unwrapped.state.copy()
        seen = env.unwrapped.peek(action)
        np.testing.assert_array_equal(env.unwrapped.state, state)
        np.testing.assert_array_equal(seen, advance(state, action, env.unwrapped.world))
        observation, *_ = env.step(action)
        np.testing.assert_array_equal(observation, seen.astype(np.float32))


def test_every_state_that_an_episode_can_end_in_is_in_the_observation_space(env):
    env.reset(options={"state": [3.999, 2.999, 1.06, 1.06]})
    observation, _, terminated, _, info = env.step(np.ones(2, np.float32))
    assert terminated
    assert info["catastrophe"]
    assert observation in env.observation_space


def test_its_numbers_can_be_changed_by_name():
    listed = Hazards(boxes=[[1.0, 1.0, 2.0, 1.5]], goal=[3.0, 0.0])
    assert listed == Hazards(boxes=((1.0, 1.0, 2.0, 1.5),))
    assert hash(listed) is not None
    wide = gym.make(heed.worlds.POINT_HAZARD, disc=0.7, speed=2.0).unwrapped
    assert (wide.world.disc, wide.world.speed, wide.world.braking_steps) == (0.7, 2.0, 20)
    assert hits([0.0, 0.9, 0.0, 0.0], wide.world)
    assert wide.observation_space.high[2] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda env: gym.make(heed.worlds.POINT_HAZARD, radius=1.0), "there is no 'radius'"),
        (lambda env: env.reset(options={"state": [0.0, 0.25, 0.0, 0.0]}), "already over"),
        (lambda env: env.reset(options={"state": [0.0, 2.0, 1.4, 1.4]}), "no episode starts"),
        (lambda env: env.unwrapped.step(np.array([np.nan, 0.0])), "two finite numbers"),
        (lambda env: env.unwrapped.step(np.zeros(3)), "two finite numbers"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(env, act, says):
    env.reset(seed=0)
    with pytest.raises(HeedError, match=says):
        act(env)


def test_the_picture_shows_hazard_goal_walls_the_mass_and_where_braking_leads(env):
    env.reset(options={"state": [-3.0, -2.0, 1.5, 0.0]})
    picture = env.render()

    def colour(x, y):
        return tuple(int(value) for value in picture[round((3.25 - y) * SCALE), round((x + 4.25) * SCALE)])

    assert (colour(0.0, 0.25), colour(0.3, 0.5), colour(3.0, 0.0)) == (HAZARD, HAZARD, GOAL)
    assert (colour(-4.1, 0.0), colour(-3.0, -2.0)) == (WALL, MASS)
    dots = np.argwhere((picture == BRAKING).all(-1))
    furthest = dots[:, 1].max() / SCALE - 4.25
    assert furthest == pytest.approx(-3.0 + 1.05, abs=0.06)  # sum of 1.4, 1.3 ... 0 times 0.1


def test_importing_the_worlds_imports_no_world_and_nothing_that_is_heavy():
    heavy = {"torch", "transformers", "mujoco", "Box2D", "ale_py", "heed.worlds.point_hazard"}
    asks = f"import sys, heed.worlds; print({heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_gymnasium_finds_it_by_module_and_id_alone():
    asks = "import gymnasium; print(gymnasium.make('heed.worlds:heed/PointHazard-v0').spec.id)"
    answer = subprocess.run([sys.executable, "-W", "error", "-c", asks], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "heed/PointHazard-v0"
