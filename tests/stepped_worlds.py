"""Registered worlds under `CatastropheInfo`, made where they are installed and stepped: what their tests stand on."""

import warnings

import gymnasium as gym
import pytest

from heed.worlds import CatastropheInfo, registered_oracle


def make(env_id, penalty=0.0, **kwargs):
    """The environment of a registered world under `CatastropheInfo`, and its oracle; skipped where it is missing."""
    known = registered_oracle(env_id, **kwargs)
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


def stepped(env, known, steps, obey=False, policy=None):
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
