"""Aligned-MTL: gradients whose principal components are made equally long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("aligned-mtl")
@dataclass(frozen=True)
class AlignedMTLConfig(WeightingConfig):
    """Aligned-MTL (Senushkin et al. 2023), "Independent component alignment for multi-task learning".

    Args:
        preference: one weight per objective, on the simplex; None weighs all alike.
        scale_mode: which eigenvalue the components are scaled to: the smallest, the median or the mean (rmse).

    >>> import torch
    >>> weighting = AlignedMTLConfig().build(Objectives(("a", "b")))
    >>> weighting(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2500, 0.5000])
    """

    preference: list[float] | None = None
    scale_mode: Literal["min", "median", "rmse"] = "min"

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import AlignedMTLWeighting

        from heed.balance.adapters import ScaleFree
        from heed.balance.checks import check_preference

        preference = None if self.preference is None else check_preference(self.preference, objectives.count)
        return ScaleFree(AlignedMTLWeighting(preference, self.scale_mode))
