"""A round's completions with all that an update needs to know of them: rewards, log-probabilities, and their scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heed.align.advantages import ScoredRollout
from heed.align.conditioning.steering import Conditioning
from heed.align.config import AlignConfig
from heed.align.importance import Importance
from heed.align.models.policy import Policy
from heed.align.models.sequences import parts_of
from heed.align.objectives.base import ObjectiveSet
from heed.align.rollouts import Rollout
from heed.align.scale import RewardScale
from heed.align.updates.falls import by_prompt
from heed.align.updates.schedules import entropy_weight


@dataclass(frozen=True)
class Replies:
    """Completions, their rewards, and what they cost.

    Args:
        rollout: what was drawn.
        rewards: as the objectives gave them, [K, B], NaN where not scored.
        scored: with log-probabilities, and rewards in training units.
        seconds: of generation.
        tokens: that were drawn.
    """

    rollout: Rollout
    rewards: Tensor
    scored: ScoredRollout
    seconds: float
    tokens: float

    def after(self, discarded: Replies) -> Replies:
        """These replies at the cost of both, where others were drawn before them and discarded."""
        return replace(self, seconds=self.seconds + discarded.seconds, tokens=self.tokens + discarded.tokens)


class Scoring:
    """Scores completions, and takes their log-probabilities.

    Args:
        objectives: what scores them.
        policy: what drew them.
        importance: weighs tokens where the model is in half precision.
        conditioning: says which policy drew what.
        config: the run's.

    Attributes:
        scale: of each objective's rewards.
    """

    def __init__(
        self,
        objectives: ObjectiveSet,
        policy: Policy,
        importance: Importance,
        conditioning: Conditioning,
        config: AlignConfig,
    ) -> None:
        self.objectives, self.policy, self.importance, self.config = objectives, policy, importance, config
        self.conditioning = conditioning
        self.scale = RewardScale(len(objectives.names))

    def rewards(self, rollout: Rollout) -> Tensor:
        """The objectives' rewards of a rollout, [K, B], NaN where not scored."""
        columns = rollout.columns | {"completion_ids": rollout.completion_ids}
        return self.objectives.score(rollout.prompts, rollout.completions, columns).T.contiguous()

    @torch.no_grad()
    def measure(self, rollout: Rollout, rewards: Tensor, step: int) -> ScoredRollout:
        """Log-probabilities of the sampling policy and of the reference, and the rewards in training units.

        Args:
            rollout: the completions.
            rewards: [K, B], which the scale has seen.
            step: the round, which the entropy's bonus depends on.
        """
        config, temperature = self.config, self.config.temperature
        parts = [rollout.sequences.rows(part) for part in parts_of(len(rollout.sequences), config.micro_batch)]
        logp, importance = rollout.logp, None
        if logp is None or self.importance.needed(self.policy.causal_lm.dtype):
            logp = self.conditioning.logp(self.policy, rollout.sequences)
            if rollout.logp is not None:
                importance = self.importance.weights(logp, rollout.logp, rollout.sequences.mask)
        reference = torch.cat([self.policy.reference_logp(part, temperature) for part in parts])
        if config.normalise_rewards:
            rewards = rewards / self.scale.unit()[:, None]
        entropy = None
        if config.entropy_beta > 0:
            unit = torch.ones_like(self.scale.value) if config.normalise_rewards else self.scale.value
            entropy = (entropy_weight(config, step) * unit).to(logp.device)
        rewards = rewards.to(logp.device)
        return ScoredRollout(rollout.sequences, rewards, logp, reference, entropy, rollout.logp, importance)

    def observe(self, rewards: Tensor) -> None:
        """Let the scale follow a round's rewards [K, B], where anything is measured by it."""
        if self.config.normalise_rewards or self.config.entropy_beta > 0:
            self.scale.observe(rewards)

    def worth(self, scored: ScoredRollout) -> Tensor:
        """What completions are worth, by prompt, [K, prompts of all processes], in the rewards' units."""
        worth = scored.worth(self.config.kl_beta).cpu()
        if self.config.normalise_rewards:
            worth = worth * self.scale.unit()[:, None]
        return by_prompt(worth, self.config.completions_per_prompt)
