"""The classical weightings, through torchjd, on the same Gram matrix as ours.

torchjd's own thresholds are absolute (a Gram matrix with a trace below 1e-4 counts as zero); gradients of
language models are often shorter. So each method whose weights do not depend on the gradients' common scale
gets the Gram matrix divided by its trace.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torchjd import aggregation
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix, QuadprogProjector

from heed.balance.gramian import checked_gram, project_psd
from heed.errors import HeedError


class Classical(Weighting[PSDMatrix]):
    """A torchjd weighting on a checked, positive semi-definite Gram matrix with trace 1, in float64.

    Args:
        inner: torchjd weighting of a Gram matrix whose weights do not change with the gradients' common scale.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        ValueError: from the call, if the Gram matrix is not finite.

    >>> Classical(aggregation.PCGradWeighting())(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([1.2500, 2.0000])
    """

    def __init__(self, inner: Weighting[PSDMatrix]) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]."""
        gram = project_psd(checked_gram(gramian))
        trace = gram.trace()
        if trace == 0:
            return torch.zeros(len(gram), dtype=gramian.dtype, device=gramian.device)
        return self.inner(gram / trace).to(gramian)


class PCGrad(Classical):
    """PCGrad (Yu et al. 2020), "Gradient surgery for multi-task learning", Algorithm 1.

    For K > 2 it takes the other objectives in random order. torchjd draws that from torch's global generator; here
    the draws come from a generator state of its own, which `state_dict` carries.

    Args:
        seed: seed of the random orders.

    >>> PCGrad(seed=0)(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([1.2500, 2.0000])
    """

    random_state: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__(aggregation.PCGradWeighting())
        self.register_buffer("random_state", torch.Generator().manual_seed(seed).get_state())

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves on the random state."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random_state.to(device="cpu"))
            weights = super().forward(gramian)
            self.random_state.copy_(torch.get_rng_state())
        return weights


class NashMTL(Weighting[PSDMatrix]):
    """Nash-MTL (Navon et al. 2022), "Multi-task learning as a bargaining game".

    torchjd's takes the gradients' matrix; a factor R with ``R R^T = G`` has the same inner products and gives the
    same weights. It starts from the last step's weights, which `state_dict` carries and `reset` forgets.

    Args:
        k: number of objectives.
        max_norm: largest norm of the combined gradient, in the gradients' units; 0 is no limit.
        iterations: steps of the inner optimisation.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        ImportError: if cvxpy or ecos is not installed.
        ValueError: from the call, if the Gram matrix is not finite.
    """

    def __init__(self, k: int, max_norm: float = 1.0, iterations: int = 20) -> None:
        super().__init__()
        self.inner = aggregation.NashMTL(n_tasks=k, max_norm=max_norm, optim_niter=iterations).weighting

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]."""
        gram = project_psd(checked_gram(gramian))
        if gram.trace() == 0:
            return torch.zeros(len(gram), dtype=gramian.dtype, device=gramian.device)
        values, vectors = torch.linalg.eigh(gram)
        with warnings.catch_warnings():
            # cvxpy remarks at each solve that it cannot cache the problem: no news to whoever chose Nash-MTL.
            warnings.filterwarnings("ignore", message=".*not DPP.*", category=UserWarning)
            return self.inner(vectors * values.clamp(min=0).sqrt()).to(gramian)

    def reset(self) -> None:
        """Forget the last step's weights."""
        self.inner.reset()

    def get_extra_state(self) -> Tensor:
        """The last step's weights [K], for `state_dict`."""
        return torch.as_tensor(self.inner.prvs_alpha).clone()

    def set_extra_state(self, state: Any) -> None:
        """Go on from the last step's weights [K]."""
        self.inner.reset()  # the problem is built anew at the next call, from these weights
        self.inner.prvs_alpha = state.numpy().copy()


def upgrad(ridge: float = 1e-8) -> Classical:
    """UPGrad (Quinton and Rey 2024), "Jacobian descent for multi-objective optimization".

    Args:
        ridge: share of the trace added to the diagonal, for the quadratic program to be definite (torchjd: 1e-4, which
            is as large as a gradient of a hundredth of the other's norm).

    Raises:
        ImportError: if quadprog or qpsolvers is not installed.

    >>> upgrad()(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([0.6250, 1.0000])
    """
    return Classical(aggregation.UPGradWeighting(projector=QuadprogProjector(reg_eps=ridge)))


def cagrad(c: float = 0.5) -> Classical:
    """CAGrad (Liu et al. 2021), "Conflict-averse gradient descent for multi-task learning".

    Args:
        c: radius of the ball around the mean gradient, as a share of its norm, >= 0; 0 is the mean.

    Raises:
        HeedError: if c is negative.
        ImportError: if cvxpy or clarabel is not installed.
    """
    if not c >= 0:
        raise HeedError(f"CAGrad's radius c is {c}", fix="give a number >= 0; the paper uses 0.4 to 0.5")
    return Classical(aggregation.CAGradWeighting(c=c))


def aligned_mtl() -> Classical:
    """Aligned-MTL (Senushkin et al. 2023), "Independent component alignment for multi-task learning".

    >>> aligned_mtl()(torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
    tensor([0.2500, 0.5000])
    """
    return Classical(aggregation.AlignedMTLWeighting())
