"""What stands between a learner and its guard: what would make the imagination untrue is refused in one line."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, Person
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.attached import outside
from heed.guard.learners.sb3 import GuardedSAC, controller
from heed.guard.vector_guard import VectorGuard

WRAPPERS = gym.wrappers


def guard():
    return Guard(CartEnv(), Person(lambda _: False))


def scaled(env):
    return WRAPPERS.TransformObservation(env, lambda seen: seen * 10, env.observation_space)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (scaled, "TransformObservation"),
        (lambda env: Monitor(scaled(env)), "TransformObservation"),
        (WRAPPERS.NormalizeObservation, "NormalizeObservation"),
        (lambda env: WRAPPERS.FrameStackObservation(env, 2), "FrameStackObservation"),
        (lambda env: WRAPPERS.RescaleAction(env, np.float32(0), np.float32(1)), "RescaleAction"),
        (lambda env: DummyVecEnv([lambda: scaled(env)]), "TransformObservation"),
        (lambda env: VecFrameStack(DummyVecEnv([lambda: env]), 2), "VecFrameStack"),
        (lambda env: VecMonitor(VecNormalize(DummyVecEnv([lambda: env]))), "VecNormalize"),
    ],
)
def test_a_policy_that_sees_or_does_something_else_than_its_guard_is_refused(wrap, name):
    model = PPO("MlpPolicy", wrap(guard()), device="cpu")
    with pytest.raises(HeedError, match=rf"^{name} stands between guard and learner: [^\n]* \({name}\): [^\n]*$"):
        controller(model)


@pytest.mark.parametrize(
    "wrap",
    [
        Monitor,
        lambda env: WRAPPERS.TimeLimit(env, 5),
        WRAPPERS.RecordEpisodeStatistics,
        lambda env: VecMonitor(DummyVecEnv([lambda: env])),
        lambda env: VecNormalize(DummyVecEnv([lambda: env]), norm_obs=False),
    ],
)
def test_what_only_watches_may_stand_there(wrap):
    model = PPO("MlpPolicy", wrap(guard()), device="cpu", seed=0)
    proposed = model.predict(np.array([0.5, 1.0], np.float32), deterministic=True)[0]
    assert controller(model)(torch.tensor([[0.5, 1.0]])).numpy() * 2 == pytest.approx(proposed[None], abs=1e-6)


def test_below_the_guard_anything_may_stand():
    model = GuardedSAC("MlpPolicy", Guard(scaled(CartEnv()), Person(lambda _: False)), device="cpu", seed=0)
    states = torch.tensor([[0.5, 1.0]])
    assert controller(model)(states).numpy() * 2 == pytest.approx(
        model.predict(states.numpy(), deterministic=True)[0], abs=1e-6
    )


def test_a_replay_that_would_hold_executed_actions_in_other_units_is_refused():
    changed = WRAPPERS.RescaleAction(guard(), np.float32(0), np.float32(1))
    with pytest.raises(HeedError, match="RescaleAction stands between guard and learner"):
        GuardedSAC("MlpPolicy", changed, device="cpu")
    learner = GuardedSAC("MlpPolicy", guard(), device="cpu")
    with pytest.raises(HeedError, match="RescaleAction stands between guard and learner"):
        learner.set_env(WRAPPERS.RescaleAction(guard(), np.float32(-2), np.float32(2)))
    GuardedSAC("MlpPolicy", WRAPPERS.RescaleAction(CartEnv(), np.float32(0), np.float32(1)), device="cpu")  # no guard


def test_wrappers_of_a_guard_of_many_environments_are_found():
    many = VectorGuard(gym.vector.SyncVectorEnv([CartEnv] * 2), Person(lambda _: False))
    around = WRAPPERS.vector.RescaleObservation(WRAPPERS.vector.RecordEpisodeStatistics(many), 0, 1)
    assert [type(each).__name__ for each in outside(around)] == ["RescaleObservation", "RecordEpisodeStatistics"]


class Remembers(ActorCriticPolicy):
    """A policy that carries a state, with the signature of sb3-contrib's recurrent ones."""

    def _predict(self, observation, lstm_states, episode_starts, deterministic=False):
        raise NotImplementedError


def test_a_policy_that_carries_a_state_is_refused():
    with pytest.raises(HeedError, match="carries a state from step to step, which the guard cannot imagine"):
        controller(PPO(Remembers, guard(), device="cpu"))


def test_a_box_of_doubles_is_imagined_in_floats():
    class Doubles(CartEnv):
        action_space = gym.spaces.Box(np.array([-2.0]), np.array([2.0]), dtype=np.float64)

    vectors = controller(PPO("MlpPolicy", Guard(Doubles()), device="cpu"))(torch.randn(4, 2))
    assert vectors.dtype == torch.float32 and vectors.abs().max() <= 1
