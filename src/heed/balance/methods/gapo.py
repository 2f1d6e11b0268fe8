"""GAPO and P-GAPO: gradients of any length balanced, by min-norm weights or by a user's preference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("gapo")
@dataclass(frozen=True)
class GAPOConfig(WeightingConfig):
    """GAPO's settings.

    Args:
        p: power of the gradient norm, by which each gradient is divided; 0 is MGDA, 1 and 2 are the paper's.
        floor: norms below this share of their median are raised to it before they divide gradients; 0 is no floor.
        keep_scale: whether an update grows with its gradients, of which the paper's takes p powers away.
    """

    p: float = 1.0
    floor: float = 0.0
    keep_scale: bool = False

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        from heed.balance.weightings.gapo import GAPO

        return GAPO(self.p, self.floor, self.keep_scale)


@register("pgapo")
@dataclass(frozen=True)
class PGAPOConfig(WeightingConfig):
    """P-GAPO's settings.

    Args:
        preference: one weight per objective, on the simplex.
        floor: norms below this share of their median are raised to it before they divide gradients; 0 is no floor.
    """

    preference: list[float] | None = None
    floor: float = 0.0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting; refuses to be without a preference."""
        from heed.balance.checks import required_preference
        from heed.balance.weightings.gapo import PGAPO

        return PGAPO(required_preference("pgapo", self.preference, objectives.count), self.floor)
