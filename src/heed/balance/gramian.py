"""Gram matrices of K gradients: checks, unbiased estimates, averages, and what they tell about conflict.

The Gram matrix G [K, K] of the gradients g_1..g_K holds their inner products ``G[i, j] = <g_i, g_j>``. It is
all that a weighting needs: K is small, the gradients are not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heed.errors import HeedError


def checked_gram(gramian: Tensor) -> Tensor:
    """Return the Gram matrix as a symmetric float64 matrix on the CPU, or say what is wrong with it.

    Args:
        gramian: Gram matrix [K, K] of any floating type, on any device.

    Returns:
        Float64 CPU tensor [K, K], exactly symmetric.

    Raises:
        ValueError: if it is not square, not finite, or has a negative diagonal.

    >>> checked_gram(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).dtype
    torch.float64
    """
    if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1] or gramian.shape[0] == 0:
        raise ValueError(f"a Gram matrix is [K, K] with K >= 1, this one is {list(gramian.shape)}")
    gram = gramian.detach().to(device="cpu").to(dtype=torch.float64)
    if not bool(torch.isfinite(gram).all()):
        raise ValueError("the Gram matrix is not finite: a gradient overflowed or is NaN")
    if bool((gram.diagonal() < 0).any()):
        raise ValueError("the Gram matrix has a negative squared norm on its diagonal: call project_psd first")
    return (gram + gram.T) / 2


def norms(gram: Tensor) -> Tensor:
    """Norms of the K gradients, [K]; a negative squared norm (an unbiased estimate) counts as 0.

    >>> norms(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([2., 3.])
    """
    return gram.diagonal().clamp(min=0).sqrt()


def cosines(gram: Tensor) -> Tensor:
    """Cosines between the K gradients, [K, K] in [-1, 1]; the row of a zero gradient is 0.

    >>> cosines(torch.tensor([[4.0, -3.0, 0.0], [-3.0, 9.0, 0.0], [0.0, 0.0, 0.0]]))
    tensor([[ 1.0000, -0.5000,  0.0000],
            [-0.5000,  1.0000,  0.0000],
            [ 0.0000,  0.0000,  0.0000]])
    """
    length = norms(gram)
    present = length > 0
    inverse = torch.where(present, 1 / torch.where(present, length, 1.0), 0.0)
    cosine = (gram * inverse[:, None] * inverse[None, :]).clamp(-1, 1)
    # The diagonal is 1 by definition; rounding there would unbalance two nearly parallel gradients.
    return cosine.diagonal_scatter(present.to(cosine.dtype))


def predicted_change(gram: Tensor, weights: Tensor) -> Tensor:
    """First-order change of each objective per unit of step, ``<g_k, d>`` for d = sum_k w_k g_k, [K].

    >>> predicted_change(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]), torch.tensor([0.25, 0.5]))
    tensor([0.5000, 0.2500])
    """
    return gram @ weights.to(gram)


def project_psd(gram: Tensor) -> Tensor:
    """Nearest positive semi-definite matrix in Frobenius norm: negative eigenvalues become 0.

    Args:
        gram: symmetric matrix [K, K], such as an unbiased estimate, which may have a negative diagonal.

    Raises:
        ValueError: if it is not finite.

    >>> project_psd(torch.tensor([[1.0, 0.0], [0.0, -0.5]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    if not bool(torch.isfinite(gram).all()):
        raise ValueError("the Gram matrix is not finite: a gradient overflowed or is NaN")
    symmetric = ((gram + gram.T) / 2).to(device="cpu").to(dtype=torch.float64)
    values, vectors = torch.linalg.eigh(symmetric)
    if bool((values >= 0).all()):
        return symmetric.to(gram)
    projected = (vectors * values.clamp(min=0)) @ vectors.T
    projected = (projected + projected.T) / 2
    return projected.diagonal_scatter(projected.diagonal().clamp(min=0)).to(gram)


def unbiased_gram(micro: Tensor, total: Tensor) -> Tensor:
    """Unbiased estimate of the Gram matrix of the *expected* gradients, from M independent micro-batches.

    ``G_ij = (<S_i, S_j> - sum_m <g_i^m, g_j^m>) / (M (M - 1))`` with ``S_i = sum_m g_i^m``: the terms m = m',
    in which a micro-batch's noise meets itself, are left out. It may have negative eigenvalues and even a
    negative diagonal where there is little but noise: average it, then `project_psd`.

    Args:
        micro: Gram matrices of the M micro-batches' gradients, [M, K, K].
        total: Gram matrix of the sums S over micro-batches, [K, K].

    Returns:
        [K, K], on the scale of one micro-batch's mean gradient.

    Raises:
        ValueError: if M < 2 or the shapes do not agree.

    >>> gradients = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two micro-batches of one objective: all noise
    >>> total = gradients.sum(0)
    >>> unbiased_gram(gradients @ gradients.mT, total @ total.T)
    tensor([[0.]])
    """
    if micro.ndim != 3 or micro.shape[1:] != total.shape:
        raise ValueError(f"micro is [M, K, K] and total [K, K]; got {list(micro.shape)} and {list(total.shape)}")
    count = micro.shape[0]
    if count < 2:
        raise ValueError("an unbiased Gram needs at least two micro-batches")
    return (total - micro.sum(dim=0)) / (count * (count - 1))


def signal_share(unbiased: Tensor, biased: Tensor) -> Tensor:
    """Share of each gradient's squared norm that is signal rather than sampling noise, [K].

    Args:
        unbiased: `unbiased_gram`, [K, K].
        biased: Gram matrix of the mean gradients (the sums divided by M), [K, K].

    Returns:
        ``unbiased_kk / biased_kk``: near 1 with little noise, near 0 or below where there is nothing but
        noise; 0 for a zero gradient.

    >>> signal_share(torch.tensor([[1.0]]), torch.tensor([[4.0]]))
    tensor([0.2500])
    """
    noisy = biased.diagonal()
    present = noisy > 0
    return torch.where(present, unbiased.diagonal() / torch.where(present, noisy, 1.0), 0.0)


class GramAverage:
    """Moving average of Gram matrices over steps, free of the bias of its start (as Adam's moments are).

    An average of unbiased estimates is unbiased for gradients that change slowly, and far less noisy.

    Args:
        decay: share of the past that is kept, in [0, 1); 0.9 averages about ten steps, 0 averages none.

    Raises:
        HeedError: if decay is outside [0, 1).

    >>> average = GramAverage(decay=0.5)
    >>> average.update(torch.tensor([[2.0]])), average.update(torch.tensor([[8.0]]))
    (tensor([[2.]]), tensor([[6.]]))
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise HeedError(f"the Gram average's decay is {decay}", fix="give a number in [0, 1)")
        self.decay = decay
        self._sum: Tensor | None = None
        self._weight = 0.0

    def update(self, gram: Tensor) -> Tensor:
        """Add one step's Gram matrix [K, K]; return the average so far, [K, K], in its type."""
        exact = gram.detach().to(device="cpu").to(dtype=torch.float64)
        past = torch.zeros_like(exact) if self._sum is None else self._sum
        self._sum = self.decay * past + (1 - self.decay) * exact
        self._weight = self.decay * self._weight + (1 - self.decay)
        return (self._sum / self._weight).to(gram)

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs."""
        return {"sum": None if self._sum is None else self._sum.clone(), "weight": self._weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._sum = None if state["sum"] is None else state["sum"].clone()
        self._weight = float(state["weight"])
