"""MoDo and SDMGrad: the min-norm problem followed by small steps, on Gram matrices without their noise's own square."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.checks import check_count, check_preference
from heed.balance.gramian import checked_gram
from heed.errors import HeedError


class SDMGrad(Weighting[PSDMatrix]):
    r"""Direction-oriented multi-objective descent (Xiao et al. 2023, "Direction-oriented multi-objective learning").

    The min-norm problem leans on a preferred direction ``g_0 = sum_k preference_k g_k``, and its weights go on from
    step to step by projected gradient descent::

        minimise over the simplex  ||sum_k alpha_k g_k + lean g_0||^2
        alpha <- project(alpha - rate G (alpha + lean preference) / trace(G)),      iterations times
        w     =  (alpha + lean preference) / (1 + lean)

    The paper takes ``G = J_1 J_2^T`` from two independent batches, so that a gradient's noise does not meet itself:
    that is what ``gram="unbiased"`` estimates from all pairs of micro-batches (with two of them it is the paper's own).
    On a plain Gram matrix the diagonal holds each gradient's variance. Dividing by the trace is ours: the rate then
    means the same whatever the gradients' scale.

    Args:
        preference: of the direction that is leant on, on the simplex; [K].
        lean: how much, >= 0; at 0 it is MoDo's problem, and large values give linear scalarisation.
        rate: of the descent, above 0.
        iterations: of the descent at each step.

    Attributes:
        alpha: the running weights, [K].

    Shape: Gram matrix [K, K] -> weights [K].

    Raises:
        HeedError: a setting out of its range, or another number of objectives.
        ValueError: from the call, if the Gram matrix is not finite.

    >>> weighting = SDMGrad([0.5, 0.5], lean=0.0, rate=1.0, iterations=200)
    >>> weighting(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))  # the min-norm point
    tensor([0.2000, 0.8000])
    """

    alpha: Tensor

    def __init__(
        self, preference: Sequence[float] | Tensor, lean: float = 0.3, rate: float = 0.5, iterations: int = 20
    ) -> None:
        super().__init__()
        if not (lean >= 0 and rate > 0 and math.isfinite(lean) and math.isfinite(rate)):
            raise HeedError(f"a lean of {lean} at the rate {rate}", "--lean, --rate", "give >= 0 and > 0")
        if iterations < 1:
            raise HeedError(f"{iterations} iterations are none", "--iterations", "give at least 1")
        self.preference = check_preference(preference)
        self.lean, self.rate, self.iterations = lean, rate, iterations
        count = len(self.preference)
        self.register_buffer("alpha", torch.full((count,), 1 / count, dtype=torch.float64))

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves alpha on."""
        gram = checked_gram(gramian)
        check_count(gram, len(self.preference), "objectives")
        gram, leant = gram / gram.trace().clamp(min=torch.finfo(gram.dtype).tiny), self.lean * self.preference
        for _ in range(self.iterations):
            self.alpha.copy_(on_simplex(self.alpha - self.rate * (gram @ (self.alpha + leant))))
        return ((self.alpha + leant) / (1 + self.lean)).to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"lean={self.lean:g}, rate={self.rate:g}, iterations={self.iterations}"


class MoDo(SDMGrad):
    """Double sampling (Chen et al. 2024, "Three-way trade-off in multi-objective learning"): one step for each update.

    `SDMGrad` without a direction to lean on, and with one iteration.

    Args:
        count: K.
        rate: of the descent, above 0.

    >>> MoDo(2, rate=0.5)(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.4250, 0.5750])
    """

    def __init__(self, count: int, rate: float = 0.5) -> None:
        super().__init__([1 / count] * count, 0.0, rate, 1)


def on_simplex(values: Tensor) -> Tensor:
    """The nearest point of the simplex (Held et al. 1974).

    Args:
        values: [K].

    >>> on_simplex(torch.tensor([0.9, 0.5, -1.0]))
    tensor([0.7000, 0.3000, 0.0000])
    """
    ordered = values.sort(descending=True).values
    counts = torch.arange(1, len(values) + 1, dtype=values.dtype)
    shifts = (ordered.cumsum(0) - 1) / counts
    return (values - shifts[ordered > shifts][-1]).clamp(min=0)
