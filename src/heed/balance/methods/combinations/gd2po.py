"""GD2PO: GDPO without the completions of which the objectives disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.gd2po import GD2PO


@register("gd2po")
@dataclass(frozen=True)
class GD2POConfig(WeightingConfig):
    """GD2PO's settings.

    Args:
        preference: one weight per objective, on the simplex.
        agreement: of the objectives, below which a completion that they disagree on is left out; 1 leaves out all.
    """

    preference: list[float] | None = None
    agreement: float = 1.0

    def build(self, objectives: Objectives) -> GD2PO:
        """The combination."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.combinations.gd2po import GD2PO

        return GD2PO(given_preference(self.preference, objectives.count), self.agreement)
