"""The registered worlds' oracles against the environments, stepped: what ends in them, and what a person could save."""

import numpy as np
import pytest

from heed.worlds import CLIFF_GRID, POINT_HAZARD, registered_oracle
from heed.worlds.point_hazard.geometry import Hazards, careless
from heed.worlds.registry import WORLDS
from stepped_worlds import make, stepped


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into the current folder."""
    monkeypatch.chdir(tmp_path)


def catastrophes(env, known, steps, obey):
    return sum(step[-1]["catastrophe"] for step in stepped(env, known, steps, obey))


@pytest.mark.parametrize("env_id", ["Hopper-v5", "InvertedPendulum-v5", "CartPole-v1"])
def test_the_catastrophe_is_the_environments_own_end_and_can_be_seen_in_the_observation(env_id):
    env, known = make(env_id)
    own_ends = 0
    _, env_info = env.reset(seed=0)
    for _ in range(1500):
        observation, reward, terminated, truncated, env_info = env.env.step(env.action_space.sample())
        reported = known.catastrophe(observation, {**env_info, "reward": reward, "terminated": terminated})
        assert reported == terminated == known.is_catastrophe(observation[None])[0]
        own_ends += terminated
        if terminated or truncated:
            env.reset()
    assert own_ends > 30


@pytest.mark.parametrize(
    ("env_id", "steps", "unguarded", "guarded"),
    [
        (POINT_HAZARD, 3000, 8, 0),
        (CLIFF_GRID, 2000, 500, 400),  # a rule on states cannot see the step that is about to be taken
        ("InvertedPendulum-v5", 2000, 200, 4),
        ("CartPole-v1", 2000, 60, 6),
        ("LunarLander-v3", 3000, 20, 1),
        ("ALE/Pong-v5", 1500, 20, 0),
    ],
)
def test_who_takes_the_safe_action_in_danger_is_saved(env_id, steps, unguarded, guarded):
    """At least this many catastrophes at random, at most this many under the rule."""
    env, known = make(env_id)
    assert catastrophes(env, known, steps, obey=False) >= unguarded
    assert catastrophes(env, known, steps, obey=True) <= guarded


@pytest.mark.parametrize("env_id", WORLDS)
def test_every_catastrophe_comes_out_of_danger_and_the_safe_action_is_an_action(env_id):
    env, known = make(env_id)
    warned = []
    for observation, danger, _, _, _, _, info in stepped(env, known, 1500):
        warned += [danger] if info["catastrophe"] else []
        assert known.safe_action is None or known.safe_action(observation) in env.action_space
    assert env_id == CLIFF_GRID or all(warned)
    assert warned or env_id == "HalfCheetah-v5"  # which random actions turn over only now and then


@pytest.mark.parametrize("env_id", WORLDS)
def test_the_states_that_end_an_episode_are_the_catastrophes_and_the_goal(env_id):
    env, known = make(env_id)
    if known.is_catastrophe is None:
        assert env_id == "LunarLander-v3"
        return
    steps = list(stepped(env, known, 1000))

    def ends(states):
        return known.is_catastrophe(states) | (False if known.at_goal is None else known.at_goal(states))

    after = np.stack([step[3] for step in steps])
    ended = ends(after)
    assert ended.tolist() == [step[4] for step in steps]
    np.testing.assert_array_equal(ends(after[:999].reshape(3, 333, -1)), ended[:999].reshape(3, 333))


def test_point_hazards_oracle_follows_its_numbers():
    before_the_disc = np.array([-1.3, 0.25, 0.8, 0.0])
    oracles = [registered_oracle(POINT_HAZARD, disc=disc) for disc in (0.5, 0.9)]
    assert [oracle.danger(before_the_disc, {}) for oracle in oracles] == [False, True]
    assert careless(before_the_disc, Hazards(disc=0.9))
    assert [oracle.kwargs for oracle in oracles] == [{"disc": 0.5}, {"disc": 0.9}]
    assert registered_oracle("heed.worlds:heed/PointHazard-v0") is not None


def test_what_gymnasium_is_given_goes_over_the_oracles_own():
    assert registered_oracle("LunarLander-v3").kwargs == {"continuous": True}
    assert registered_oracle("LunarLander-v3", gravity=-9.0).kwargs == {"continuous": True, "gravity": -9.0}
    assert registered_oracle("ALE/Pong-v5", obs_type="rgb").kwargs["obs_type"] == "rgb"


def test_an_environment_that_is_not_registered_has_no_oracle():
    assert registered_oracle("Acrobot-v1") is None
