"""Weights that do not look at the gradients: linear scalarisation, one objective alone, random weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchjd.aggregation import RandomWeighting, Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.adapters import Seeded
from heed.balance.checks import check_count, checked_vector
from heed.balance.gramian import checked_gram
from heed.errors import HeedError


class Linear(Weighting[PSDMatrix]):
    """The same weights at every step: linear scalarisation ``sum_k w_k J_k``.

    Args:
        weights: one finite weight per objective; they need not sum to 1.

    Shape: Gram matrix [K, K] -> weights [K].

    Raises:
        HeedError: if a weight is not finite, or there are not as many as objectives.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> Linear([0.5, 0.5])(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, weights: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.weights = checked_vector(weights, "weights")

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights [K], in the Gram matrix's type."""
        check_count(checked_gram(gramian), len(self.weights), "weights")
        return self.weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"weights={self.weights.tolist()}"


class Single(Weighting[PSDMatrix]):
    """One objective's gradient alone; the others are only watched.

    Args:
        index: the objective's place, from 0.

    Shape: Gram matrix [K, K] -> weights [K], one of them 1.

    Raises:
        HeedError: if there is no such objective.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> Single(1)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0., 1.])
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        if index < 0:
            raise HeedError(f"there is no objective {index}", fix="count the objectives from 0")
        self.index = index

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights [K], in the Gram matrix's type."""
        count = len(checked_gram(gramian))
        if self.index >= count:
            raise HeedError(f"there is no objective {self.index} among {count}", fix="count them from 0")
        weights = torch.zeros(count, dtype=torch.float64)
        weights[self.index] = 1
        return weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"index={self.index}"


class Random(Seeded):
    """Random positive weights that sum to 1, new at each call (Lin et al. 2021): softmax of normal draws.

    Args:
        seed: of the draws; their generator's state is part of `state_dict`.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(RandomWeighting(), seed)
