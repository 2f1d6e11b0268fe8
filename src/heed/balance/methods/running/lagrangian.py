"""Constraints: the best of some objectives while others keep a level, by multipliers that are learnt."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.balance.weightings.running.lagrangian import Lagrangian


@register("lagrangian")
@dataclass(frozen=True)
class LagrangianConfig(WeightingConfig):
    """What is to be kept, and how fast its multipliers learn.

    Args:
        constraints: what is kept, as NAME>=LEVEL, several with spaces between; the other objectives are maximised.
        rate: of a multiplier's logarithm, for each round and each deviation that an objective is short of its level.
        proportional: of a multiplier's logarithm, for each deviation that it is short now: damps oscillation.
        average: share of the past in the moving averages of the objectives' values and deviations.
    """

    constraints: str | None = None
    rate: float = 0.3
    proportional: float = 0.0
    average: float = 0.5

    def build(self, objectives: Objectives) -> Lagrangian:
        """The weighting."""
        from heed.balance.weightings.running.lagrangian import Lagrangian

        levels = {}
        for name, level in levels_of(self.constraints or "").items():
            if name not in objectives.names:
                known = ", ".join(objectives.names)
                raise HeedError(f"there is no objective '{name}'", "--constraints", f"choose from {known}")
            place = objectives.names.index(name)
            if objectives.ideal is not None and level > objectives.ideal[place]:
                what = f"{name} never gets to {level:g}, its best is {objectives.ideal[place]:.3g}"
                raise HeedError(what, "--constraints", "lower it")
            levels[place] = level
        return Lagrangian(levels, objectives.count, self.rate, self.proportional, self.average)


def levels_of(constraints: str) -> dict[str, float]:
    """Levels by the objective's name.

    Raises:
        HeedError: a part that is no NAME>=LEVEL, or a name twice.

    >>> levels_of("harmless>=-0.5 brevity >= 2")
    {'harmless': -0.5, 'brevity': 2.0}
    """
    levels: dict[str, float] = {}
    for part in re.sub(r"\s*>=\s*", ">=", constraints).split():
        name, found, level = part.partition(">=")
        try:
            value = float(level)
        except ValueError:
            value = math.nan
        if not (name and found and math.isfinite(value)):
            raise HeedError(
                f"'{part}' is no constraint",
                "--constraints",
                "write NAME>=LEVEL, as harmless>=-0.5, spaces between several",
            )
        if name in levels:
            raise HeedError(f"{name} has two levels", "--constraints", "give one")
        levels[name] = value
    return levels
