"""PCD: the first objective leads, the others are guaranteed a share of progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("pcd")
@dataclass(frozen=True)
class PCDConfig(WeightingConfig):
    """Priority-constrained descent's settings; the first objective leads.

    Args:
        tau: share of its own progress that each objective but the first is guaranteed, in [0, 1]; one for all, or a
            list of them.
        beta: share of the past in the moving average of squared norms, in [0, 1).
        eps: added to denominators, >= 0.
    """

    tau: float | list[float] = 0.02
    beta: float = 0.999
    eps: float = 1e-8

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting."""
        import torch

        from heed.balance.weightings.pcd import PCD

        if not isinstance(self.tau, list):
            return PCD(self.tau, self.beta, self.eps)
        if len(self.tau) != objectives.count - 1:
            raise ValueError(f"{len(self.tau)} values of tau for {objectives.count - 1} objectives after the first")
        return PCD(torch.tensor(self.tau, dtype=torch.float64), self.beta, self.eps)
