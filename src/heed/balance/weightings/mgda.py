"""MGDA: the shortest vector in the convex hull of the gradients, exactly or by iterations."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.minnorm import min_norm_weights


class MGDA(Weighting[PSDMatrix]):
    """Min-norm weights of the gradients (MGDA, Desideri 2012), exact where others iterate.

    Shape: Gram matrix [K, K] -> weights [K] on the simplex.

    Raises:
        ValueError: from the call, if the Gram matrix is not finite.

    >>> import torch
    >>> MGDA()(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2000, 0.8000])
    """

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] from the Gram matrix [K, K]."""
        return min_norm_weights(gramian).weights.to(gramian)
