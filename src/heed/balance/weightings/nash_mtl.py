"""Nash-MTL: the update as the objectives' bargain."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torchjd import aggregation
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.gramian import checked_gram, project_psd


class NashMTL(Weighting[PSDMatrix]):
    """Nash-MTL (Navon et al. 2022), "Multi-task learning as a bargaining game".

    torchjd's takes the gradients' matrix; a factor R with ``R R^T = G`` has the same inner products and gives the
    same weights. It starts from the last step's weights, which `state_dict` carries and `reset` forgets.

    Args:
        k: number of objectives.
        max_norm: largest norm of the combined gradient, in the gradients' units; 0 is no limit.
        iterations: steps of the inner optimisation.
        every: calls between two optimisations; the others take the last one's weights.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        ImportError: if cvxpy or ecos is not installed.
        ValueError: if a setting is out of its range; from the call, if the Gram matrix is not finite.
    """

    def __init__(self, k: int, max_norm: float = 1.0, iterations: int = 20, every: int = 1) -> None:
        super().__init__()
        self.inner = aggregation.NashMTL(k, max_norm, every, iterations).weighting

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
