"""RiC: a policy learns, from its own replies, to give what a prompt asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.ric import RiC


@register("ric")
@dataclass(frozen=True)
class RiCConfig(WeightingConfig):
    """RiC's settings.

    Args:
        preferences: how many preferences the policy is judged at, evenly spread.
        offline: first rounds, in which prompts carry nothing and every completion is learnt from.
    """

    preferences: int = 5
    offline: int = 20

    def build(self, objectives: Objectives) -> RiC:
        """The method."""
        from heed.balance.preferences import spread_preferences
        from heed.balance.weightings.combinations.ric import RiC

        if self.preferences < 2:
            raise HeedError(f"{self.preferences} preferences are no choice", "--preferences", "give at least 2")
        return RiC(spread_preferences(self.preferences, objectives.count), self.offline)
