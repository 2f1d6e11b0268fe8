"""One policy for all preferences: a weighting for each of several preferences, which take turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.observing import ObservesValues
from heed.errors import HeedError


class Conditioned(Weighting[PSDMatrix]):
    """Weighs the gradients of one preference's policy by that preference's own weighting.

    `heed align` takes each optimiser step for one preference, which the policy is told by its adapter or its prompts;
    which it is, :meth:`turn_to` says. What a weighting keeps from step to step (Tchebycheff's values) it keeps for its
    preference alone.

    Args:
        weightings: one for each preference.
        preferences: of the weightings, [N, K].
        through: what tells the policy the preference: its prompts, or its adapter.
        shared: of an adapter's ranks, the share that all preferences have in common.

    Shape: Gram matrix [K, K] -> weights [K].

    Raises:
        HeedError: there are no preferences, or not as many as weightings; a share below 0, or of all ranks.

    >>> from heed.balance import PGAPO
    >>> both = Conditioned([PGAPO([0.9, 0.1]), PGAPO([0.1, 0.9])], [[0.9, 0.1], [0.1, 0.9]])
    >>> both.turn_to(1)
    >>> both(torch.eye(2))
    tensor([0.1000, 0.9000])
    """

    def __init__(
        self,
        weightings: Sequence[Weighting[PSDMatrix]],
        preferences: Sequence[Sequence[float]],
        through: Literal["adapter", "prompt"] = "adapter",
        shared: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= shared < 1:
            raise HeedError(f"a share of {shared:g} of the ranks", "--shared", "give at least 0, and less than 1")
        self.through, self.shared = through, shared
        if not weightings or len(weightings) != len(preferences):
            what = f"{len(weightings)} weightings for {len(preferences)} preferences"
            raise HeedError(what, "Conditioned", "give one for each, and at least one")
        self.weightings = torch.nn.ModuleList(weightings)
        self.preferences = [list(preference) for preference in preferences]
        self.turn = 0

    @property
    def active(self) -> Weighting[PSDMatrix]:
        """The weighting whose turn it is."""
        return cast(Weighting[PSDMatrix], self.weightings[self.turn])

    def turn_to(self, index: int) -> None:
        """Make the next calls about the prompts with the preference of this index."""
        self.turn = index

    def observe(self, values: Tensor) -> None:
        """Show mean values [K] to the weighting whose turn it is, if that wants any."""
        if isinstance(self.active, ObservesValues):
            self.active.observe(values)

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients by the weighting whose turn it is."""
        return cast(Tensor, self.active(gramian))
