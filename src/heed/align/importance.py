"""What drew the tokens against what is trained.

A sampler in half precision, with other kernels and a merged adapter, draws from a policy that is a little another than
the one whose gradient is taken. How far is measured in every round. Where it is more than float32's rounding, each
token's share of the mean is weighted by the ratio of the two probabilities, cut off above (truncated importance
sampling: Ionides 2008; for samplers of their own, Yao et al. 2025). The weight is a number per token that all
objectives share, so the cotangents keep their rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Importance:
    """The weights of tokens by the trained policy's probability over the sampler's.

    Args:
        cap: largest weight; 0 weights nothing, but measures.
    """

    def __init__(self, cap: float) -> None:
        self.cap = cap
        self._forget()

    def needed(self, dtype: torch.dtype) -> bool:
        """Whether a model in this dtype samples from another policy than it trains."""
        return self.cap > 0 and dtype in (torch.bfloat16, torch.float16)

    def measure(self, logp: Tensor, sampler: Tensor, mask: Tensor) -> None:
        """Note how far the sampler was, before the policy has moved.

        Args:
            logp: of the trained policy, [B, T].
            sampler: as the sampler recorded them, [B, T].
            mask: the completions' tokens, [B, T].
        """
        self._apart += float(((logp - sampler) * mask).abs().sum())
        self._tokens += float(mask.sum())

    def weights(self, logp: Tensor, sampler: Tensor, mask: Tensor) -> Tensor:
        """``min(exp(logp - sampler), cap)``, [B, T]; how many are cut off is noted.

        >>> Importance(2.0).weights(torch.tensor([[0.0, 1.0, -0.5]]), torch.zeros(1, 3), torch.ones(1, 3)).tolist()
        [[1.0, 2.0, 0.6065306663513184]]
        """
        ratio = (logp - sampler).exp()
        self._capped += float(((ratio > self.cap) & mask.bool()).sum())
        self._weighted += float(mask.sum())
        return ratio.clamp(max=self.cap)

    def metrics(self) -> dict[str, float]:
        """Mean nats a token between sampler and policy, and the share of weights cut off, since the last call.

        NaN where nothing was measured, as with a sampler that records nothing; 0 where nothing was weighted.

        >>> Importance(2.0).metrics()
        {'sampler/mismatch': nan, 'sampler/capped': 0.0}
        """
        found = {
            "sampler/mismatch": self._apart / self._tokens if self._tokens else math.nan,
            "sampler/capped": self._capped / self._weighted if self._weighted else 0.0,
        }
        self._forget()
        return found

    def _forget(self) -> None:
        self._apart = self._tokens = self._capped = self._weighted = 0.0
