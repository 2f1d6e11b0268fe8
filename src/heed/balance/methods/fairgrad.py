"""FairGrad: alpha-fair shares of the improvement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("fairgrad")
@dataclass(frozen=True)
class FairGradConfig(WeightingConfig):
    """FairGrad (Ban and Ji 2024), "Fair resource allocation in multi-task learning", eq. 4.

    It solves ``G w = w ** (-1 / alpha)``, so that the weights of ``t G`` are ``t ** (-alpha / (1 + alpha))`` times
    those of G; the solver, whose tolerances are absolute, sees the Gram matrix of trace 1.

    Args:
        alpha: kind of fairness, >= 0: 0 weighs all alike, 1 is proportional fairness (Nash's bargain), and the larger
            it is the more the objective counts that improves least.
        max_iters: evaluations of the solver at most; None takes 100 for each objective.
    """

    alpha: float = 1.0
    max_iters: int | None = None

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """Torchjd's weighting on the Gram matrix of trace 1, brought back to the gradients' scale."""
        from torchjd.aggregation import FairGradWeighting

        from heed.balance.adapters import ScaleFree

        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise HeedError(f"FairGrad's alpha is {self.alpha}", "--alpha", "give a number >= 0; the paper uses 1 or 2")
        return ScaleFree(FairGradWeighting(self.alpha, self.max_iters), power=-self.alpha / (1 + self.alpha))
