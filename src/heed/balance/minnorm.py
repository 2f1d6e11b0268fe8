"""The exact min-norm point of the convex hull of K gradients, from their Gram matrix.

argmin over the simplex of ``|| sum_k alpha_k g_k ||^2``: the problem behind MGDA (Desideri 2012) and GAPO.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import nnls
from torch import Tensor

from heed.balance.gramian import checked_gram, cosines, norms

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

    Closed form for K = 2, beyond that Lawson and Hanson's active-set method for non-negative least squares (1974,
    "Solving least squares problems", ch. 23; scipy's), both in float64 on gradients scaled to unit length, so that
    neither singular Gram matrices nor norms of different sizes cost accuracy. Equal gradients share their weight
    equally; where gradients are otherwise affinely dependent, several weights give the one min-norm point and one of
    them is returned. With a zero gradient the min-norm point is zero, and the zero gradients carry all weight.

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


def batched_min_norm(gramians: Tensor) -> tuple[Tensor, Tensor]:
    """`min_norm_weights` of every Gram matrix of a batch.

    Args:
        gramians: Gram matrices [N, K, K], any floating type.

    Returns:
        The weights, float64 [N, K], and the duality gaps, float64 [N].

    Raises:
        ValueError: as `min_norm_weights`.

    >>> batched_min_norm(torch.stack([torch.eye(2), torch.diag(torch.tensor([4.0, 1.0]))]))[0].tolist()
    [[0.5, 0.5], [0.2, 0.8]]
    """
    found = [min_norm_weights(gramian) for gramian in gramians]
    weights = torch.stack([each.weights for each in found])
    return weights, torch.tensor([each.gap for each in found], dtype=torch.float64)


def _of_nonzero(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Min-norm weights [K] of gradients with these cosines [K, K] and inverse norms [K] (largest 1)."""
    first_like_it = _equal(cosine, inverse).to(torch.uint8).argmax(dim=1)
    kept, place, count = first_like_it.unique(return_inverse=True, return_counts=True)
    cosine, inverse = cosine[kept][:, kept], inverse[kept]
    if len(kept) == 1:
        weights = torch.ones_like(inverse)
    elif len(kept) == 2:
        weights = _of_two(cosine, inverse)
    else:
        weights = _by_least_squares(cosine, inverse)
    return (weights / count)[place]


def _equal(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Which gradients are equal, bool [K, K]: as long, and at the same angle to all others."""
    unlike = (inverse[:, None] - inverse[None, :]).abs() / inverse[:, None]
    equal = (cosine >= 1 - _ROUNDING) & (unlike <= _ROUNDING)
    equal.fill_diagonal_(True)
    for first, second in equal.nonzero().tolist():
        equal[first, second] = float((cosine[first] - cosine[second]).abs().max()) <= _ROUNDING
    return equal


def _of_two(cosine: Tensor, inverse: Tensor) -> Tensor:
    """Closed form: alpha_1 = clip(g_2 . (g_2 - g_1) / ||g_1 - g_2||^2, 0, 1), without cancellation."""
    first, second = 1 / inverse
    apart = 1 - cosine[0, 1]
    distance = (first - second) ** 2 + 2 * first * second * apart
    alpha = (second * ((second - first) + first * apart) / distance).clamp(0, 1)
    return torch.stack((alpha, 1 - alpha))


def _by_least_squares(cosine: Tensor, inverse: Tensor) -> Tensor:
    """The min-norm point as a least-squares problem without negative weights.

    In ``beta = alpha * norm`` with ``r = inverse``: the beta >= 0 that minimises ``beta' C beta + (r' beta - 1)^2`` is
    the min-norm point's up to its length, as its conditions are the simplex's with the multiplier ``1 - r' beta``.
    """
    values, vectors = torch.linalg.eigh(cosine)
    root = values.clamp(min=0).sqrt()[:, None] * vectors.T
    right = torch.zeros(len(inverse) + 1, dtype=cosine.dtype)
    right[-1] = 1
    factor = torch.cat([root, inverse[None]])
    beta = torch.from_numpy(nnls(factor.numpy(), right.numpy(), maxiter=100 * len(inverse))[0])
    return beta * inverse / (beta @ inverse)
