"""GAPO and P-GAPO: gradients of any length balanced, by min-norm weights or by a user's preference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.checks import check_count, check_preference, checked_floor
from heed.balance.divisors import Divisors
from heed.balance.gramian import checked_gram, cosines, norms
from heed.balance.minnorm import min_norm_weights
from heed.errors import HeedError


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
        keep_scale: multiply the weights by ``mean ||g_k|| / mean ||h_k||``, so that the update is as long as that of
            gradients of these lengths. The paper's is not: where all gradients grow a hundredfold, as they do when
            completions become unreadable and are to be mended, its update stays as long (p=1) or shrinks a hundredfold
            (p=2), and where all are noise it grows. Direction and balance are the same.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: if p or floor is negative or not finite.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> GAPO(p=1)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2500, 0.5000])
    >>> GAPO(p=1, keep_scale=True)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.3750, 0.7500])
    """

    keep_scale = False  # of what was kept by versions without it

    def __init__(self, p: float = 1.0, floor: float = 0.0, keep_scale: bool = False) -> None:
        super().__init__()
        if not (math.isfinite(p) and p >= 0):
            raise HeedError(f"p is {p:g}", "--p", "give a power of at least 0; the paper uses 1 and 2")
        self.p, self.floor, self.keep_scale = p, checked_floor(floor), keep_scale
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
            if self.keep_scale:
                weights *= norms(gram)[present].mean() / length.mean()
        return weights.to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        kept = ", keep_scale=True" if self.keep_scale else ""
        return f"p={self.p:g}, floor={self.floor:g}{kept}"


class PGAPO(Weighting[PSDMatrix]):
    """The user's preference over unit gradients (P-GAPO, Li et al. 2025): ``w_k = lambda_k / ||g_k||``.

    One policy per preference. Under exact gradients a preference other than equal weights has no fixed point
    inside a smooth front of two objectives, along which the unit gradients oppose each other: it slides to an
    end. `SmoothTchebycheff` does not. A zero gradient gets weight 0, which is logged once.

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
        self.preference, self.floor = check_preference(preference), checked_floor(floor)
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
