"""What makes one gradient of K rewards, where a weighting weighs K gradients: an advantage, or a loss on pairs."""

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


class OneGradient(Weighting[PSDMatrix]):
    """Makes one gradient of a prompt's completions and their K rewards, so that there is nothing to weigh.

    It stands where a `Weighting` stands, so that methods of all kinds have names in one list. As a weighting it gives
    the one gradient the weight 1.

    Args:
        preference: one weight per objective, on the simplex; equal ones count each objective once, as without.

    Raises:
        HeedError: the preference is off the simplex; from the call, if there is more than one gradient.
    """

    def __init__(self, preference: Sequence[float] | Tensor | None = None) -> None:
        super().__init__()
        self.preference = None if preference is None else check_preference(preference)

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

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weight of the one gradient, [1]."""
        if len(gramian) != 1:
            what = f"{type(self).__name__} makes one gradient of the rewards, and was given {len(gramian)} gradients"
            raise HeedError(what, "method", "use it in heed align, or take a weighting of gradients")
        return torch.ones(1, dtype=gramian.dtype, device=gramian.device)


class RewardCombination(OneGradient):
    """Combines the K rewards of a prompt's completions into one advantage.

    Attributes:
        whitened: whether the advantages are then centred and scaled over the batch, of all processes.
    """

    whitened: ClassVar[bool] = False

    @abstractmethod
    def combine(self, rewards: Tensor, group: int) -> Tensor:
        """One advantage for each completion.

        Args:
            rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
            group: completions per prompt.

        Returns:
            [B]; NaN for a completion that takes no part in the update.
        """

    def decoupled(self, rewards: Tensor, group: int) -> Tensor:
        """Each objective's rewards, centred and scaled within their group and weighted, [K, B]."""
        return self.weights(rewards) * group_relative(rewards, group)


class PairLoss(OneGradient):
    """A loss on the pairs of a prompt's completions, such as DPO's, by its gradient in closed form."""

    @abstractmethod
    def coefficients(self, rewards: Tensor, log_ratio: Tensor, beta: float, group: int) -> Tensor:
        """What the log-probability of each completion is to be raised by.

        Args:
            rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
            log_ratio: log-probability of each completion for the policy less that for the reference, [B].
            beta: weight of the KL to the reference.
            group: completions per prompt.

        Returns:
            [B], the loss's gradient with its sign turned; zero for a completion in no pair.
        """


def unscored(rewards: Tensor) -> Tensor:
    """Which completions no objective scored, bool [B]."""
    return rewards.isnan().all(0)
