"""Policies and values of Stable-Baselines3's learners, as controllers, and written down in plain layers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from heed.errors import HeedError
from heed.guard.keeping.policy import PlainPolicy, PlainValue, plain_layers


class LearnerPolicy:
    """A learner's present policy for imagined states: [N, S] to action vectors [N, A].

    Args:
        model: the learner; its weights are read at each call.
        deterministic: the most likely action, or drawn ones.
    """

    def __init__(self, model: BaseAlgorithm, deterministic: bool = True) -> None:
        self.model, self.deterministic = model, deterministic
        self._checked: tuple[Any, bool] = (None, False)

    @torch.no_grad()
    def __call__(self, states: Tensor) -> Tensor:
        """Boxes in [-1, 1], choices one-hot."""
        model, space = self.model, self.model.action_space
        if self._bare:
            actor: Any = model.policy.actor
            seen = states.float()
            return torch.tanh(actor.mu(actor.latent_pi(seen))) if type(model.policy) is SACPolicy else actor.mu(seen)
        chosen = model.policy._predict(states.to(model.device), self.deterministic).to(states.device)
        if isinstance(space, gym.spaces.Discrete):
            return nn.functional.one_hot(chosen.flatten(), int(space.n)).float()
        if model.policy.squash_output:  # SAC's and TD3's speak in [-1, 1]; PPO's in the environment's own units
            return chosen
        low, high = (torch.as_tensor(end).float() for end in (space.low, space.high))  # type: ignore[attr-defined] # a Box
        return (2 * (chosen - low) / (high - low) - 1).clamp(-1, 1)

    @property
    def _bare(self) -> bool:
        """Whether the actor's layers alone say the action, without the distribution that a step would be drawn from.

        An imagined future asks at each of its steps, and more than half of that time went into the distribution.
        """
        policy: Any = self.model.policy
        if self._checked[0] is not policy:
            ours = self.deterministic and type(policy) in (SACPolicy, TD3Policy) and policy.device.type == "cpu"
            flat = ours and type(policy.actor.features_extractor) is FlattenExtractor
            self._checked = (policy, flat and not getattr(self.model, "use_sde", False))
        return self._checked[1]

    def plain(self) -> PlainPolicy:
        """The present policy in plain layers.

        Raises:
            HeedError: a learner or a network that is none of those with an ``MlpPolicy``.
        """
        model: Any = self.model
        _check_plain(model)
        space = model.action_space
        if isinstance(model, SAC):
            return PlainPolicy(plain_layers(model.actor.latent_pi, model.actor.mu, nn.Tanh()), "squashed", space)
        if isinstance(model, TD3):
            return PlainPolicy(plain_layers(model.actor.mu), "squashed", space)
        if isinstance(model, DQN):
            return PlainPolicy(plain_layers(model.q_net.q_net), "best", space)
        layers = plain_layers(model.policy.mlp_extractor.policy_net, model.policy.action_net)
        return PlainPolicy(layers, "likeliest" if isinstance(space, gym.spaces.Discrete) else "clipped", space)


class LearnerValue:
    """What a learner thinks states are worth under its policy: states [N, S] to [N].

    Of an off-policy learner's critics the least, as its own targets take it.

    Args:
        model: the learner; its weights are read at each call.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, states: Tensor) -> Tensor:
        """Of states [N, S]: [N]."""
        model: Any = self.model
        if isinstance(model, DQN):
            return model.q_net(states).amax(-1)
        if isinstance(model, PPO):
            return model.policy.predict_values(states).squeeze(-1)
        actions = model.policy._predict(states, deterministic=True)
        return torch.cat(model.critic(states, actions), dim=1).amin(1)

    def plain(self) -> PlainValue:
        """The present value in plain layers.

        Raises:
            HeedError: a learner or a network that is none of those with an ``MlpPolicy``.
        """
        model: Any = self.model
        _check_plain(model)
        if isinstance(model, DQN):
            return PlainValue([plain_layers(model.q_net.q_net)])
        if isinstance(model, PPO):
            return PlainValue([plain_layers(model.policy.mlp_extractor.value_net, model.policy.value_net)])
        return PlainValue([plain_layers(network) for network in model.critic.q_networks], LearnerPolicy(model).plain())


def _check_plain(model: BaseAlgorithm) -> None:
    """Refuse a learner whose networks see anything but the observation as it is."""
    extractors = [part for part in model.policy.modules() if isinstance(part, BaseFeaturesExtractor)]
    plain = all(isinstance(part, FlattenExtractor) for part in extractors)
    if not isinstance(model, SAC | TD3 | DQN | PPO) or not plain or getattr(model, "use_sde", False):
        raise HeedError(
            f"the policy of this {type(model).__name__} cannot be written down in plain layers",
            "policy",
            "take an MlpPolicy, or give the policy again where the guard is loaded",
        )
