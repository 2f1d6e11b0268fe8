"""PCD: the first objective leads, the others are guaranteed a share of progress."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import PCDWeighting
from torchjd.linalg import PSDMatrix

from heed.balance.adapters import Stateful
from heed.balance.gramian import checked_gram, project_psd


class PCD(Stateful):
    """Priority-constrained descent (TMLR 2025), "Not all objectives are born equal".

    The first objective is the primary one. It divides by a moving average of the gradients' norms, which is part of
    `state_dict`, and therefore sees the Gram matrix in the gradients' own units.

    Args:
        tau: share of its own normalised progress that each secondary objective is guaranteed, in [0, 1].
        beta: share of the past in the moving average of squared norms, in [0, 1).
        eps: added to that average before it divides, >= 0.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        ValueError: a setting is out of its range; from the call, if the Gram matrix is not finite.
    """

    def __init__(self, tau: float | Tensor = 0.02, beta: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(PCDWeighting(tau, beta, eps))

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves on the average norms."""
        weights: Tensor = self.inner(project_psd(checked_gram(gramian)))
        return weights.to(gramian)
