"""CAGrad: the largest worst improvement within a ball around the mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("cagrad")
@dataclass(frozen=True)
class CAGradConfig(WeightingConfig):
    """CAGrad (Liu et al. 2021), "Conflict-averse gradient descent for multi-task learning".

    Args:
        c: radius of the ball around the mean gradient, as a share of its norm, >= 0; 0 is the mean.
        norm_eps: a combined gradient shorter than this share of the gradients' root of summed squared norms counts as
            zero.
    """

    c: float = 0.5
    norm_eps: float = 1e-4

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import CAGradWeighting

        from heed.balance.adapters import ScaleFree

        if not self.c >= 0:
            raise HeedError(f"CAGrad's radius c is {self.c}", "--c", "give a number >= 0; the paper uses 0.4 to 0.5")
        return ScaleFree(CAGradWeighting(c=self.c, norm_eps=self.norm_eps))
