"""DVAO: normalised rewards, weighted by how much each of them tells the completions of a group apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.dvao import DVAO


@register("dvao")
@dataclass(frozen=True)
class DVAOConfig(WeightingConfig):
    """DVAO's settings.

    Args:
        preference: one weight per objective, on the simplex.
        power: of the deviations in the weights, above 0.
    """

    preference: list[float] | None = None
    power: float = 1.0

    def build(self, objectives: Objectives) -> DVAO:
        """The combination."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.combinations.dvao import DVAO

        return DVAO(given_preference(self.preference, objectives.count), self.power)
