"""MODPO: direct preference optimisation on one objective's verdicts, with the other objectives as a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.balance.weightings.combinations.modpo import MODPO


@register("modpo")
@dataclass(frozen=True)
class MODPOConfig(WeightingConfig):
    """MODPO's settings; beta is the run's weight of the KL.

    Args:
        preference: one weight per objective, on the simplex.
        judged: name of the objective whose verdicts on pairs are learnt from; the first without.
    """

    preference: list[float] | None = None
    judged: str | None = None

    def build(self, objectives: Objectives) -> MODPO:
        """The loss."""
        from heed.balance.checks import given_preference
        from heed.balance.weightings.combinations.modpo import MODPO

        if self.judged is not None and self.judged not in objectives.names:
            what, known = f"there is no objective '{self.judged}'", ", ".join(objectives.names)
            raise HeedError(what, "--judged", f"choose from {known}")
        index = 0 if self.judged is None else objectives.names.index(self.judged)
        return MODPO(given_preference(self.preference, objectives.count), index)
