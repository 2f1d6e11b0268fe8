"""DVAO: normalised rewards, weighted by how much each of them tells the completions of a group apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from heed.balance.baselines import group_deviation, group_relative
from heed.balance.reward_combination import RewardCombination, unscored
from heed.errors import HeedError


class DVAO(RewardCombination):
    """Dynamic variance-adaptive advantages (Jiang et al. 2026, arXiv 2605.25604).

    ::

        omega_k = w_k s_k^power / sum_j w_j s_j^power,      s_k the standard deviation of reward k in the group
        A       = sum_k omega_k (r_k - mean of the group) / (s_k + 1e-4)

    so that an objective on which a group agrees carries little weight, and A stays as bounded as one A_k. That the
    weights grow with s_k is the abstract's; the formula itself was not to be had, and the power (1: deviations, 2:
    variances) is our reading.

    Args:
        preference: one weight per objective, on the simplex.
        power: of the deviations in the weights, above 0.

    Raises:
        HeedError: the power is not above 0.

    >>> two = torch.tensor([[0.0, 2.0], [30.0, 10.0]])  # deviations 1.41 and 14.1
    >>> DVAO().combine(two, group=2)
    tensor([ 0.5785, -0.5785])
    """

    def __init__(self, preference: Sequence[float] | Tensor | None = None, power: float = 1.0) -> None:
        super().__init__(preference)
        if not (power > 0 and math.isfinite(power)):
            raise HeedError(f"a power of {power}", "--power", "give more than 0")
        self.power = power

    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """The advantages [B]."""
        share = self.weights(rewards) * group_deviation(rewards, group) ** self.power
        share = share / share.sum(0).clamp(min=torch.finfo(share.dtype).tiny)
        return (share * group_relative(rewards, group)).sum(0).masked_fill(unscored(rewards), torch.nan)
