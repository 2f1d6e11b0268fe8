"""Return and safety as two objectives of the actor, balanced by their gradients instead of by a penalty's size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from torch import Tensor
from torch.nn import functional
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import GAPO
from heed.guard.learners.config import LearnsFrom
from heed.guard.learners.cost_critics import CostSAC, step_towards


class BalancedSAC(CostSAC):
    """Soft actor-critic whose actor has two objectives: return and safety.

    Return is SAC's own objective, with its entropy. Safety is what a second pair of critics learns (`CostSAC`), the
    discounted probability that the policy's proposals come to a block or a catastrophe. It is learnt from what was
    proposed as well as from what was executed in its place. A block or a catastrophe thus costs the same whatever the
    environment's rewards are, and what it weighs against return is not a penalty's size but the weighting of the two
    gradients of the actor (GAPO, Li et al. 2025, between any two objectives). Until something was blocked or broken
    there is nothing to learn safety from, and the actor follows return alone.

    Args:
        arguments: as `stable_baselines3.SAC` takes them.
        weighting: from the Gram matrix [2, 2] of the gradients of return and safety to their weights [2]; None is
            GAPO with p = 1, which goes half the way of each unit gradient.
        settings: as `CostSAC` takes them.

    Attributes:
        costs_seen: whether anything was blocked or broken yet.

    >>> import gymnasium as gym
    >>> import heed.worlds
    >>> learner = BalancedSAC("MlpPolicy", gym.make("heed/PointHazard-v0"), weighting=GAPO(p=1), device="cpu")
    >>> learner.cost_gamma, learner.costs(torch.zeros(3, 4), torch.zeros(3, 2)).shape
    (0.99, torch.Size([3]))
    """

    learns_from: LearnsFrom = "executed"  # safety is an objective of its own here: no price is put on a block

    def __init__(
        self,
        *arguments: Any,
        weighting: Weighting[PSDMatrix] | None = None,
        **settings: Any,
    ) -> None:
        self.weighting = GAPO(p=1) if weighting is None else weighting
        super().__init__(*arguments, **settings)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """As SAC's own, with two gradients of the actor in place of one, and the safety critics' step."""
        self.policy.set_training_mode(True)
        self.safety_critic.set_training_mode(True)
        tuned = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.safety_critic.optimizer, *tuned])
        told: dict[str, list[float]] = defaultdict(list)
        for number in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr] # set up
            if self.use_sde:
                self.actor.reset_noise()
            proposals, likelihoods = self.actor.action_log_prob(batch.observations)
            likelihoods = likelihoods.reshape(-1, 1)
            temperature = self._tune_temperature(likelihoods)
            told["critic_loss"].append(self._learn_return(batch, temperature))
            losses = self.losses(batch.observations, proposals, likelihoods, temperature)
            weights, cosine = self._improve(losses)
            safety = self.safety_buffer.sample(batch_size, env=self._vec_normalize_env)
            told["safety_critic_loss"].append(self._learn_safety(safety))
            if number % self.target_update_interval == 0:
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
            told["ent_coef"].append(temperature.item())
            told["actor_loss"].append(losses[0].item())
            told["cost"].append(losses[1].item())
            told["weight_return"].append(weights[0].item())
            told["weight_safety"].append(weights[1].item())
            told["cosine"].append(cosine)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, values in told.items():
            self.logger.record(f"train/{name}", np.mean(values))

    def losses(
        self, observations: Tensor, proposals: Tensor, likelihoods: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the actor descends: minus SAC's soft value, and the cost.

        Args:
            observations: [N, S].
            proposals: drawn from the actor, in [-1, 1]^A, [N, A].
            likelihoods: their log-likelihood, [N, 1].
            temperature: of the entropy.
        """
        least = torch.cat(self.critic(observations, proposals), dim=1).amin(1, keepdim=True)
        return (temperature * likelihoods - least).mean(), self.costs(observations, proposals).mean()

    def _improve(self, losses: Sequence[Tensor]) -> tuple[Tensor, float]:
        """One step of the actor along the weighted gradients; their weights [2] and cosine."""
        parameters = list(self.actor.parameters())
        rows = [torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True) for loss in losses]
        jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
        gramian = jacobian @ jacobian.T
        weights = self.weighting(gramian) if self.costs_seen else gramian.new_tensor([1.0, 0.0])
        combined = (weights @ jacobian).split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, combined, strict=True):
            parameter.grad = part.view_as(parameter)
        self.actor.optimizer.step()
        return weights, float(functional.cosine_similarity(jacobian[0], jacobian[1], dim=0))

    def _tune_temperature(self, likelihoods: Tensor) -> Tensor:
        """The entropy's coefficient before its own step towards the target entropy, where it is learnt."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            return self.ent_coef_tensor
        temperature = self.log_ent_coef.detach().exp()
        loss = -(self.log_ent_coef * (likelihoods + float(self.target_entropy)).detach()).mean()
        self.ent_coef_optimizer.zero_grad()
        loss.backward()
        self.ent_coef_optimizer.step()
        return temperature

    def _learn_return(self, batch: ReplayBufferSamples, temperature: Tensor) -> float:
        """One step of the critics of return towards ``r + gamma (min Q' - temperature log pi)``; their loss."""
        gamma = self.gamma if batch.discounts is None else batch.discounts
        with torch.no_grad():
            actions, likelihoods = self.actor.action_log_prob(batch.next_observations)
            least = torch.cat(self.critic_target(batch.next_observations, actions), dim=1).amin(1, keepdim=True)
            following = least - temperature * likelihoods.reshape(-1, 1)
            target = batch.rewards + (1 - batch.dones) * gamma * following
        return step_towards(target, self.critic(batch.observations, batch.actions), self.critic.optimizer)
