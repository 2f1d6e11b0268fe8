"""RiC: a policy learns, from its own replies, to give what a prompt asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heed.balance.checks import check_preference
from heed.balance.reward_combination import OneGradient
from heed.errors import HeedError


class RiC(OneGradient):
    """Rewards in context (Yang et al. 2024, arXiv 2402.10207): supervised learning on prompts that carry rewards.

    A completion is learnt by its likelihood, behind its prompt and the rewards that it got, each as a level between the
    lowest and the highest seen. First all completions are learnt from, later those alone that no other completion of
    the same prompt beats: is as good in every objective, and better in one (rejection). Whoever wants a preference
    then asks for high levels.

    **Our reading**: levels lie between the 5% quantile of the first round and the highest 95% quantile of any round;
    the most wanted objective is asked for at 1 and each other at its share of that one's weight; and the completions of
    the first rounds, which the paper has in a fixed set, are those of prompts that carry nothing.

    Args:
        preferences: the preferences that the policy is judged at, [N, K].
        offline: first rounds, in which prompts carry nothing and every completion is learnt from.

    Raises:
        HeedError: no objectives, or a negative number of rounds.

    >>> method = RiC([[0.2, 0.8]])
    >>> method.see(torch.tensor([[0.0, 10.0], [-1.0, 1.0]]))
    >>> method.wanted([0.2, 0.8]).tolist(), method.levels(torch.tensor([[5.0], [-9.0]])).flatten().tolist()
    ([0.25, 1.0], [0.5, 0.0])
    """

    low: Tensor
    high: Tensor
    rounds: Tensor

    def __init__(self, preferences: Sequence[Sequence[float]], offline: int = 20) -> None:
        super().__init__()
        if offline < 0:
            raise HeedError(f"{offline} rounds", "--offline", "give at least 0")
        self.preferences, self.offline = [list(preference) for preference in preferences], offline
        K = len(self.preferences[0])
        self.register_buffer("low", torch.full((K,), torch.nan, dtype=torch.float64))
        self.register_buffer("high", torch.full((K,), torch.nan, dtype=torch.float64))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int64))

    @property
    def asks(self) -> bool:
        """Whether the next round's prompts carry what is wanted of them."""
        return int(self.rounds) >= self.offline and not bool(self.low.isnan().any())

    def see(self, rewards: Tensor) -> None:
        """Take in a round's rewards [K, B], NaN where not scored."""
        values = rewards.to(self.low)
        low, high = (torch.nanquantile(values, q, dim=1) for q in (0.05, 0.95))
        self.low.copy_(torch.where(self.low.isnan(), low, self.low))
        self.high.copy_(torch.fmax(self.high, high))
        self.rounds += 1

    def levels(self, rewards: Tensor) -> Tensor:
        """Rewards [K, B] as levels in [0, 1]; 0 where not scored, 1 of an objective that never differed."""
        width = (self.high - self.low)[:, None]
        scaled = (rewards.to(self.low) - self.low[:, None]) / width
        return torch.where(width > 0, scaled, 1.0).nan_to_num(0.0).clamp(0, 1)

    def wanted(self, preference: Sequence[float] | Tensor) -> Tensor:
        """The levels [K] that a preference asks for."""
        weights = check_preference(preference, len(self.low))
        return weights / weights.max()

    def kept(self, rewards: Tensor, group: int) -> Tensor:
        """Which completions of a round, seen already, are learnt from, bool [B]."""
        known = ~rewards.isnan().any(0)
        if int(self.rounds) <= self.offline:
            return known
        values = rewards.nan_to_num(-torch.inf).view(len(rewards), -1, group)
        first, second = values[:, :, :, None], values[:, :, None, :]
        beaten = ((second >= first).all(0) & (second > first).any(0)).any(2)
        return known & ~beaten.flatten()
