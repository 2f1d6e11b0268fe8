"""Smooth Tchebycheff: a preference followed by looking at the objectives' values as well as their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError, flag_of

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("tchebycheff")
@dataclass(frozen=True)
class TchebycheffConfig(WeightingConfig):
    """Smooth Tchebycheff's settings; the defaults are those that fronts were measured with.

    Args:
        preference: one weight per objective, on the simplex.
        ideal: best value of each objective; a world with gold rewards knows its own.
        nadir: worst value of each objective on the front; a world with gold rewards knows its own.
        mu: temperature; smaller holds the preference more stiffly.
        share_floor: least share of any objective, below 1/K.
        settle: first rounds, in which all shares are equal.
        average: share of the past in the moving average of the objectives' values, in [0, 1).
        unit_gradients: whether shares multiply unit gradients, or raw ones over the objectives' ranges.
        outer_preference: whether the preference also multiplies the shares, as in the scalarisation's own gradient.
        floor: norms below this share of their median are raised to it before they divide gradients; 0 is no floor.
    """

    preference: list[float] | None = None
    ideal: list[float] | None = None
    nadir: list[float] | None = None
    mu: float = 0.03
    share_floor: float = 0.15
    settle: int = 20
    average: float = 0.8
    unit_gradients: bool = False
    outer_preference: bool = False
    floor: float = 0.0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting; takes what is known of the front where ideal and nadir are not given."""
        from heed.balance.checks import required_preference
        from heed.balance.weightings.tchebycheff import SmoothTchebycheff

        preference = required_preference("tchebycheff", self.preference, objectives.count)
        require_both_extremes(self.ideal, self.nadir)
        ideal = objectives.ideal if self.ideal is None else self.ideal
        nadir = objectives.nadir if self.nadir is None else self.nadir
        if ideal is None or nadir is None:
            raise HeedError(
                "tchebycheff needs each objective's best and worst value on the front",
                "--ideal, --nadir",
                "give both; values of single-objective runs serve (heed front finds them by itself)",
            )
        return SmoothTchebycheff(
            preference,
            ideal,
            nadir,
            self.mu,
            self.average,
            self.unit_gradients,
            self.outer_preference,
            self.share_floor,
            self.floor,
            self.settle,
        )


def require_both_extremes(ideal: Sequence[float] | None, nadir: Sequence[float] | None) -> None:
    """Refuse an ideal without a nadir, and the reverse.

    Raises:
        HeedError: names the one that is missing.
    """
    if (ideal is None) != (nadir is None):
        given, missing = ("ideal", "nadir") if nadir is None else ("nadir", "ideal")
        raise HeedError(f"there is {flag_of(given)} but no {flag_of(missing)}", flag_of(given), "give both, or neither")
