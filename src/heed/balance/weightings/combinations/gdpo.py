"""GDPO: normalise each reward in its group, add, normalise over the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from heed.balance.checks import given_preference
from heed.balance.combinations import RewardCombination, unscored
from heed.balance.registry import Objectives, WeightingConfig, register


class GDPO(RewardCombination):
    """Group reward-decoupled normalisation (Liu et al. 2026, arXiv 2601.05242), as TRL's ``normalize_then_sum``.

    ::

        A_k = (r_k - mean of the group) / (std of the group + 1e-4)
        A   = sum_k w_k A_k,   then (A - mean of the batch) / (std of the batch + 1e-4)

    Other frameworks' "GDPO" leave out the last line, or take leave-one-out baselines: three numbers of one name.

    >>> two = torch.tensor([[0.0, 2.0], [30.0, 10.0]])
    >>> GDPO([0.25, 0.75]).combine(two, group=2)
    tensor([ 0.7071, -0.7071])
    """

    whitened = True

    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """The advantages [B] before the batch is looked at."""
        return self.decoupled(rewards, group).sum(0).masked_fill(unscored(rewards), torch.nan)


@register("gdpo")
@dataclass(frozen=True)
class GDPOConfig(WeightingConfig):
    """GDPO's settings.

    Args:
        preference: one weight per objective, on the simplex.
    """

    preference: list[float] | None = None

    def build(self, objectives: Objectives) -> GDPO:
        """The combination."""
        return GDPO(given_preference(self.preference, objectives.count))
