"""GradVac: pairs of gradients are brought to the cosine that they usually have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("gradvac")
@dataclass(frozen=True)
class GradVacConfig(WeightingConfig):
    """GradVac's settings.

    Args:
        beta: share of the latest cosine in the moving average, in [0, 1].
        eps: added to denominators, >= 0.
        seed: of the weighting's own random draws.
    """

    beta: float = 0.5
    eps: float = 1e-8
    seed: int = 0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        from heed.balance.weightings.gradvac import GradVac

        return GradVac(self.beta, self.eps, self.seed)
