"""Rewards to advantages, one row per objective: relative to the prompt's other completions, or by K critics.

Sequence-level advantages are [K, B], token-level ones [K, B, T]. A completion that an objective did not score (NaN)
leaves that objective's baseline and gets an advantage of zero. An estimator puts the KL where the config says; where it
is counted once and in the reward, it is one row more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from heed.align import distributed
from heed.align.config import AlignConfig
from heed.align.models.critics import CriticConfig, Critics
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences
from heed.balance.baselines import group_relative, leave_one_out
from heed.balance.reward_combination import OneGradient, PairLoss, RewardCombination
from heed.balance.weightings.combinations.ric import RiC
from heed.balance.weightings.conditioned import Conditioned
from heed.errors import HeedError


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation per objective (Schulman et al. 2016, eq. 16).

    Args:
        rewards: [K, B, T], the reward that follows each token.
        values: [K, B, T], each critic's value of the state in which the token was chosen.
        mask: [B, T], 1 on the completion's tokens, which come first.
        gamma: discount.
        lam: the lambda of the estimator; 1 is the return less the value.

    Returns:
        Advantages and returns (the critics' targets), both [K, B, T], zero off the mask.

    >>> r, v = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.5, 0.25]]])
    >>> advantages, returns = gae(r, v, torch.ones(1, 2), gamma=1.0, lam=0.5)
    >>> advantages.tolist(), returns.tolist()
    ([[[0.125, 0.75]]], [[[0.625, 1.0]]])
    """
    mask = mask.to(values.dtype)
    values = values * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[..., 0])
    following = torch.zeros_like(values[..., 0])
    for t in reversed(range(values.shape[-1])):
        delta = rewards[..., t] + gamma * following - values[..., t]
        running = (delta + gamma * lam * running) * mask[:, t]
        advantages[..., t] = running
        following = values[..., t]
    return advantages, (advantages + values) * mask


@dataclass
class ScoredRollout:
    """A rollout with what the update needs of it.

    Args:
        sequences: the tokens.
        rewards: [K, B], NaN where not scored.
        logp: of the policy that sampled them, [B, T].
        reference_logp: [B, T].
        entropy: weight of a token's entropy in each objective's reward, [K]; None for no bonus.
        sampler_logp: as the sampler recorded them, [B, T]; None where it did not.
        importance: weight of each token in the mean, [B, T]; None for 1.
    """

    sequences: Sequences
    rewards: Tensor
    logp: Tensor
    reference_logp: Tensor
    entropy: Tensor | None = None
    sampler_logp: Tensor | None = None
    importance: Tensor | None = None

    @property
    def surprise(self) -> Tensor:
        """``-logp`` of each token, [B, T]: unbiased for the entropy."""
        return -self.logp * self.sequences.mask

    @property
    def kl(self) -> Tensor:
        """``logp - logp_ref`` of each token, [B, T]: unbiased for the KL."""
        return (self.logp - self.reference_logp) * self.sequences.mask

    def worth(self, kl_beta: float) -> Tensor:
        """What a completion is worth to each objective, [K, B]: its reward less the KL's weight.

        The bonus of entropy is left out: a policy that falls into noise would earn it.
        """
        return self.rewards - kl_beta * self.kl.sum(1)


class AdvantageEstimator(Protocol):
    """Rewards to advantages."""

    def advantages(self, scored: ScoredRollout, parts: list[slice]) -> Tensor:
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


class LearnsNothing:
    """The part of an estimator that keeps nothing from round to round."""

    def learn(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing."""


class GroupEstimator(LearnsNothing):
    """Advantages against the other completions of the same prompt; nothing is learnt.

    Args:
        config: the run's.
    """

    def __init__(self, config: AlignConfig) -> None:
        self.config = config

    def advantages(self, scored: ScoredRollout, parts: list[slice]) -> Tensor:  # noqa: ARG002 - the protocol's
        """[rows, B]: the whole completion's reward less its group's baseline."""
        config, rewards = self.config, scored.rewards
        group = config.completions_per_prompt
        penalty = config.kl_beta * scored.kl.sum(1)
        if config.kl_place == "reward" and config.kl_in == "each":
            rewards = rewards - penalty
        if scored.entropy is not None:
            rewards = rewards + scored.entropy[:, None] * scored.surprise.sum(1)
        advantages = self.against_the_group(rewards, group)
        if not kl_row(config):
            return advantages
        last = -penalty[None] if config.kl_place == "reward" else torch.zeros_like(penalty[None])
        return torch.cat([advantages, leave_one_out(last, group)])

    def against_the_group(self, rewards: Tensor, group: int) -> Tensor:
        """The objectives' advantages [K, B] of their rewards [K, B]."""
        baseline = group_relative if self.config.advantage == "group" else leave_one_out
        return baseline(rewards, group)


class CombinedEstimator(GroupEstimator):
    """One advantage for all objectives, as a `RewardCombination` makes it of a group's rewards.

    Args:
        combination: the method.
        config: the run's, of which `advantage` is not asked.
    """

    def __init__(self, combination: RewardCombination, config: AlignConfig) -> None:
        super().__init__(config)
        self.combination, self.kept = combination, 1.0

    def against_the_group(self, rewards: Tensor, group: int) -> Tensor:
        """The combined advantages, [1, B]; zero for completions that take no part."""
        combined = self.combination.combine(rewards, group)
        part = ~combined.isnan()
        combined = combined.nan_to_num(0.0)
        sums = torch.stack([part.sum(), torch.tensor(len(part), device=part.device), combined.sum()]).double()
        count, rows, total = distributed.mean(sums).tolist()
        self.kept = count / rows
        if self.combination.whitened and count:
            mean = total / count
            centred = (combined - mean) * part
            several = count * distributed.world_size()
            square = float(distributed.mean(centred.square().sum().double())) * distributed.world_size()
            combined = centred / ((square / max(several - 1, 1)) ** 0.5 + 1e-4)
        return combined[None]

    def learn(self) -> dict[str, float]:
        """The share of the completions that took part."""
        return {"combination/kept": self.kept}


class PairEstimator(LearnsNothing):
    """What a loss on pairs needs of a rollout, in the place of advantages: the rewards, and the reference.

    Args:
        config: the run's.
    """

    def __init__(self, config: AlignConfig) -> None:
        self.config = config

    def advantages(self, scored: ScoredRollout, parts: list[slice]) -> Tensor:  # noqa: ARG002 - the protocol's
        """[K + 1, B]: the rewards, and the log-probability of each completion for the reference."""
        rewards = scored.rewards
        if scored.entropy is not None:
            rewards = rewards + scored.entropy[:, None] * scored.surprise.sum(1)
        reference = (scored.reference_logp * scored.sequences.mask).sum(1)
        return torch.cat([rewards, reference[None].to(rewards)])


class KeptEstimator(LearnsNothing):
    """One for completions that are learnt from as they stand, zero for the others: supervised learning (RiC).

    Args:
        method: says which.
        config: the run's.
    """

    def __init__(self, method: RiC, config: AlignConfig) -> None:
        self.method, self.group, self.kept = method, config.completions_per_prompt, 1.0

    def advantages(self, scored: ScoredRollout, parts: list[slice]) -> Tensor:  # noqa: ARG002 - the protocol's
        """[1, B]."""
        kept = self.method.kept(scored.rewards, self.group)
        self.kept = float(kept.double().mean())
        return kept[None].to(scored.logp.dtype)

    def learn(self) -> dict[str, float]:
        """The share of the completions that is learnt from."""
        return {"combination/kept": self.kept}


class CriticEstimator:
    """Generalised advantages against one critic per objective.

    Args:
        policy: whose base the critics share.
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

    def advantages(self, scored: ScoredRollout, parts: list[slice]) -> Tensor:
        """[rows, B, T]: the reward of the last token is the objective's, every token carries the KL."""
        config, sequences = self.config, scored.sequences
        token_rewards = self._token_rewards(scored)
        values = torch.cat([self.critics.values(sequences.rows(part)) for part in parts], dim=1)
        advantages, returns = gae(token_rewards, values, sequences.mask, config.gamma, config.gae_lambda)
        scored_rows = ~scored.rewards.isnan()
        if len(scored_rows) < self.rows:
            scored_rows = torch.cat([scored_rows, torch.ones_like(scored_rows[:1])])
        keep = scored_rows[:, :, None]
        returns = torch.where(keep, returns, torch.nan)  # an unscored completion has no loss
        self._batch = ([sequences.rows(part) for part in parts], [returns[:, part] for part in parts])
        advantages = advantages * keep
        if kl_row(config) and config.kl_place == "loss":
            advantages = torch.cat([advantages, torch.zeros_like(advantages[:1])])
        return advantages

    def _token_rewards(self, scored: ScoredRollout) -> Tensor:
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


def check_groups(weighting: object, config: AlignConfig) -> None:
    """Refuse a method that compares the completions of a prompt where there is one of each, or they are torn apart.

    Raises:
        HeedError: there is no group to compare within, a loss on pairs is to have its KL elsewhere, a memory of Gram
            matrices spans several preferences, or critics are to judge policies that differ by their adapter alone.
    """
    if isinstance(weighting, Conditioned) and config.gram_memory > 0:
        what = "a running Gram matrix would mix the preferences of a conditioned policy"
        raise HeedError(what, "--gram-memory", "give 0 (--preset modern has one), or one policy for each preference")
    if isinstance(weighting, Conditioned) and weighting.through == "adapter" and config.advantage == "gae":
        what = "critics are not told the preference that an adapter follows"
        raise HeedError(what, "--advantage gae", "take leave_one_out or group, or --through prompt")
    _check_falls(weighting, config)
    if not isinstance(weighting, OneGradient):
        return
    name, group = type(weighting).__name__, config.completions_per_prompt
    if group < 2:
        what = f"{name} compares the completions of a prompt, and there is one of each"
        raise HeedError(what, "--completions-per-prompt", "give at least 2")
    if isinstance(weighting, RiC) and kl_row(config):
        what = f"{name} learns by likelihood, beside which the KL is no row of its own"
        raise HeedError(what, "--kl-in", "leave it out")
    if not isinstance(weighting, PairLoss):
        return
    if config.micro_batch % group:
        what = f"a micro-batch of {config.micro_batch} splits the {group} completions of a prompt, that {name} pairs"
        raise HeedError(what, "--micro-batch", f"take a multiple of {group}")
    if config.kl_beta == 0 or config.kl_place != "reward" or config.kl_in != "each":
        what = f"{name} has the KL in its own loss, and needs its weight"
        raise HeedError(what, "--kl-beta, --kl-place, --kl-in", "give a weight above 0, and leave out the others")


def _check_falls(weighting: object, config: AlignConfig) -> None:
    """Refuse to compare rounds that are not of the same preferences."""
    if config.max_fall <= 0:
        return
    if isinstance(weighting, RiC):
        what = "a round of RiC asks for other rewards than the one before, so that one is no fall of the other"
        raise HeedError(what, "--max-fall", "leave it out")
    if isinstance(weighting, Conditioned) and config.minibatches % (count := len(weighting.preferences)):
        what = f"{config.minibatches} minibatches are not of the same ones of {count} preferences in each round"
        raise HeedError(what, "--max-fall", f"leave it out, or give a multiple of {count} --minibatches")


def estimator_of(policy: Policy, objectives: int, config: AlignConfig, weighting: object = None) -> AdvantageEstimator:
    """The estimator that the settings name, or that of a method which makes one gradient of all rewards.

    Raises:
        HeedError: the settings do not fit the method (`check_groups`).
    """
    check_groups(weighting, config)
    if isinstance(weighting, RewardCombination):
        return CombinedEstimator(weighting, config)
    if isinstance(weighting, PairLoss):
        return PairEstimator(config)
    if isinstance(weighting, RiC):
        return KeptEstimator(weighting, config)
    return CriticEstimator(policy, objectives, config) if config.advantage == "gae" else GroupEstimator(config)
