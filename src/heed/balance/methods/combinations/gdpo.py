"""GDPO: normalise each reward in its group, add, normalise over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.methods.combinations.mo_grpo import MOGRPOConfig
from heed.balance.registry import Objectives, register

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.gdpo import GDPO


@register("gdpo")
@dataclass(frozen=True)
class GDPOConfig(MOGRPOConfig):
    """GDPO's settings.

    Args:
        preference: one weight per objective, on the simplex.
    """

    def build(self, objectives: Objectives) -> GDPO:
        """The combination."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.combinations.gdpo import GDPO

        return GDPO(given_preference(self.preference, objectives.count))
