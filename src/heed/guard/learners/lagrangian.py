"""SAC-Lagrangian: return subject to a bound on catastrophes in an episode, with a multiplier that is learnt."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.errors import HeedError
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.cost_critics import catastrophes_of
from heed.guard.learners.replay import ExecutedStep

FURTHEST = 10.0
"""The largest size of the multiplier's logarithm: long stretches at no cost, or at nothing but, do not wind it up."""


class Multiplier(Weighting[PSDMatrix]):
    """The Lagrange multiplier lambda of ``max J subject to J_c <= limit``, kept as its logarithm.

    It grows while episodes cost more than the limit and shrinks while they cost less, so that it rests only where they
    cost the limit on average (or where no episode costs anything)::

        ln lambda <- ln lambda + rate (cost of an episode - limit)

    As a `Weighting` it gives return ``1 / (1 + lambda)`` and cost ``lambda / (1 + lambda)``, whatever the gradients
    are: those of the Lagrangian, rescaled so that a large multiplier is no large step (Stooke et al. 2020).

    Args:
        limit: catastrophes in an episode, on average, that are put up with.
        rate: of the logarithm, for each episode.

    Attributes:
        log: the multiplier's logarithm, 0 at first.

    Raises:
        HeedError: a limit below 0 or a rate that is not above 0.

    >>> multiplier = Multiplier(limit=0.5, rate=0.2)
    >>> multiplier.observe(1.0)
    >>> round(multiplier.log, 3), [round(weight, 3) for weight in multiplier(torch.eye(2)).tolist()]
    (0.1, [0.475, 0.525])
    """

    def __init__(self, limit: float, rate: float = 0.1) -> None:
        if not (limit >= 0 and rate > 0 and math.isfinite(limit) and math.isfinite(rate)):
            raise HeedError(
                f"a limit of {limit} at the rate {rate}", "--cost-limit, --multiplier-rate", "give >= 0 and > 0"
            )
        super().__init__()
        self.limit, self.rate, self.log = limit, rate, 0.0

    @property
    def value(self) -> float:
        """Lambda."""
        return math.exp(self.log)

    def observe(self, cost: float) -> None:
        """An episode has ended, at this cost."""
        self.log = min(FURTHEST, max(-FURTHEST, self.log + self.rate * (cost - self.limit)))

    def forward(self, gramian: Tensor) -> Tensor:
        """The weights [2] of return and cost, for any Gram matrix [2, 2]."""
        return torch.sigmoid(gramian.new_tensor([-self.log, self.log]))


class LagrangianSAC(BalancedSAC):
    """SAC-Lagrangian (Ha et al. 2020): the actor follows return less the multiplier times the cost.

    The cost is what `CostSAC` learns, of catastrophes alone where nothing is blocked. The multiplier follows what whole
    episodes really cost, undiscounted, and not what the critics say of them.

    Args:
        arguments: as `stable_baselines3.SAC` takes them.
        limit: see `Multiplier`.
        rate: see `Multiplier`.
        settings: as `CostSAC` takes them.
    """

    def __init__(self, *arguments: Any, limit: float = 0.01, rate: float = 0.1, **settings: Any) -> None:
        super().__init__(*arguments, weighting=Multiplier(limit, rate), **settings)

    @property
    def multiplier(self) -> Multiplier:
        """The weighting of the two objectives, as what it is."""
        return cast("Multiplier", self.weighting)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._spent = np.zeros(self.n_envs)

    def _learn_of(self, taken: ExecutedStep) -> None:
        super()._learn_of(taken)
        self._spent += catastrophes_of(taken)
        for cost in self._spent[taken.ended]:
            self.multiplier.observe(float(cost))
        self._spent[taken.ended] = 0.0

    def figures(self) -> dict[str, float]:
        """The multiplier."""
        return {"multiplier": self.multiplier.value}
