"""PCGrad: from each gradient what points against another is taken away."""

from __future__ import annotations

from torchjd.aggregation import PCGradWeighting

from heed.balance.adapters import Seeded


class PCGrad(Seeded):
    """PCGrad (Yu et al. 2020), "Gradient surgery for multi-task learning", Algorithm 1.

    For K > 2 it takes the other objectives in random order. torchjd draws that from torch's global generator; here
    the draws come from a generator state of its own, which `state_dict` carries.

    Args:
        seed: seed of the random orders.

    >>> import torch
    >>> PCGrad(seed=0)(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([1.2500, 2.0000])
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(PCGradWeighting(), seed)
