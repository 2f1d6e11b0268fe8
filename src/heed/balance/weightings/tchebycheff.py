"""Smooth Tchebycheff: a preference followed by looking at the objectives' values as well as their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.checks import check_count, check_preference, checked_vector
from heed.balance.divisors import Divisors
from heed.balance.gramian import checked_gram
from heed.errors import HeedError, flag_of


class SmoothTchebycheff(Weighting[PSDMatrix]):
    r"""Smooth Tchebycheff scalarisation (Lin et al. 2024, "Smooth Tchebycheff scalarization"), made to settle.

    With ``gap_k = (ideal_k - J_k) / (ideal_k - nadir_k)``, 0 at objective k's best and 1 at its worst on the
    front, each objective gets a share by how far its weighted gap stands out::

        share_k = softmax_k(lambda_k gap_k / mu)
        w_k = share_k / ||g_k||                     unit gradients
        w_k = share_k / (ideal_k - nadir_k)         raw gradients of the scaled values

    **What lambda means**: a larger lambda_k always gives *more* of objective k. The gaps settle where
    ``lambda_k gap_k`` is equal for all, so that gap_k is proportional to 1 / lambda_k.

    Lin et al.'s own gradient also multiplies the shares by lambda (``outer_preference=True``). That counts the
    preference twice as far as where it settles goes: on the front of two objectives the unit gradients oppose each
    other, the update vanishes where the two weights are equal, and the fixed point moves to
    ``lambda_1 gap_1 - lambda_2 gap_2 = mu ln(lambda_2 / lambda_1)``; for mu = 0.1 and lambda = (0.1, 0.9) no point
    of the front satisfies it, and the policy slides to the end. Without it, the fixed point is the one above
    whatever mu and floor are (unit gradients), or within ``mu`` times the log of the front's slope of it (raw
    gradients). This switch, the floor and the unit gradients are our reading.

    Args:
        preference: lambda, one weight per objective, on the simplex.
        ideal: best value of each objective on the front, in the units that `observe` gets.
        nadir: worst value of each objective on the front, below the ideal.
        mu: temperature, > 0; as it goes to 0 only the worst weighted gap counts.
        average: share of the past in the moving average of the values J, in [0, 1).
        unit_gradients: whether shares multiply ``g_k / ||g_k||`` or raw gradients over the range.
        outer_preference: whether lambda also multiplies the shares, as in the scalarisation's own gradient.
        settle: first rounds, in which the weights are P-GAPO's at the centre: every objective rises as far as common
            ascent goes before the preference takes over. With 0 a policy far from the front rushes to the cheapest
            end of it before the rest is learnt.
        share_floor: least share of any objective, in [0, 1/K), so that all keep moving. Where lambda multiplies
            as well, a floor above what the fixed point needs makes it slide.
        floor: norms below ``floor * median(norms)`` are raised to it before they divide unit gradients.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: if a setting is out of its range, lengths disagree, or nothing was observed before the call.
        ValueError: if observed values or the Gram matrix are not finite.

    >>> weighting = SmoothTchebycheff([0.5, 0.5], ideal=[10.0, 0.0], nadir=[0.0, -1.0])
    >>> weighting.observe(torch.tensor([5.0, -0.5]))  # both half-way: equal shares of the unit gradients
    >>> weighting(torch.tensor([[4.0, -1.0], [-1.0, 1.0]]))
    tensor([0.2500, 0.5000])
    """

    values: Tensor
    observed: Tensor

    def __init__(
        self,
        preference: Sequence[float] | Tensor,
        ideal: Sequence[float] | Tensor,
        nadir: Sequence[float] | Tensor,
        mu: float = 0.1,
        average: float = 0.8,
        unit_gradients: bool = True,
        outer_preference: bool = False,
        share_floor: float = 0.0,
        floor: float = 0.0,
        settle: int = 0,
    ) -> None:
        super().__init__()
        self.preference = check_preference(preference)
        count = len(self.preference)
        self.ideal, self.nadir = checked_vector(ideal, "ideal"), checked_vector(nadir, "nadir")
        if not len(self.ideal) == len(self.nadir) == count:
            raise HeedError(
                f"{count} preference weights, {len(self.ideal)} ideal and {len(self.nadir)} nadir values",
                fix="give one of each per objective",
            )
        self.range = self.ideal - self.nadir
        if bool((self.range <= 0).any()):
            raise HeedError("the ideal is not above the nadir", fix="give the best and the worst value on the front")
        _check_range("mu", mu, math.isfinite(mu) and mu > 0, "above 0")
        _check_range("average", average, 0 <= average < 1, "in [0, 1)")
        _check_range("share_floor", share_floor, 0 <= share_floor < 1 / count, f"in [0, {1 / count:g})")
        _check_range("floor", floor, math.isfinite(floor) and floor >= 0, "of at least 0")
        _check_range("settle", settle, settle >= 0, "of at least 0")
        self.mu, self.average, self.share_floor, self.floor = mu, average, share_floor, floor
        self.settle = settle
        self.unit_gradients, self.outer_preference = unit_gradients, outer_preference
        self.divisors = Divisors()
        self.register_buffer("values", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))

    def observe(self, values: Tensor) -> None:
        """Add this step's mean values [K] to the moving average J (which starts at the first ones).

        A value that is NaN was not measured in this step: its average stays, and is the nadir before the first step.

        Raises:
            HeedError: if there are not K of them.
            ValueError: if one is infinite.
        """
        now = values.detach().to(self.values.device).to(self.values.dtype)
        if now.shape != self.values.shape:
            raise HeedError(f"{list(now.shape)} values observed for {len(self.values)} objectives")
        if bool(torch.isinf(now).any()):
            raise ValueError(f"the observed values {now.tolist()} are not finite")
        now = torch.where(now.isnan(), self.values if int(self.observed) else self.nadir.to(self.values), now)
        keep = self.average if int(self.observed) else 0.0
        self.values.mul_(keep).add_(now, alpha=1 - keep)
        self.observed += 1

    def shares(self) -> Tensor:
        """Each objective's share of the update, float64 [K], summing to 1."""
        if not int(self.observed):
            raise HeedError("no objective values were observed yet", "SmoothTchebycheff", "call observe(values) first")
        gap = (self.ideal - self.values.to(self.ideal)) / self.range
        share = torch.softmax(self.preference * gap / self.mu, dim=0)
        share = self.share_floor + (1 - len(share) * self.share_floor) * share
        if int(self.observed) <= self.settle:
            share = torch.full_like(share, 1 / len(share))
        if self.outer_preference:
            share = share * self.preference
        return share / share.sum()

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K] and the values observed."""
        gram = checked_gram(gramian)
        check_count(gram, len(self.preference), "preference weights")
        share = self.shares()
        if not self.unit_gradients and int(self.observed) > self.settle:
            return (share / self.range).to(gramian)
        divisor, present = self.divisors(gram, self.floor)
        return torch.where(present, share / divisor, 0.0).to(gramian)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return f"preference={self.preference.tolist()}, mu={self.mu:g}, unit_gradients={self.unit_gradients}"


def _check_range(name: str, value: float, holds: bool, wanted: str) -> None:
    """Raise `HeedError` unless the setting's condition holds."""
    if not holds:
        raise HeedError(f"{name} is {value}", flag_of(name), f"give a number {wanted}")
