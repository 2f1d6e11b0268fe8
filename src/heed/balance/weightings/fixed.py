"""Weights that do not look at the gradients: linear scalarisation, one objective alone, random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torchjd.aggregation import RandomWeighting, Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.adapters import Seeded
from heed.balance.checks import check_count, check_preference, checked_vector
from heed.balance.gramian import checked_gram
from heed.balance.registry import Objectives, WeightingConfig, register
from heed.errors import HeedError


class Linear(Weighting[PSDMatrix]):
    """The same weights at every step: linear scalarisation ``sum_k w_k J_k``.

    Args:
        weights: one finite weight per objective; they need not sum to 1.

    Shape: Gram matrix [K, K] -> weights [K].

    Raises:
        HeedError: if a weight is not finite, or there are not as many as objectives.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> Linear([0.5, 0.5])(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, weights: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.weights = checked_vector(weights, "weights")

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights [K], in the Gram matrix's type."""
        check_count(checked_gram(gramian), len(self.weights), "weights")
        return self.weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"weights={self.weights.tolist()}"


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
        count = objectives.count
        if self.weights is None:
            return Linear([1 / count] * count if self.preference is None else check_preference(self.preference, count))
        if self.preference is not None:
            raise HeedError("linear has both weights and a preference", "--weights, --preference", "give one of them")
        if len(self.weights) != count:
            raise HeedError(f"{len(self.weights)} weights for {count} objectives", "--weights", f"give {count}")
        return Linear(self.weights)


class Single(Weighting[PSDMatrix]):
    """One objective's gradient alone; the others are only watched.

    Args:
        index: the objective's place, from 0.

    Shape: Gram matrix [K, K] -> weights [K], one of them 1.

    Raises:
        HeedError: if there is no such objective.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> Single(1)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0., 1.])
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        if index < 0:
            raise HeedError(f"there is no objective {index}", fix="count the objectives from 0")
        self.index = index

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights [K], in the Gram matrix's type."""
        count = len(checked_gram(gramian))
        if self.index >= count:
            raise HeedError(f"there is no objective {self.index} among {count}", fix="count them from 0")
        weights = torch.zeros(count, dtype=torch.float64)
        weights[self.index] = 1
        return weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"index={self.index}"


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


class Random(Seeded):
    """Random positive weights that sum to 1, new at each call (Lin et al. 2021): softmax of normal draws.

    Args:
        seed: of the draws; their generator's state is part of `state_dict`.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(RandomWeighting(), seed)


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
        return Random(self.seed)
