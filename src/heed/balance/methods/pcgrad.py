"""PCGrad: from each gradient what points against another is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("pcgrad")
@dataclass(frozen=True)
class PCGradConfig(WeightingConfig):
    """PCGrad's settings.

    Args:
        seed: of the weighting's own random draws.
    """

    seed: int = 0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        from heed.balance.weightings.pcgrad import PCGrad

        return PCGrad(self.seed)
