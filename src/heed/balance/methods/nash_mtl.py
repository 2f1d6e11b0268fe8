"""Nash-MTL: the update as the objectives' bargain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("nash-mtl")
@dataclass(frozen=True)
class NashMTLConfig(WeightingConfig):
    """Nash-MTL's settings.

    Args:
        max_norm: largest norm of the combined gradient, in the gradients' units; 0 is no limit.
        iterations: steps of the inner optimisation.
        every: steps between two optimisations; the others take the last one's weights.
    """

    max_norm: float = 1.0
    iterations: int = 20
    every: int = 1

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting."""
        from heed.balance.weightings.nash_mtl import NashMTL

        return NashMTL(objectives.count, self.max_norm, self.iterations, self.every)
