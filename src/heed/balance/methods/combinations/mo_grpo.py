"""MO-GRPO: normalise each reward in its group, and add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.mo_grpo import MOGRPO


@register("mo-grpo")
@dataclass(frozen=True)
class MOGRPOConfig(WeightingConfig):
    """MO-GRPO's settings.

    Args:
        preference: one weight per objective, on the simplex.
    """

    preference: list[float] | None = None

    def build(self, objectives: Objectives) -> MOGRPO:
        """The combination."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.combinations.mo_grpo import MOGRPO

        return MOGRPO(given_preference(self.preference, objectives.count))
