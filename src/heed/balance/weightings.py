"""Weightings: from the Gram matrix of K gradients to the weights of their combination.

Each is a torchjd `Weighting`, so any of torchjd's plugs in where ours does, and ours plug into torchjd.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.gramian import checked_gram, cosines, norms
from heed.balance.minnorm import min_norm_weights
from heed.errors import HeedError

_log = logging.getLogger(__name__)

_SMALLEST_SQUARED_NORM = torch.finfo(torch.float32).tiny  # below it 1 / norm leaves float32's range


def check_preference(values: Sequence[float] | Tensor, k: int | None = None) -> Tensor:
    """Return a preference as float64 [K] that sums to 1, or say why it is none.

    Args:
        values: one weight per objective, none negative, summing to 1 (to 1e-6).
        k: number of objectives, if it is known.

    Raises:
        HeedError: if it is off the simplex, of the wrong length, negative or not finite.

    >>> check_preference([0.7, 0.3], 2)
    tensor([0.7000, 0.3000], dtype=torch.float64)
    """
    preference = checked_vector(values, "preference")
    where, said = "--preference", ", ".join(f"{value:g}" for value in preference.tolist())
    if k is not None and len(preference) != k:
        raise HeedError(
            f"the preference {said} has {len(preference)} weights for {k} objectives", where, f"give {k} weights"
        )
    if bool((preference < 0).any()):
        raise HeedError(f"the preference {said} has a negative weight", where, "give weights from 0 to 1")
    if abs(float(preference.sum()) - 1) > 1e-6:
        total = float(preference.sum())
        raise HeedError(f"the preference {said} sums to {total:g}", where, "give weights that sum to 1")
    return preference / preference.sum()


class GAPO(Weighting[PSDMatrix]):
    """Min-norm weights of the gradients rescaled by a power of their norms (GAPO, Li et al. 2025, eq. 7).

    ``h_k = g_k / ||g_k||**p``, alpha = the min-norm weights of the h_k, ``w_k = alpha_k / ||g_k||**p``.
    Progress on objective k becomes proportional to ``||g_k||**p``; ``p=0`` is MGDA.

    With p > 0 a zero gradient (nothing to learn from in this batch) is left out with weight 0, which is said
    once; with p = 0 it stops the update, as in MGDA.

    Args:
        p: power of the norm by which each gradient is divided, >= 0.
        floor: norms below ``floor * median(norms)`` are raised to it before they divide; 0 is the paper's.
            A gradient below the floor is then shorter than the others and throttles them, as in MGDA.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: if p or floor is negative or not finite.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> GAPO(p=1)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2500, 0.5000])
    """

    def __init__(self, p: float = 1.0, floor: float = 0.0) -> None:
        super().__init__()
        if not (math.isfinite(p) and p >= 0):
            raise HeedError(f"the power of GAPO is {p}", "--p", "give a number >= 0; the paper uses 1 and 2")
        self.p, self.floor = p, _checked_floor(floor)
        self.divisors = Divisors()

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]."""
        gram = checked_gram(gramian)
        if self.p == 0:
            return min_norm_weights(gram).weights.to(gramian)
        divisor, present = self.divisors(gram, self.floor)
        weights = torch.zeros_like(divisor)
        if bool(present.any()):
            scale = divisor[present] ** self.p
            length = norms(gram)[present] / scale
            cosine = cosines(gram)[present][:, present]
            rescaled = cosine * length[:, None] * length[None, :]
            weights[present] = min_norm_weights(rescaled).weights / scale
        return weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"p={self.p:g}, floor={self.floor:g}"


class PGAPO(Weighting[PSDMatrix]):
    """The user's preference over unit gradients (P-GAPO, Li et al. 2025): ``w_k = lambda_k / ||g_k||``.

    One policy per preference. Under exact gradients a preference other than equal weights has no fixed point
    inside a smooth front of two objectives, along which the unit gradients oppose each other: it slides to an
    end. `SmoothTchebycheff` does not. A zero gradient gets weight 0, which is said once.

    Args:
        preference: lambda, one weight per objective, on the simplex.
        floor: norms below ``floor * median(norms)`` are raised to it before they divide; 0 is the paper's.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: if the preference is off the simplex or not of the Gram matrix's length.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> PGAPO([0.8, 0.2])(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.4000, 0.2000])
    """

    def __init__(self, preference: Sequence[float] | Tensor, floor: float = 0.0) -> None:
        super().__init__()
        self.preference, self.floor = check_preference(preference), _checked_floor(floor)
        self.divisors = Divisors()

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]."""
        gram = checked_gram(gramian)
        check_count(gram, len(self.preference), "preference weights")
        divisor, present = self.divisors(gram, self.floor)
        return torch.where(present, self.preference / divisor, 0.0).to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"preference={self.preference.tolist()}, floor={self.floor:g}"


class MGDA(Weighting[PSDMatrix]):
    """Min-norm weights of the gradients (MGDA, Desideri 2012), exact where others iterate.

    Shape: Gram matrix [K, K] -> weights [K] on the simplex.

    Raises:
        ValueError: from the call, if the Gram matrix is not finite.

    >>> MGDA()(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2000, 0.8000])
    """

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] from the Gram matrix [K, K]."""
        return min_norm_weights(gramian).weights.to(gramian)


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


class Divisors:
    """The norms that divide gradients: floored, and 1 where a gradient is zero, which is said once.

    `zero_steps` counts the calls in which some gradient was zero.
    """

    def __init__(self) -> None:
        self.zero_steps = 0

    def __call__(self, gram: Tensor, floor: float) -> tuple[Tensor, Tensor]:
        """Divisors [K], never 0, and which gradients are not zero, bool [K], of a checked Gram matrix [K, K].

        Norms below ``floor * median(norms)`` are raised to it; the median of two is their mean.
        """
        length = norms(gram)
        present = gram.diagonal() >= _SMALLEST_SQUARED_NORM
        if not bool(present.all()):
            if self.zero_steps == 0:
                absent = ", ".join(str(k) for k in (~present).nonzero()[:, 0].tolist())
                _log.warning("objective %s has a zero gradient: weight 0 in such steps (said once)", absent)
            self.zero_steps += 1
        floored = length.clamp(min=floor * float(length.quantile(0.5)))
        return torch.where(present, floored, 1.0), present


def check_count(gram: Tensor, count: int, what: str) -> None:
    """Raise `HeedError` unless the Gram matrix [K, K] has as many objectives as the setting has entries."""
    if len(gram) != count:
        raise HeedError(f"{count} {what} for {len(gram)} objectives", fix=f"give {len(gram)}")


def checked_vector(values: Sequence[float] | Tensor, what: str) -> Tensor:
    """Finite float64 CPU vector [K >= 1] of a setting, or `HeedError`."""
    on_cpu = values.detach().to(device="cpu") if isinstance(values, Tensor) else values
    vector = torch.as_tensor(on_cpu, dtype=torch.float64).clone()
    if vector.ndim != 1 or len(vector) == 0:
        raise HeedError(f"the {what} is not a list of numbers", fix="give one number per objective")
    if not bool(torch.isfinite(vector).all()):
        raise HeedError(f"the {what} {vector.tolist()} is not finite", fix="give one number per objective")
    return vector


def _checked_floor(floor: float) -> float:
    """The norm floor, or `HeedError` if it is negative or not finite."""
    if not (math.isfinite(floor) and floor >= 0):
        raise HeedError(f"the norm floor is {floor}", fix="give a number >= 0, such as 0.1; 0 is no floor")
    return floor
