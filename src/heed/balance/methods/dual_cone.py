"""UPGrad and DualProj: projections onto the directions that harm no objective (the dual cone of the gradients)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("upgrad")
@dataclass(frozen=True)
class UPGradConfig(WeightingConfig):
    """UPGrad (Quinton and Rey 2024): each gradient projected onto the dual cone, then averaged.

    "Jacobian descent for multi-objective optimization".

    Args:
        preference: one weight per objective, on the simplex; None weighs all alike.
        ridge: share of the trace added to the diagonal, for the quadratic program to be definite (torchjd: 1e-4, which
            is as large as a gradient of a hundredth of the other's norm).

    >>> import torch
    >>> UPGradConfig().build(Objectives(("a", "b")))(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([0.6250, 1.0000])
    """

    preference: list[float] | None = None
    ridge: float = 1e-8

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import UPGradWeighting
        from torchjd.linalg import QuadprogProjector

        from heed.balance.adapters import ScaleFree
        from heed.balance.checks import check_preference

        preference = None if self.preference is None else check_preference(self.preference, objectives.count)
        return ScaleFree(UPGradWeighting(preference, QuadprogProjector(reg_eps=self.ridge)))


@register("dualproj")
@dataclass(frozen=True)
class DualProjConfig(WeightingConfig):
    """DualProj: the mean gradient projected onto the dual cone (Lopez-Paz and Ranzato 2017, GEM, eq. 11).

    Args:
        preference: one weight per objective, on the simplex; None weighs all alike.
        ridge: share of the trace added to the diagonal, for the quadratic program to be definite.

    >>> import torch
    >>> DualProjConfig().build(Objectives(("a", "b")))(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([0.5000, 0.5000])
    """

    preference: list[float] | None = None
    ridge: float = 1e-8

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """Torchjd's weighting on the Gram matrix of trace 1."""
        from torchjd.aggregation import DualProjWeighting
        from torchjd.linalg import QuadprogProjector

        from heed.balance.adapters import ScaleFree
        from heed.balance.checks import check_preference

        preference = None if self.preference is None else check_preference(self.preference, objectives.count)
        return ScaleFree(DualProjWeighting(preference, QuadprogProjector(reg_eps=self.ridge)))
