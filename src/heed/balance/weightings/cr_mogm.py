"""CR-MOGM: another weighting's weights, smoothed over steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.errors import HeedError


class CRMOGM(Weighting[PSDMatrix]):
    """CR-MOGM (Zhou et al. 2022), "On the convergence of stochastic multi-objective gradient manipulation".

    ``w_t = alpha w_{t-1} + (1 - alpha) v_t`` where v_t are the inner weighting's weights, and w_0 = v_1. As torchjd's
    `CRMOGMWeighting`, with the average in buffers of a fixed shape, which `state_dict` carries.

    Args:
        inner: whose weights are smoothed.
        k: number of objectives.
        alpha: share of the past, in [0, 1]; 0 does not smooth.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: alpha is out of its range.
    """

    average: Tensor
    steps: Tensor

    def __init__(self, inner: Weighting[PSDMatrix], k: int, alpha: float = 0.9) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise HeedError(f"CR-MOGM's alpha is {alpha}", "--alpha", "give a number in [0, 1]")
        self.inner, self.alpha = inner, alpha
        self.register_buffer("average", torch.zeros(k, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves on the average."""
        now = self.inner(gramian).to(self.average)
        self.average.copy_(torch.lerp(now, self.average, self.alpha) if int(self.steps) else now)
        self.steps += 1
        return self.average.to(gramian, copy=True)
