"""A learner's policy in plain layers of torch does to the last bit what the learner's own does."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from kept_runs import Ledge, Steps
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy

from heed.errors import HeedError
from heed.guard.keeping.policy import PlainPolicy, PlainValue
from heed.guard.learners.sb3 import controller, state_values


class Wide(Ledge):
    """Actions in a box that is not around 0."""

    action_space = gym.spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([3.0, 2.5], np.float32))


class Late(Steps):
    """Choices that do not begin at 0."""

    action_space = gym.spaces.Discrete(3)


LEARNERS = [(SAC, Wide), (TD3, Wide), (PPO, Wide), (DQN, Steps), (PPO, Late)]


@pytest.mark.parametrize(("kind", "env"), LEARNERS)
def test_a_plain_policy_and_value_are_the_learners_own_to_the_last_bit(kind, env):
    model = kind("MlpPolicy", env(), seed=3, device="cpu", policy_kwargs={"net_arch": [16, 8]})
    policy, value = controller(model), state_values(model)
    states = 3 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    plain = PlainPolicy.from_state(policy.plain().state(), model.action_space)
    assert torch.equal(plain(states), policy(states))
    assert torch.equal(PlainValue.from_state(value.plain().state(), model.action_space)(states), value(states))
    for state in states[:16].numpy():
        own = model.predict(state, deterministic=True)[0]
        assert np.array_equal(plain.predict(state), own) and plain.predict(state).__class__ in (int, np.ndarray)


class Contrary(SACPolicy):
    """Acts by more than its actor's layers."""

    def _predict(self, observation, deterministic=False):
        return -super()._predict(observation, deterministic)


class Halved(FlattenExtractor):
    """Shows the actor another state."""

    def forward(self, observations):
        return super().forward(observations) / 2


@pytest.mark.parametrize(
    ("kind", "policy", "changes"),
    [
        (SAC, "MlpPolicy", {}),
        (TD3, "MlpPolicy", {}),
        (SAC, Contrary, {}),
        (SAC, "MlpPolicy", {"policy_kwargs": {"features_extractor_class": Halved}}),
        (SAC, "MlpPolicy", {"use_sde": True}),
    ],
)
def test_what_is_imagined_of_a_policy_is_what_it_predicts_however_it_is_made(kind, policy, changes):
    model = kind(policy, Wide(), seed=3, device="cpu", **changes)
    states = 3 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.policy._predict(states, deterministic=True)
    assert torch.equal(controller(model)(states), expected)


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_the_imagination_asks_an_actors_layers_alone(kind, monkeypatch):
    model = kind("MlpPolicy", Wide(), seed=3, device="cpu")
    states = torch.randn(8, 2, dtype=torch.float64)
    expected = controller(model)(states.float())
    monkeypatch.setattr(model.policy, "_predict", None)
    assert torch.equal(controller(model)(states), expected)


def test_a_plain_policy_stays_as_it_was_written_while_the_learner_learns_on():
    model = SAC("MlpPolicy", Wide(), seed=3, device="cpu", policy_kwargs={"net_arch": [8]})
    states, plain = torch.randn(4, 2), controller(model).plain()
    before = plain(states)
    with torch.no_grad():
        model.actor.mu.bias.add_(1.0)
    assert torch.equal(plain(states), before) and not torch.equal(controller(model)(states), before)


def test_networks_that_are_no_plain_layers_are_refused_in_a_line():
    model = SAC("MlpPolicy", Wide(), device="cpu", policy_kwargs={"net_arch": [8], "activation_fn": torch.nn.PReLU})
    with pytest.raises(HeedError, match=r"PReLU layers cannot be written down \(policy\): take layers of Linear"):
        controller(model).plain()
    noisy = SAC("MlpPolicy", Wide(), device="cpu", use_sde=True)
    with pytest.raises(HeedError, match=r"policy of this SAC cannot be written down in plain layers"):
        controller(noisy).plain()
