"""IMTL-G: equal projections of the update on all unit gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("imtl-g")
@dataclass(frozen=True)
class IMTLGConfig(WeightingConfig):
    """IMTL-G (Liu et al. 2021), "Towards impartial multi-task learning"; it has no settings.

    >>> import torch
    >>> IMTLGConfig().build(Objectives(("a", "b")))(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.3333, 0.6667])
    """

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import IMTLGWeighting

        from heed.balance.adapters import ScaleFree

        return ScaleFree(IMTLGWeighting())
