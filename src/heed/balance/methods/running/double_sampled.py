"""MoDo and SDMGrad: the min-norm problem followed by small steps, on Gram matrices without their noise's own square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from heed.balance.weightings.running.double_sampled import MoDo, SDMGrad


@register("modo")
@dataclass(frozen=True)
class MoDoConfig(WeightingConfig):
    """MoDo's settings; it is meant for ``--gram unbiased``.

    Args:
        rate: of the weights' descent, over the Gram matrix's trace.
    """

    rate: float = 0.5

    def build(self, objectives: Objectives) -> MoDo:
        """The weighting."""
        from heed.balance.weightings.running.double_sampled import MoDo

        return MoDo(objectives.count, self.rate)


@register("sdmgrad")
@dataclass(frozen=True)
class SDMGradConfig(WeightingConfig):
    """SDMGrad's settings; it is meant for ``--gram unbiased``.

    Args:
        preference: of the direction that is leant on, on the simplex; equal without.
        lean: how much it is leant on, at least 0.
        rate: of the weights' descent, over the Gram matrix's trace.
        iterations: of the descent at each step.
    """

    preference: list[float] | None = None
    lean: float = 0.3
    rate: float = 0.5
    iterations: int = 20

    def build(self, objectives: Objectives) -> SDMGrad:
        """The weighting."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.running.double_sampled import SDMGrad

        count = objectives.count
        preference = given_preference(self.preference, count)
        equal = [1 / count] * count
        return SDMGrad(equal if preference is None else preference, self.lean, self.rate, self.iterations)
