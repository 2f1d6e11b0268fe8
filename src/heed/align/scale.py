"""The scale of each objective's rewards, so that bonuses and penalties mean the same to all."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.align import distributed
from heed.align.journal import deviation_of


class RewardScale:
    """Running deviations of the objectives' rewards: nine parts memory, one part the latest round.

    Args:
        objectives: K.

    Attributes:
        value: [K]; 0 for an objective that has been constant, or was never scored, so far.

    >>> scale = RewardScale(1)
    >>> for rewards in ([0.0, 2.0], [0.0, 4.0]):
    ...     scale.observe(torch.tensor([rewards]))
    >>> scale.value
    tensor([1.1000])
    """

    def __init__(self, objectives: int) -> None:
        self.value = torch.zeros(objectives)

    def observe(self, rewards: Tensor) -> None:
        """Take in a round's rewards, [K, B], NaN where not scored, of all processes."""
        deviation = distributed.mean_of_known(torch.stack([*map(deviation_of, rewards)]))
        keep = torch.where(self.value > 0, 0.9, 0.0)
        # An objective that scored nothing keeps its scale.
        self.value = torch.where(deviation.isnan(), self.value, keep * self.value + (1 - keep) * deviation)

    def unit(self) -> Tensor:
        """What a reward is divided by, [K]: 1 where there is no scale yet."""
        return torch.where(self.value > 0, self.value, 1.0)
