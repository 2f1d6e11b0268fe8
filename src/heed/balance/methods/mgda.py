"""MGDA: the shortest vector in the convex hull of the gradients, exactly or by iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("mgda")
@dataclass(frozen=True)
class MGDAConfig(WeightingConfig):
    """MGDA, exact; it has no settings."""

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        from heed.balance.weightings.mgda import MGDA

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
        from torchjd.aggregation import MGDAWeighting

        from heed.balance.adapters import ScaleFree

        return ScaleFree(MGDAWeighting(self.epsilon, self.max_iterations))
