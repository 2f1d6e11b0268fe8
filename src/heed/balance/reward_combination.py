"""What combines K rewards into one advantage, in the place of a weighting of K gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.baselines import group_relative
from heed.balance.checks import check_preference
from heed.errors import HeedError


class RewardCombination(Weighting[PSDMatrix]):
    """Combines the K rewards of a prompt's completions into one advantage; there is one gradient, and nothing to weigh.

    It stands where a `Weighting` stands, so that methods of both kinds have names in one list. As a weighting it gives
    the one gradient the weight 1.

    Args:
        preference: one weight per objective, on the simplex; equal ones count each objective once, as without.

    Attributes:
        whitened: whether the advantages are then centred and scaled over the batch, of all processes.

    Raises:
        HeedError: the preference is off the simplex; from the call, if there is more than one gradient.
    """

    whitened: ClassVar[bool] = False

    def __init__(self, preference: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        self.preference = None if preference is None else check_preference(preference)

    @abstractmethod
    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """One advantage for each completion.

        Args:
            rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
            group: completions per prompt.

        Returns:
            [B]; NaN for a completion that takes no part in the update.
        """

    def weights(self, rewards: Tensor) -> Tensor:
        """K times the preference, [K, 1]; ones without one.

        Raises:
            HeedError: as many weights as there are objectives are needed.
        """
        count = len(rewards)
        if self.preference is None:
            return torch.ones(count, 1, dtype=rewards.dtype, device=rewards.device)
        if len(self.preference) != count:
            what = f"{len(self.preference)} preference weights for {count} objectives"
            raise HeedError(what, "--preference", f"give {count}")
        return count * self.preference.to(rewards)[:, None]

    def decoupled(self, rewards: Tensor, group: int) -> Tensor:
        """Each objective's rewards, centred and scaled within their group and weighted, [K, B]."""
        return self.weights(rewards) * group_relative(rewards, group)

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weight of the one gradient, [1]."""
        if len(gramian) != 1:
            what = f"{type(self).__name__} combines rewards, and was given {len(gramian)} gradients"
            raise HeedError(what, "method", "use it in heed align, or take a weighting of gradients")
        return torch.ones(1, dtype=gramian.dtype, device=gramian.device)


def unscored(rewards: Tensor) -> Tensor:
    """Which completions no objective scored, bool [B]."""
    return rewards.isnan().all(0)
