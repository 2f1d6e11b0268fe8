"""The norms that divide gradients, for weightings of unit gradients."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from heed.balance.gramian import norms

_log = logging.getLogger(__name__)

_SMALLEST_SQUARED_NORM = torch.finfo(torch.float32).tiny  # below it 1 / norm leaves float32's range


class Divisors:
    """The norms that divide gradients: floored, and 1 where a gradient is zero, which is logged once.

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
                _log.warning("objective %s has a zero gradient: weight 0 in such steps (logged once)", absent)
            self.zero_steps += 1
        floored = length.clamp(min=floor * float(length.quantile(0.5)))
        return torch.where(present, floored, 1.0), present
