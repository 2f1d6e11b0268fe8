"""Krum: the gradients nearest to the others, for objectives some of which may be corrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("krum")
@dataclass(frozen=True)
class KrumConfig(WeightingConfig):
    """Krum (Blanchard et al. 2017), "Machine learning with adversaries: Byzantine tolerant gradient descent".

    Args:
        n_byzantine: gradients that may come from an adversary; three more objectives than these are needed.
        n_selected: gradients that the mean is taken of (Multi-Krum).
    """

    n_byzantine: int = 0
    n_selected: int = 1

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import KrumWeighting

        from heed.balance.adapters import ScaleFree

        weighting = ScaleFree(KrumWeighting(self.n_byzantine, self.n_selected))
        needed = max(self.n_byzantine + 3, self.n_selected)
        if objectives.count < needed:
            raise HeedError(
                f"krum needs {needed} objectives, here are {objectives.count}", "--method krum", "take another method"
            )
        return weighting
