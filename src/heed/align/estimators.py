"""Advantages of a rollout, with the KL where the config puts it: by K critics or relative to the group.

The rows are the K objectives; where the KL is counted once and in the reward, it is one row more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from heed.align.advantages import gae, group_relative, leave_one_out
from heed.align.config import AlignConfig
from heed.align.models.critics import CriticConfig, Critics
from heed.align.models.policy import Policy, Sequences


@dataclass
class Scored:
    """A rollout with everything that the update needs of it.

    Args:
        sequences: the tokens.
        rewards: [K, B], NaN where not scored.
        logp: of the policy that drew them, [B, T].
        reference_logp: [B, T].
        entropy: what a token's entropy counts for in each objective's reward, [K]; None for nothing.
    """

    sequences: Sequences
    rewards: Tensor
    logp: Tensor
    reference_logp: Tensor
    entropy: Tensor | None = None

    @property
    def surprise(self) -> Tensor:
        """``-logp`` of each token, [B, T]: unbiased for the entropy."""
        return -self.logp * self.sequences.mask

    @property
    def kl(self) -> Tensor:
        """``logp - logp_ref`` of each token, [B, T]: unbiased for the KL."""
        return (self.logp - self.reference_logp) * self.sequences.mask


class Estimator(Protocol):
    """Rewards to advantages."""

    def advantages(self, scored: Scored, parts: list[slice]) -> Tensor:
        """[rows, B] or [rows, B, T]."""
        ...

    def learn(self) -> dict[str, float]:
        """Learn from the last rollout, if there is anything to learn; returns metrics."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        ...


def kl_row(config: AlignConfig) -> bool:
    """Whether the Jacobian has a row for the KL beside those of the objectives."""
    return config.kl_beta > 0 and config.kl_in == "once"


class GroupEstimator:
    """Advantages against the other completions of the same prompt; nothing is learnt.

    Args:
        config: the run's.
    """

    def __init__(self, config: AlignConfig) -> None:
        self.config = config

    def advantages(self, scored: Scored, parts: list[slice]) -> Tensor:  # noqa: ARG002 - the protocol's
        """[rows, B]: the whole completion's reward less its group's baseline."""
        config, rewards = self.config, scored.rewards
        group = config.completions_per_prompt
        penalty = config.kl_beta * scored.kl.sum(1)
        if config.kl_place == "reward" and config.kl_in == "each":
            rewards = rewards - penalty
        if scored.entropy is not None:
            rewards = rewards + scored.entropy[:, None] * scored.surprise.sum(1)
        baseline = group_relative if config.advantage == "group" else leave_one_out
        advantages = baseline(rewards, group)
        if not kl_row(config):
            return advantages
        last = -penalty[None] if config.kl_place == "reward" else torch.zeros_like(penalty[None])
        return torch.cat([advantages, leave_one_out(last, group)])

    def learn(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing."""


class CriticEstimator:
    """Generalised advantages against one critic per objective.

    Args:
        policy: whose base the critics stand on.
        objectives: K.
        config: the run's.
    """

    def __init__(self, policy: Policy, objectives: int, config: AlignConfig) -> None:
        self.config = config
        self.rows = objectives + int(kl_row(config) and config.kl_place == "reward")
        settings = CriticConfig(
            learning_rate=config.critic_learning_rate,
            epochs=config.critic_epochs,
            value_clip=config.critic_value_clip,
            scale=config.critic_scale,
            rank=config.critic_rank,
        )
        self.critics = Critics(policy, self.rows, settings, seed=config.seed + 1)
        self._batch: tuple[list[Sequences], list[Tensor]] | None = None

    def advantages(self, scored: Scored, parts: list[slice]) -> Tensor:
        """[rows, B, T]: the reward of the last token is the objective's, every token carries the KL."""
        config, sequences = self.config, scored.sequences
        token_rewards = self._token_rewards(scored)
        values = torch.cat([self.critics.values(sequences.rows(part)) for part in parts], dim=1)
        advantages, returns = gae(token_rewards, values, sequences.mask, config.gamma, config.gae_lambda)
        scored_rows = ~scored.rewards.isnan()
        if len(scored_rows) < self.rows:
            scored_rows = torch.cat([scored_rows, torch.ones_like(scored_rows[:1])])
        keep = scored_rows[:, :, None]
        returns = torch.where(keep, returns, torch.nan)  # an unscored completion teaches its critic nothing
        self._batch = ([sequences.rows(part) for part in parts], [returns[:, part] for part in parts])
        advantages = advantages * keep
        if kl_row(config) and config.kl_place == "loss":
            advantages = torch.cat([advantages, torch.zeros_like(advantages[:1])])
        return advantages

    def _token_rewards(self, scored: Scored) -> Tensor:
        config, mask = self.config, scored.sequences.mask
        last = mask * (mask.cumsum(1) == mask.sum(1, keepdim=True))
        rewards = scored.rewards.nan_to_num(0.0)[:, :, None] * last
        if scored.entropy is not None:
            rewards = rewards + scored.entropy[:, None, None] * scored.surprise
        if config.kl_place != "reward" or config.kl_beta == 0:
            return rewards
        penalty = -config.kl_beta * scored.kl
        if config.kl_in == "each":
            return rewards + penalty
        return torch.cat([rewards, penalty[None]])

    def learn(self) -> dict[str, float]:
        """One round of the critics on the last rollout's returns."""
        assert self._batch is not None
        parts, returns = self._batch
        self._batch = None
        return {"critic/error": self.critics.fit(parts, returns)}

    def state(self) -> dict[str, Any]:
        """The critics' weights, scales and optimiser."""
        return self.critics.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.critics.restore(state)
