"""MGDA: the shortest vector in the convex hull of the gradients, exactly or by iterations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchjd.aggregation import MGDAWeighting, Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.adapters import ScaleFree
from heed.balance.minnorm import min_norm_weights
from heed.balance.registry import Objectives, WeightingConfig, register


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


@register("mgda")
@dataclass(frozen=True)
class MGDAConfig(WeightingConfig):
    """MGDA, exact; it has no settings."""

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        return MGDA()


@register("mgda-frank-wolfe")
@dataclass(frozen=True)
class FrankWolfeConfig(WeightingConfig):
    """torchjd's MGDA, by the Frank-Wolfe iterations of Sener and Koltun (2018), Algorithm 2.

    Args:
        epsilon: step below which the iterations end, > 0.
        max_iterations: how many at most.
    """

    epsilon: float = 1e-3
    max_iterations: int = 100

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """Torchjd's weighting on the Gram matrix of trace 1."""
        return ScaleFree(MGDAWeighting(self.epsilon, self.max_iterations))
