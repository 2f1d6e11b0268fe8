"""The presets' rules against the environments themselves, stepped: what ends in them, and what a person could save."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

from heed.errors import HeedError
from heed.worlds import CLIFF_GRID, POINT_HAZARD
from heed.worlds.catastrophe_info import CatastropheInfo
from heed.worlds.lunar_lander import rules as lunar_lander
from heed.worlds.point_hazard.geometry import Hazards, careless
from heed.worlds.pong import rules as pong
from heed.worlds.presets import preset

ENVIRONMENTS = (
    POINT_HAZARD,
    CLIFF_GRID,
    "LunarLander-v3",
    "HalfCheetah-v5",
    "Hopper-v5",
    "InvertedPendulum-v5",
    "CartPole-v1",
    "ALE/Pong-v5",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into the current folder."""
    monkeypatch.chdir(tmp_path)


def make(env_id, penalty=0.0, **kwargs):
    """The environment of a preset under `CatastropheInfo`; skipped where it is not installed."""
    known = preset(env_id, **kwargs)
    if env_id.startswith("ALE/"):
        gym.register_envs(pytest.importorskip("ale_py"))
    elif env_id.endswith("-v5"):
        pytest.importorskip("mujoco")
        pytest.importorskip("imageio")
    elif env_id.startswith("Lunar"):
        pytest.importorskip("Box2D")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MuJoCo on its own models
        env = CatastropheInfo(gym.make(env_id, **known.kwargs), known.catastrophe, penalty)
    env.action_space.seed(0)
    return env, known


def played(env, known, steps, obey=False, policy=None):
    """Every (observation, danger, action, observation after, terminated, truncated, info after) of some steps."""
    policy = policy or (lambda _observation: env.action_space.sample())
    observation, info = env.reset(seed=0)
    for _ in range(steps):
        danger = known.danger(observation, info)
        action = known.safe_action(observation) if obey and danger else policy(observation)
        after, reward, terminated, truncated, info = env.step(action)
        yield observation, danger, action, after, terminated, truncated, info | {"reward": reward}
        observation = after
        if terminated or truncated:
            observation, info = env.reset()


def catastrophes(env, known, steps, obey):
    return sum(moment[-1]["catastrophe"] for moment in played(env, known, steps, obey))


@pytest.mark.parametrize("env_id", ["Hopper-v5", "InvertedPendulum-v5", "CartPole-v1"])
def test_the_catastrophe_is_the_environments_own_end_and_can_be_seen_in_the_observation(env_id):
    env, known = make(env_id)
    own_ends = 0
    _, env_info = env.reset(seed=0)
    for _ in range(1500):
        observation, reward, terminated, truncated, env_info = env.env.step(env.action_space.sample())
        told = known.catastrophe(observation, {**env_info, "reward": reward, "terminated": terminated})
        assert told == terminated == known.termination(observation[None])[0]
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


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_every_catastrophe_comes_out_of_danger_and_the_safe_action_is_an_action(env_id):
    env, known = make(env_id)
    warned = []
    for observation, danger, _, _, _, _, info in played(env, known, 1500):
        warned += [danger] if info["catastrophe"] else []
        assert known.safe_action is None or known.safe_action(observation) in env.action_space
    assert env_id == CLIFF_GRID or all(warned)
    assert warned or env_id == "HalfCheetah-v5"  # which random actions turn over only now and then


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_states_that_end_an_episode_are_told_from_those_that_do_not(env_id):
    env, known = make(env_id)
    if known.termination is None:
        assert env_id == "LunarLander-v3"
        return
    moments = list(played(env, known, 1000))
    after = np.stack([moment[3] for moment in moments])
    ended = known.termination(after)
    assert ended.tolist() == [moment[4] for moment in moments]
    np.testing.assert_array_equal(known.termination(after[:999].reshape(3, 333, -1)), ended[:999].reshape(3, 333))


def test_a_lander_crashes_where_the_environment_says_so_and_not_where_it_lands():
    env, known = make("LunarLander-v3")
    from gymnasium.envs.box2d.lunar_lander import heuristic

    def landing(observation):
        return np.asarray(heuristic(env.unwrapped, observation), np.float32)

    for policy, wanted in ((landing, False), (None, True)):
        ends = [(moment[-1], env.unwrapped.game_over) for moment in played(env, known, 900, policy=policy) if moment[4]]
        assert len(ends) >= 2
        assert all(info["catastrophe"] == wanted for info, _ in ends)
        assert all(info["reward"] == (-100 if wanted else 100) for info, _ in ends)


def test_a_lander_that_leaves_the_screen_has_crashed_without_touching_anything():
    env, known = make("LunarLander-v3")
    untouched = [moment for moment in played(env, known, 3000) if moment[4] and not env.unwrapped.game_over]
    assert len(untouched) >= 2
    assert all(abs(after[0]) >= 1.0 and info["catastrophe"] for _, _, _, after, _, _, info in untouched)


@pytest.mark.parametrize(("reward", "terminated"), [(-100.0, False), (-5.0, True), (100.0, True)])
def test_only_an_end_with_the_reward_of_a_crash_is_a_crash(reward, terminated):
    assert not lunar_lander.crashed(np.zeros(8), {"reward": reward, "terminated": terminated})


@pytest.mark.parametrize("height", [0.5, 0.69, 0.71, 1.25])
@pytest.mark.parametrize("angle", [-0.21, -0.19, 0.0, 0.19, 0.21])
def test_a_hopper_has_fallen_exactly_where_it_calls_itself_unhealthy(height, angle):
    env, known = make("Hopper-v5")
    physics = env.unwrapped
    position = physics.init_qpos.copy()
    position[1:3] = height, angle
    physics.set_state(position, np.zeros_like(physics.init_qvel))
    observation = np.concatenate([physics.data.qpos[1:], physics.data.qvel])
    assert known.catastrophe(observation, {}) == (not physics.is_healthy)
    assert known.catastrophe(observation, {}) == (height < 0.7 or abs(angle) > 0.2)


def test_without_the_reward_in_the_info_a_crash_is_refused_rather_than_overlooked():
    with pytest.raises(HeedError, match="CatastropheInfo"):
        lunar_lander.crashed(np.zeros(8), {})


def test_a_half_cheetah_that_is_turned_over_has_flipped_in_either_direction():
    env, known = make("HalfCheetah-v5")
    physics = env.unwrapped
    for angle, danger, flip in ((0.9, False, False), (1.2, True, False), (1.65, True, True), (-1.65, True, True)):
        env.reset(seed=0)
        position = physics.init_qpos.copy()
        position[1:3] = 1.0, angle  # lifted, so that the ground does not turn it back
        physics.set_state(position, np.zeros_like(physics.init_qvel))
        observation, _, terminated, _, info = env.step(np.zeros(6, np.float32))
        assert observation[1] == pytest.approx(angle, abs=0.05)
        assert (known.danger(observation, info), info["catastrophe"], terminated) == (danger, flip, flip)


def test_the_paddles_height_in_ram_is_its_height_in_the_picture():
    env, _ = make("ALE/Pong-v5")
    green = np.array([92, 186, 92])
    env.reset(seed=0)
    heights = []
    for step in range(160):
        ram, *_ = env.step(pong.UP if step % 60 < 25 else 3)
        picture = env.unwrapped.ale.getScreenRGB()
        rows = np.flatnonzero((picture[34:194, 143] == green).all(-1)) + 34
        if len(rows) == 16:  # whole in the picture
            heights.append((rows[-1], pong.paddle_bottom(ram)))
        assert pong.too_low(ram) == (rows[-1] > 178 or ram[pong.PADDLE] > 190)  # HIRL's own test, where it can see
    seen, told = np.array(heights).T
    assert len(np.unique(seen)) > 10
    assert set(told - seen) == {0}


def test_a_paddle_moves_no_further_in_a_step_than_the_danger_zone_is_wide():
    env, known = make("ALE/Pong-v5")
    moves = [int(after[pong.PADDLE]) - int(before[pong.PADDLE]) for before, _, _, after, *_ in played(env, known, 1200)]
    assert 15 < max(moves) <= pong.ONE_STEP


def test_an_episode_ends_at_the_catastrophe_with_the_penalty_and_not_before():
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: observation[1] > 0.3, penalty=-7.0)
    _, info = env.reset(seed=0)
    assert info == {"catastrophe": False}
    ends = [env.step(1)[1:] for _ in range(2)]
    assert ends[0] == (1.0, False, False, {"catastrophe": False})
    assert ends[1] == (-6.0, True, False, {"catastrophe": True})


def test_the_rule_sees_the_reward_and_the_end_and_the_learner_does_not():
    seen = []
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: bool(seen.append(dict(info))), penalty=0.0)
    env.reset(seed=0)
    _, _, _, _, info = env.step(0)
    assert seen == [{"reward": 1.0, "terminated": False}]
    assert info == {"catastrophe": False}


def test_the_wrapper_can_be_rebuilt_from_its_spec():
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: True, penalty=-2.0)
    again = gym.make(env.spec)
    again.reset(seed=0)
    assert again.step(0)[1:3] == (-1.0, True)


def test_point_hazards_rules_follow_its_numbers():
    before_the_disc = np.array([-1.3, 0.25, 0.8, 0.0])
    assert [preset(POINT_HAZARD, disc=disc).danger(before_the_disc, {}) for disc in (0.5, 0.9)] == [False, True]
    assert careless(before_the_disc, Hazards(disc=0.9))
    assert preset("heed.worlds:heed/PointHazard-v0") is not None


def test_an_environment_that_heed_does_not_know_has_no_preset():
    assert preset("Acrobot-v1") is None
