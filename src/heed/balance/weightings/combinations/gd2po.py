"""GD2PO: GDPO without the completions of which the objectives disagree."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heed.balance.reward_combination import RewardCombination, unscored
from heed.errors import HeedError


class GD2PO(RewardCombination):
    """Group-dynamic reward-decoupled optimisation (Liu et al. 2026, arXiv 2606.16771).

    ::

        A_k  as GDPO's;   agreement = |sum_k w_k A_k| / sum_k w_k |A_k|
        a completion takes part unless some A_k > 0 and others < 0 with an agreement below the one asked for
        A    = (share of its group that takes part) sum_k w_k A_k,   then normalised over what takes part

    Args:
        preference: one weight per objective, on the simplex.
        agreement: in (0, 1]; at 1 every disagreement leaves a completion out (the paper's hard filter); the soft
            filter of the authors' scripts takes .8.

    Raises:
        HeedError: an agreement out of its range.

    >>> rewards = torch.tensor([[0.0, 1.0, 2.0], [0.0, 3.0, 1.0]])
    >>> GD2PO().combine(rewards, group=3)  # the first thinks well of the third completion, the second does not
    tensor([-1.2485,  0.7273,     nan])
    """

    whitened = True

    def __init__(self, preference: Sequence[float] | Tensor | None = None, agreement: float = 1.0) -> None:
        super().__init__(preference)
        if not 0 < agreement <= 1:
            raise HeedError(f"an agreement of {agreement}", "--agreement", "give more than 0 and at most 1")
        self.agreement = agreement

    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """The advantages [B] before the batch is looked at; NaN where the objectives disagree."""
        each = self.decoupled(rewards, group)
        total, size = each.sum(0), each.abs().sum(0)
        conflict = (each > 1e-8).any(0) & (each < -1e-8).any(0) & (total.abs() < self.agreement * size)
        part = ~(conflict | unscored(rewards))
        share = part.to(total.dtype).reshape(-1, group).mean(1).repeat_interleave(group)
        return (share * total).masked_fill(~part, torch.nan)
