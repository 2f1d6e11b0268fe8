"""Learners of Stable-Baselines3 that know what the guard did: what was proposed and what was executed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from heed.errors import HeedError
from heed.guard.learners.attached import check_imagined
from heed.guard.learners.demonstrations import margin_loss
from heed.guard.learners.plain import LearnerPolicy, LearnerValue
from heed.guard.learners.replay import GuardAware


class GuardedSAC(GuardAware, SAC):
    """Soft actor-critic (Haarnoja et al. 2018) that knows the guard."""


class GuardedTD3(GuardAware, TD3):
    """Twin delayed DDPG (Fujimoto et al. 2018) that knows the guard."""


class GuardedDQN(GuardAware, DQN):
    """Deep Q-learning (Mnih et al. 2015) that knows the guard, and follows demonstrations as DQfD does."""

    demonstration_weight: float = 1.0

    def imitation(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The `margin_loss` of the values of all choices."""
        return margin_loss(self.q_net(observations), actions)

    @property
    def _policy_optimizer(self) -> torch.optim.Optimizer:
        return self.policy.optimizer


Learner = GuardedSAC | GuardedTD3 | GuardedDQN | PPO
"""PPO (Schulman et al. 2017) is Stable-Baselines3's own. On-policy learning needs the likelihood of what the policy
itself proposed: to it, guard and environment together are the world that a proposal acts in."""


LEARNERS: dict[str, type[Learner]] = {"sac": GuardedSAC, "td3": GuardedTD3, "dqn": GuardedDQN, "ppo": PPO}


_CHOOSE, _STEER = ("dqn", "ppo"), ("sac", "td3", "ppo")


def learner_class(name: str, space: gym.Space[Any]) -> type[Learner]:
    """A learner by its name, sac, td3, dqn or ppo; auto takes what the action space allows.

    Raises:
        HeedError: no such learner, or one that cannot act there.

    >>> learner_class("auto", gym.spaces.Discrete(3)).__name__
    'GuardedDQN'
    """
    able = _CHOOSE if isinstance(space, gym.spaces.Discrete) else _STEER
    chosen = able[0] if name == "auto" else name
    if chosen not in LEARNERS:
        raise HeedError(f"'{name}' is no learner", "--learner", f"take auto, {', '.join(LEARNERS)}")
    if chosen not in able:
        raise HeedError(f"{chosen} cannot act in {space}", "--learner", f"take auto, {', '.join(able)}")
    return LEARNERS[chosen]


def state_values(model: BaseAlgorithm) -> LearnerValue | None:
    """What a learner thinks states [N, S] are worth under its policy, [N]; None for learners without critics."""
    return LearnerValue(model) if isinstance(model, DQN | PPO | SAC | TD3) else None


def controller(model: BaseAlgorithm, deterministic: bool = True) -> LearnerPolicy:
    """A learner's policy for imagined states: [N, S] to action vectors [N, A] (boxes in [-1, 1], choices one-hot).

    The learner's weights are read at each call, so the imagination always follows the present policy.

    Raises:
        HeedError: a policy whose observations or actions are changed between it and the guard, or that carries a state
            from step to step: what the guard imagines of it would be something else.
    """
    check_imagined(model)
    return LearnerPolicy(model, deterministic)
