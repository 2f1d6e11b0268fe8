"""Constraints: the best of some objectives while others keep a level, by multipliers that are learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.checks import check_count
from heed.balance.gramian import checked_gram
from heed.errors import HeedError

FURTHEST = 10.0
"""The largest size of a multiplier's logarithm: a level that cannot be kept, or always is, does not wind it up."""


class Lagrangian(Weighting[PSDMatrix]):
    """Maximise the objectives without a level subject to ``J_k >= level_k`` for those with one.

    PPO-Lagrangian as in Safe RLHF (Dai et al. 2024), for any number of constraints. With the gaps of a round, in
    running deviations of each objective's rewards, ``gap_k = (level_k - J_k) / deviation_k``::

        ln lambda_k = sum over rounds of rate gap_k  +  proportional gap_k
        w_k = lambda_k / (1 + sum_j lambda_j),     and what is left to 1 in equal parts for the others

    The first term is projected gradient ascent on lambda in log space, which oscillates where a policy answers late;
    the second damps it (Stooke et al. 2020, "Responsive safety in reinforcement learning by PID Lagrangian methods").

    Args:
        levels: by the objective's place, from 0.
        count: K.
        rate: of the multipliers' logarithms, for each round and each deviation of the gap.
        proportional: as above; 0 is Safe RLHF's.
        average: share of the past in the moving averages of values and deviations, in [0, 1).

    Attributes:
        logarithms: ``ln lambda`` of each objective, [K]; NaN of those without a level.

    Shape: Gram matrix [K, K] -> weights [K], which sum to 1 and do not look at the gradients.

    Raises:
        HeedError: no level, none left to maximise, a level that is no number, or a setting out of its range.

    >>> weighting = Lagrangian({1: -0.5}, count=2, rate=1.0, average=0.0)
    >>> weighting.observe_spreads(torch.tensor([7.0, -1.5]), torch.tensor([3.0, 1.0]))  # one deviation short
    >>> [round(weight, 3) for weight in weighting(torch.eye(2)).tolist()]  # lambda = e
    [0.269, 0.731]
    """

    values: Tensor
    deviations: Tensor
    summed: Tensor

    def __init__(
        self,
        levels: Mapping[int, float],
        count: int,
        rate: float = 0.3,
        proportional: float = 0.0,
        average: float = 0.5,
    ) -> None:
        super().__init__()
        if not levels or len(levels) >= count:
            what = "no objective has a level" if not levels else "every objective has a level, and none is maximised"
            raise HeedError(what, "--constraints", "write NAME>=LEVEL, for some of the objectives")
        if not all(math.isfinite(level) for level in levels.values()):
            raise HeedError(
                "a level is no number", "--constraints", "write NAME>=LEVEL, as harmless>=-0.5, spaces between several"
            )
        if not (rate > 0 and math.isfinite(rate) and proportional >= 0 and math.isfinite(proportional)):
            raise HeedError(f"a rate of {rate}, {proportional}", "--rate, --proportional", "give > 0 and >= 0")
        if not 0 <= average < 1:
            raise HeedError(f"an average of {average}", "--average", "give a share in [0, 1)")
        self.levels = torch.full((count,), math.nan, dtype=torch.float64)
        for place, level in levels.items():
            self.levels[place] = level
        self.rate, self.proportional, self.average = rate, proportional, average
        for name in ("values", "deviations"):
            self.register_buffer(name, torch.full((count,), math.nan, dtype=torch.float64))  # nothing was seen
        self.register_buffer("summed", torch.zeros(count, dtype=torch.float64))

    def observe_spreads(self, values: Tensor, deviations: Tensor) -> None:
        """A round's means and deviations, [K] each; what scored nothing keeps its values and its multiplier."""
        scored = values.detach().to(self.values).isfinite()
        for running, now in ((self.values, values), (self.deviations, deviations)):
            now = now.detach().to(running)
            average = torch.where(running.isnan(), now, torch.lerp(now, running, self.average))
            running.copy_(torch.where(scored, average, running))
        self.summed += self.rate * torch.where(scored, self._gaps(), 0.0)
        self.summed.clamp_(-FURTHEST, FURTHEST)

    @property
    def logarithms(self) -> Tensor:
        """``ln lambda`` of each objective, [K]; NaN of those without a level."""
        total = (self.summed + self.proportional * self._gaps()).clamp(-FURTHEST, FURTHEST)
        return torch.where(self.levels.isnan(), math.nan, total)

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights [K], in the Gram matrix's type."""
        check_count(checked_gram(gramian), len(self.levels), "objectives")
        free = self.levels.isnan()
        multipliers = torch.where(free, 0.0, self.logarithms.exp())
        share = 1 / (1 + multipliers.sum())
        return torch.where(free, share / free.sum(), multipliers * share).to(gramian)

    def figures(self, names: Sequence[str]) -> dict[str, float]:
        """``multiplier/NAME`` of each constraint."""
        multipliers = zip(names, self.logarithms.exp().tolist(), self.levels.tolist(), strict=True)
        return {f"multiplier/{name}": value for name, value, level in multipliers if not math.isnan(level)}

    def _gaps(self) -> Tensor:
        """How far each objective is short of its level, in deviations, [K]; 0 without a level, or if never scored."""
        unit = torch.where(self.deviations > 0, self.deviations, 1.0)
        return ((self.levels - self.values) / unit).nan_to_num(0.0)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"levels={self.levels.tolist()}, rate={self.rate:g}, proportional={self.proportional:g}"
