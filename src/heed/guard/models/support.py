"""Where the models have seen data: beyond it they are not trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Range:
    """The states in which the models are trusted, [S] each; what lies beyond counts as dangerous.

    >>> reach = Range.around(torch.tensor([[0.0], [0.5], [1.0]]), margin=0.5)
    >>> reach.outside(torch.tensor([[1.4], [1.6], [float("nan")]])).tolist()
    [False, True, True]
    """

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, states: Tensor, margin: float = 0.02) -> Range:
        """The range of the states [N, S] seen, widened by ``margin`` of its width at each end.

        A part that was never seen with more than two values, such as whether a leg touches the ground, has no range: a
        model that is unsure predicts it in between and beyond.
        """
        low, high = states.amin(0), states.amax(0)
        slack = margin * (high - low).clamp(min=1e-3)
        flags = ((states == low) | (states == high)).all(0)
        return cls(torch.where(flags, -torch.inf, low - slack), torch.where(flags, torch.inf, high + slack))

    def outside(self, states: Tensor) -> Tensor:
        """Which states [..., S] are beyond it or not finite: bool [...]."""
        return ~((states >= self.low) & (states <= self.high) & states.isfinite()).all(-1)
