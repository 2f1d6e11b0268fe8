"""SAC that learns beside its return what its proposals cost: the discounted probability of a block or a catastrophe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor
from torch.nn import functional

from heed.guard.learners.replay import ExecutedStep
from heed.guard.learners.sb3 import GuardedSAC


class CostReplayBuffer(ReplayBuffer):
    """A replay whose rewards are costs, which are probabilities: what normalises rewards leaves them alone."""

    @staticmethod
    def _normalize_reward(reward: NDArray[Any], env: VecNormalize | None = None) -> NDArray[Any]:  # noqa: ARG004 - above
        return reward


class CostSAC(GuardedSAC):
    """Soft actor-critic with a second pair of critics, which learn costs from a replay of their own.

    The cost of an action is the discounted probability that the policy's proposals come to a block or a catastrophe::

        C(s, a) = 1                           where a is blocked in s, or leads to a catastrophe
        C(s, a) = cost_gamma E[C(s', a')]     else, a' from the policy; 0 where the episode ends otherwise

    of which the larger of the two is believed. By itself the actor pays them no heed: `BalancedSAC`, `LagrangianSAC`
    and `RecoverySAC` each make something else of them.

    Args:
        arguments: as `stable_baselines3.SAC` takes them.
        cost_gamma: discount of costs; None takes the learner's gamma.
        settings: as `stable_baselines3.SAC` takes them.

    Attributes:
        costs_seen: whether anything was blocked or broken yet.
    """

    def __init__(self, *arguments: Any, cost_gamma: float | None = None, **settings: Any) -> None:
        self._cost_gamma = cost_gamma
        self.costs_seen = False
        super().__init__(*arguments, **settings)

    @property
    def cost_gamma(self) -> float:
        """Discount of costs."""
        return self.gamma if self._cost_gamma is None else self._cost_gamma

    def _setup_model(self) -> None:
        super()._setup_model()
        self.safety_critic = self.policy.make_critic()
        self.safety_critic_target = self.policy.make_critic()
        self.safety_critic_target.load_state_dict(self.safety_critic.state_dict())
        self.safety_critic_target.set_training_mode(False)
        self.safety_critic.optimizer = self._optimizer_of(self.safety_critic)
        spaces = (self.observation_space, self.action_space)
        self.safety_buffer = CostReplayBuffer(self.buffer_size, *spaces, device=self.device, n_envs=self.n_envs)

    def _optimizer_of(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        """An optimiser as the policy's own."""
        return self.policy.optimizer_class(
            module.parameters(),
            lr=self.lr_schedule(1),  # type: ignore[call-arg] # as every optimiser of torch takes it
            **self.policy.optimizer_kwargs,
        )

    def _learn_of(self, taken: ExecutedStep) -> None:
        """Keep what was executed with whether it broke anything, and what was blocked as the end at full cost."""
        catastrophes = catastrophes_of(taken)
        costly = replace(taken, rewards=catastrophes.astype(np.float32), ended=taken.ended | catastrophes)
        self.safety_buffer.add(costly.before, costly.after, costly.executed, costly.rewards, costly.ended, costly.infos)
        costly.add_blocked(self.safety_buffer, price=1.0, ends=True)
        self.costs_seen |= bool(catastrophes.any() or taken.blocked.any())

    def costs(self, observations: Tensor, actions: Tensor) -> Tensor:
        """What the safety critics think proposals come to: observations [N, S] and actions in [-1, 1]^A [N, A] to [N].

        The larger of the two, 0 for what is safe and 1 for what is blocked at once.
        """
        return torch.cat(self.safety_critic(observations, actions), dim=1).amax(1)

    def _learn_safety(self, batch: ReplayBufferSamples) -> float:
        """One step of the safety critics towards ``c + cost_gamma max C'``, a probability, and of C' after them."""
        with torch.no_grad():
            actions, _ = self.actor.action_log_prob(batch.next_observations)
            most = torch.cat(self.safety_critic_target(batch.next_observations, actions), dim=1).amax(1, keepdim=True)
            target = (batch.rewards + (1 - batch.dones) * self.cost_gamma * most).clamp(0, 1)
        result = self.safety_critic(batch.observations, batch.actions)
        loss = step_towards(target, result, self.safety_critic.optimizer)
        polyak_update(self.safety_critic.parameters(), self.safety_critic_target.parameters(), self.tau)
        return loss

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "safety_critic", "safety_critic_target", "safety_buffer"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "safety_critic", "safety_critic_target", "safety_critic.optimizer"], variables


def catastrophes_of(taken: ExecutedStep) -> NDArray[np.bool_]:
    """In which environments a step was a catastrophe, [N]."""
    return np.array([bool(info.get("catastrophe", False)) for info in taken.infos])


def step_towards(target: Tensor, result: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> float:
    """Least squares of each critic [N, 1] to the target [N, 1]; their loss, as Stable-Baselines3 counts it."""
    loss = 0.5 * torch.stack([functional.mse_loss(each, target) for each in result]).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
