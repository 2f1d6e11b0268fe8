"""torchjd's weightings on the same Gram matrix as ours.

torchjd's own thresholds are absolute (a Gram matrix with a trace below 1e-4 counts as zero); gradients of
language models are often shorter. So each method whose weights do not depend on the gradients' common scale
gets the Gram matrix divided by its trace.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.gramian import checked_gram, project_psd


class ScaleFree(Weighting[PSDMatrix]):
    """A torchjd weighting on a checked, positive semi-definite Gram matrix with trace 1, in float64.

    Args:
        inner: torchjd weighting of a Gram matrix.
        power: how its weights change with the gradients' common scale: those of ``t G`` are ``t ** power`` times those
            of G.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        ValueError: from the call, if the Gram matrix is not finite.

    >>> from torchjd.aggregation import PCGradWeighting
    >>> ScaleFree(PCGradWeighting())(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([1.2500, 2.0000])
    """

    def __init__(self, inner: Weighting[PSDMatrix], power: float = 0.0) -> None:
        super().__init__()
        self.inner, self.power = inner, power

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]."""
        gram = project_psd(checked_gram(gramian))
        trace = gram.trace()
        if trace == 0:
            return torch.zeros(len(gram), dtype=gramian.dtype, device=gramian.device)
        return (self.inner(gram / trace) * trace**self.power).to(gramian)


class Seeded(ScaleFree):
    """A torchjd weighting that draws from torch's global generator, given a generator state of its own.

    The state is part of `state_dict`, and the global generator is left as it was.

    Args:
        inner: torchjd weighting of a Gram matrix whose weights do not change with the gradients' common scale.
        seed: of its draws.
    """

    random_state: Tensor

    def __init__(self, inner: Weighting[PSDMatrix], seed: int = 0) -> None:
        super().__init__(inner)
        self.register_buffer("random_state", torch.Generator().manual_seed(seed).get_state())

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves on the random state."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random_state.to(device="cpu"))
            weights = super().forward(gramian)
            self.random_state.copy_(torch.get_rng_state())
        return weights


class Stateful(ScaleFree):
    """A torchjd weighting that learns from call to call, whose state `state_dict` carries.

    torchjd makes its buffers at the first call. So that they find their place when they are loaded into a new one, the
    number of objectives is carried too, and a call on an identity matrix makes them.
    """

    def get_extra_state(self) -> Tensor | None:
        """The number of objectives, None before the first call."""
        first = next(self.inner.buffers(), None)
        return None if first is None else torch.tensor(len(first))

    def set_extra_state(self, state: Any) -> None:
        """Forget what was learnt; make buffers for that number of objectives, which are loaded next."""
        self.reset()
        if state is not None:
            with torch.random.fork_rng(devices=[]):
                self.inner(torch.eye(int(state), dtype=torch.float64))

    def reset(self) -> None:
        """Forget what was learnt."""
        self.inner.reset()
