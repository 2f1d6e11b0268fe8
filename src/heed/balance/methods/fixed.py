"""Weights that do not look at the gradients: linear scalarisation, one objective alone, random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


@register("linear")
@dataclass(frozen=True)
class LinearConfig(WeightingConfig):
    """Linear scalarisation's settings; without any, all objectives weigh alike and the weights sum to 1.

    Args:
        preference: one weight per objective, on the simplex.
        weights: raw weights, where they are not a preference.
    """

    preference: list[float] | None = None
    weights: list[float] | None = None

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting."""
        from heed.balance.checks import check_preference
        from heed.balance.weightings.fixed import Linear

        count = objectives.count
        if self.weights is None:
            return Linear([1 / count] * count if self.preference is None else check_preference(self.preference, count))
        if self.preference is not None:
            raise HeedError("linear has both weights and a preference", "--weights, --preference", "give one of them")
        if len(self.weights) != count:
            raise HeedError(f"{len(self.weights)} weights for {count} objectives", "--weights", f"give {count}")
        return Linear(self.weights)


@register("single")
@dataclass(frozen=True)
class SingleConfig(WeightingConfig):
    """Which objective is trained alone; ``single:NAME`` names it.

    Args:
        objective: its name; without it the index counts.
        index: its place, from 0.
    """

    argument: ClassVar[str | None] = "objective"

    objective: str | None = None
    index: int = 0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting."""
        from heed.balance.weightings.fixed import Single

        if self.objective is None:
            if not 0 <= self.index < objectives.count:
                what = f"there is no objective {self.index} among {objectives.count}"
                raise HeedError(what, "--index", "count them from 0")
            return Single(self.index)
        if self.objective not in objectives.names:
            known = ", ".join(objectives.names)
            where = f"--method single:{self.objective}"
            raise HeedError(f"there is no objective '{self.objective}'", where, f"choose from {known}")
        return Single(objectives.names.index(self.objective))


@register("random")
@dataclass(frozen=True)
class RandomConfig(WeightingConfig):
    """Random weighting's settings: the litmus test that a weighting must pass.

    Args:
        seed: of the weighting's own random draws.
    """

    seed: int = 0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:  # noqa: ARG002 - of any number
        """The weighting."""
        from heed.balance.weightings.fixed import Random

        return Random(self.seed)
