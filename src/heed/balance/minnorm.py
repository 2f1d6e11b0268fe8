"""The exact min-norm point of the convex hull of K gradients, from their Gram matrix.

argmin over the simplex of ``|| sum_k alpha_k g_k ||^2``: the problem behind MGDA (Desideri 2012) and GAPO.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from heed.balance.gramian import checked_gram, cosines, norms

ENUMERATED_UP_TO = 8
"""Largest K for which all 2^K - 1 supports are tried."""

_ROUNDING = 16 * torch.finfo(torch.float64).eps


class MinNorm(NamedTuple):
    """The min-norm point's weights and how far from optimal they can be.

    Attributes:
        weights: point of the simplex, float64 [K].
        gap: duality gap ``||d||^2 - min_k <d, g_k>`` in the Gram matrix's units, >= 0; the squared distance
            of ``d = sum_k weights_k g_k`` to the exact min-norm point is at most this.
    """

    weights: Tensor
    gap: float


def min_norm_weights(gramian: Tensor) -> MinNorm:
    """Weights on the simplex that minimise the norm of the combined gradient.

    Closed form for K = 2, all supports for K <= 8, beyond that Wolfe's algorithm (Wolfe 1976, "Finding the
    nearest point in a polytope"), all in float64 on gradients scaled to unit length, so that neither singular
    Gram matrices nor norms of different sizes cost accuracy. Equal gradients share their weight equally; where
    gradients are otherwise affinely dependent, several weights give the one min-norm point and one of them is
    returned. With a zero gradient the min-norm point is zero, and the zero gradients carry all weight.

    Args:
        gramian: Gram matrix [K, K] of the gradients, any floating type.

    Returns:
        The weights [K] and the duality gap.

    Raises:
        ValueError: if the Gram matrix is not finite, not square, or has a negative diagonal.

    >>> min_norm_weights(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).weights
    tensor([0.2000, 0.8000], dtype=torch.float64)
    """
    gram = checked_gram(gramian)
    length = norms(gram)
    zero = length == 0
    if bool(zero.any()):
        weights = zero.to(gram.dtype) / zero.sum()
    else:
        weights = _of_nonzero(cosines(gram), length.min() / length)
    slope = gram @ weights
    gap = max(0.0, float(weights @ slope - slope.min()))
    return MinNorm(weights.to(gramian.device), gap)


def _of_nonzero(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Min-norm weights [K] of gradients with these cosines [K, K] and inverse norms [K] (largest 1)."""
    apart = (cosine[:, None, :] - cosine[None, :, :]).abs().amax(dim=-1)
    unlike = (inverse[:, None] - inverse[None, :]).abs() / inverse[:, None]
    first_like_it = ((apart <= _ROUNDING) & (unlike <= _ROUNDING)).to(torch.uint8).argmax(dim=1)
    kept, place, count = first_like_it.unique(return_inverse=True, return_counts=True)
    cosine, inverse = cosine[kept][:, kept], inverse[kept]
    if len(kept) == 1:
        weights = torch.ones_like(inverse)
    elif len(kept) == 2:
        weights = _of_two(cosine, inverse)
    elif len(kept) <= ENUMERATED_UP_TO:
        weights = _by_enumeration(cosine, inverse)
    else:
        weights = _by_wolfe(cosine, inverse)
    return (weights / count)[place]


def _of_two(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Closed form: alpha_1 = clip(g_2 . (g_2 - g_1) / ||g_1 - g_2||^2, 0, 1), without cancellation."""
    first, second = 1 / inverse
    apart = 1 - cosine[0, 1]
    distance = (first - second) ** 2 + 2 * first * second * apart
    alpha = (second * ((second - first) + first * apart) / distance).clamp(0, 1)
    return torch.stack((alpha, 1 - alpha))


def _by_enumeration(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Solve the optimum's equations on every support and keep the solution with the least duality gap.

    By Caratheodory's theorem some optimal support is affinely independent, and its equations are regular:
    singular supports can be passed over.
    """
    count = len(inverse)
    supports = (torch.arange(1, 2**count)[:, None] >> torch.arange(count)) & 1
    mask = supports.to(cosine.dtype)
    # Stationarity on the support and sum(alpha) = 1, in beta = alpha * norm; outside it beta = 0.
    system = torch.zeros(len(mask), count + 1, count + 1, dtype=cosine.dtype)
    system[:, :count, :count] = cosine * mask[:, :, None] * mask[:, None, :] + torch.diag_embed(1 - mask)
    system[:, :count, count] = system[:, count, :count] = mask * inverse
    right = torch.zeros(len(mask), count + 1, dtype=cosine.dtype)
    right[:, count] = 1
    solved, _ = torch.linalg.solve_ex(system, right)
    beta = solved[:, :count].nan_to_num(0.0, 0.0, 0.0).clamp(min=0) * mask
    total = (beta * inverse).sum(dim=1, keepdim=True)
    beta = beta / torch.where(total > 0, total, 1.0)
    slope = beta @ cosine
    gap = (beta * slope).sum(dim=1) - (slope / inverse).amin(dim=1)
    best = torch.where(total[:, 0] > 0, gap, torch.inf).argmin()
    return beta[best] * inverse


def _by_wolfe(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Wolfe's algorithm: grow an affinely independent support, drop what would become negative."""
    beta = torch.zeros_like(inverse)
    support = [int(inverse.argmax())]
    beta[support] = 1 / inverse[support]
    best, least = beta, float("inf")
    for _ in range(10 * len(inverse) ** 2):
        slope = cosine @ beta
        value = float(beta @ slope)
        gap = value - float((slope / inverse).min())
        if gap < least:
            best, least = beta, gap
        enters = int((slope / inverse).argmin())
        if gap <= _ROUNDING * float(beta @ (cosine.abs() @ beta)) or enters in support:
            break
        support.append(enters)
        beta = _minimise_on(support, beta, cosine, inverse)
    return best * inverse / (best @ inverse)


def _minimise_on(support: list[int], beta: Tensor, cosine: Tensor, inverse: Tensor) -> Tensor:
    """Walk to the min-norm point of the support's affine hull, shrinking the support at each wall met."""
    while True:
        there = torch.zeros_like(beta)
        there[support] = _affine_minimum(cosine[support][:, support], inverse[support])
        negative = [k for k in support if float(there[k]) <= 0]
        if not negative:
            return there
        steps = {k: float(beta[k] / (beta[k] - there[k])) if beta[k] > 0 else 0.0 for k in negative}
        wall = min(negative, key=lambda k: steps[k])
        beta = (beta + steps[wall] * (there - beta)).clamp(min=0)
        beta[wall] = 0
        support[:] = [k for k in support if k != wall]


def _affine_minimum(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Min-norm point of the affine hull, as beta = alpha * norm; least squares where it is singular."""
    count = len(inverse)
    system = torch.zeros(count + 1, count + 1, dtype=cosine.dtype)
    system[:count, :count] = cosine
    system[:count, count] = system[count, :count] = inverse
    right = torch.zeros(count + 1, 1, dtype=cosine.dtype)
    right[count] = 1
    return torch.linalg.lstsq(system, right, driver="gelsd").solution[:count, 0]
