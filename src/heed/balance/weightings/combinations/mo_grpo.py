"""MO-GRPO: normalise each reward in its group, and add."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.balance.reward_combination import RewardCombination, unscored


class MOGRPO(RewardCombination):
    """Multi-objective GRPO (Ichihara et al. 2025, arXiv 2509.22047): each reward counts by its own deviation.

    ::

        A = sum_k w_k (r_k - mean of the group) / (std of the group + 1e-4)

    >>> two = torch.tensor([[0.0, 2.0], [30.0, 10.0]])
    >>> MOGRPO([0.25, 0.75]).combine(two, group=2)
    tensor([ 0.7071, -0.7071])
    """

    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """The advantages [B]."""
        return self.decoupled(rewards, group).sum(0).masked_fill(unscored(rewards), torch.nan)
