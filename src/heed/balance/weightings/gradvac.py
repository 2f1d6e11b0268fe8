"""GradVac: pairs of gradients are brought to the cosine that they usually have."""

from __future__ import annotations

from torchjd.aggregation import GradVacWeighting

from heed.balance.adapters import Seeded, Stateful


class GradVac(Stateful, Seeded):
    """GradVac (Wang et al. 2021), "Gradient vaccine: improving multi-task optimization".

    The average cosines, which start at 0, and the generator of its random orders are part of `state_dict`.

    Args:
        beta: share of the latest cosine in the moving average, in [0, 1].
        eps: added to denominators, >= 0.
        seed: of the random orders.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(self, beta: float = 0.5, eps: float = 1e-8, seed: int = 0) -> None:
        super().__init__(GradVacWeighting(beta, eps), seed)
