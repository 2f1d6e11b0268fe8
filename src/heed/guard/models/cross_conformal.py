"""Danger as a rank among the blocks that nobody had learnt from: judged by what it is calibrated with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from heed.guard.models.blockers import Blockers
from heed.guard.models.calibration import Threshold
from heed.guard.models.dynamics import Dynamics
from heed.guard.models.labels import Labels

ROWS = 1000
"""Labels that are imagined at a time."""
Telling = Callable[[Tensor, Tensor, Tensor, slice], Tensor]
"""What is told of steps from states [K, n, S] by actions [K, n, A] to next states [K, n, S]: [K, n]; and of which rows
they are."""


class CalibratedBlockers:
    """Blockers whose danger counts the held-out blocks that looked no more dangerous (cross-conformal, Vovk 2015).

    Each member does without one fold of the labels, so that it judges the blocks of that fold unseen. A step is
    compared with each such block by the block's own member: let c be the number of the n blocks whose own member finds
    the step at least as dangerous. ``(c + 1) / (n + 1)`` is a p-value; the danger is ``(c + m) / (n + 1)``, m in [0, 1)
    being the members' mean probability, which orders what has the same c. Flagging what reaches `threshold` misses a
    share of about eps of fresh blocks, and at most 2 eps whatever the data (Barber et al. 2021, for CV+).

    Args:
        blockers: fitted.
        scores: log-odds of the held-out blocks as their own members tell them, ascending in each row, filled up with
            infinity, [M, n at most].
        passed: of the steps let pass, the share of the blocks of their fold that looked no more dangerous to its
            member, [P].
        blocks: danger of each held-out block as a look would tell it (`as_seen`), [n]; None takes them one by one.

    >>> blockers = Blockers(state_size=1, members=2, seed=0)
    >>> judge = CalibratedBlockers(blockers, torch.tensor([[-torch.inf, torch.inf], [torch.inf, torch.inf]]))
    >>> judge.n, judge.threshold(0.1).value
    (1, 0.5)
    """

    def __init__(
        self, blockers: Blockers, scores: Tensor, passed: Tensor | None = None, blocks: Tensor | None = None
    ) -> None:
        self.blockers, self.scores = blockers, scores
        self.passed = torch.zeros(0) if passed is None else passed
        self.blocks = None if blocks is None else blocks.sort().values
        self.n = int((scores < torch.inf).sum())

    @classmethod
    @torch.no_grad()
    def from_folds(cls, blockers: Blockers, inputs: Tensor, blocked: Tensor, folds: Tensor) -> CalibratedBlockers:
        """Calibrate fitted blockers on the blocks among what they were fitted to.

        Args:
            blockers: fitted with these folds.
            inputs: [N, D]; those that are not finite are left out.
            blocked: bool [N].
            folds: number of the member that did without a row, [N].
        """
        usable = inputs.isfinite().all(1)
        blocked, own = blocked[usable], folds[usable]
        logits = blockers.logits(inputs[usable]).gather(0, own[None])[0]
        each = [logits[blocked & (own == member)].sort().values for member in range(blockers.members)]
        shares = [
            torch.searchsorted(blocks, logits[~blocked & (own == member)], right=True) / len(blocks)
            for member, blocks in enumerate(each)
            if len(blocks)
        ]
        scores = torch.nn.utils.rnn.pad_sequence(each, batch_first=True, padding_value=torch.inf)
        return cls(blockers, scores, torch.cat(shares))

    def as_seen(self, blocks: Tensor, passed: Tensor) -> CalibratedBlockers:
        """The same with a threshold for the danger that a look tells, which is made of many futures.

        Args:
            blocks: danger of the held-out blocks, each by its own member alone (`unseen_danger`), in all futures of a
                look combined, [n].
            passed: the same of the steps let pass, [P].
        """
        return CalibratedBlockers(self.blockers, self.scores, passed, blocks)

    @torch.no_grad()
    def unseen_danger(self, inputs: Tensor, folds: Tensor) -> Tensor:
        """The danger of inputs [..., N, D] as if all members said what that one does which has not learnt from them.

        Args:
            inputs: [..., N, D].
            folds: number of the member that did without each, [N].
        """
        logits = self.blockers.logits(inputs)
        return self._ranked(logits.gather(0, folds.expand(1, *logits.shape[1:])).expand_as(logits))

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of the steps from states [..., S] by actions [..., A] to next states [..., S]: [...]."""
        return self.danger_of(self.blockers.inputs_of(states, actions, next_states))

    @torch.no_grad()
    def danger_of(self, inputs: Tensor) -> Tensor:
        """Danger in [0, 1] of inputs [..., D], [...]; NaN where they are not finite."""
        return self._ranked(self.blockers.logits(inputs))

    @torch.no_grad()
    def most_alarmed(self, inputs: Tensor) -> Tensor:
        """The danger that inputs [..., D] had if all members were as alarmed as the one that is most so, [...]."""
        logits = self.blockers.logits(inputs)
        return self._ranked(logits.amax(0).expand_as(logits))

    def _ranked(self, logits: Tensor) -> Tensor:
        mean = logits.sigmoid().mean(0)
        counts = torch.searchsorted(self.scores, logits.flatten(1).contiguous(), right=True).sum(0).view_as(mean)
        return torch.where(mean.isnan(), mean, (counts + mean.clamp(max=1 - 1e-6)) / (self.n + 1))

    def threshold(self, eps: float, cap: float = 1.0) -> Threshold:
        """The danger from which a step is flagged so that a share eps of fresh blocks is missed.

        So few blocks that even the least dangerous stands for more than eps promise no more than that:
        ``1 / (n + 1)``. Where more than a share ``cap`` of the steps let pass, unseen, would be flagged, as one block
        beside the point can bring about, up to three times the misses are allowed: no more than bring the flags down to
        the cap, or else as many as make the worse of the two the least, misses in units of eps and flags of the cap, if
        with 95% confidence they are no more than 3.5 times eps: a guard that misses more takes nothing over.
        """
        share = Fraction(str(float(eps)))  # .1 is a tenth here, so that no rank is lost to rounding
        first = max(1, int(share * (self.n + 1)))
        ranks = range(first, max(first, min(self.n, int(3 * share * (self.n + 1)))) + 1)
        flags = {rank: self.flagged(self._value(rank)) for rank in ranks}
        fit = [rank for rank in ranks if flags[rank] <= cap]
        if not fit:
            sure = [rank for rank in ranks if self.promised(self._value(rank)).miss_bound() <= 3.5 * eps]
            fit = [min(sure or ranks[:1], key=lambda rank: max(rank / (self.n + 1) * cap, flags[rank] * eps))]
        return self.promised(self._value(fit[0]))

    def flagged(self, value: float) -> float:
        """Share of the steps let pass that a threshold flags, as told by members that have not seen them."""
        return float((self.passed >= value).float().mean()) if len(self.passed) else 0.0

    def promised(self, value: float) -> Threshold:
        """A threshold that something else has set, with what the held-out blocks promise of it."""
        rank = int(value * (self.n + 1) + 1e-9) if self.blocks is None else int((self.blocks < value).sum()) + 1
        rank = max(1, rank)
        if rank > self.n:
            return Threshold(value)
        return Threshold(value, rank / (self.n + 1), self.n, rank)

    def _value(self, rank: int) -> float:
        """The danger that so many of the held-out blocks do not exceed."""
        return rank / (self.n + 1) if self.blocks is None else float(self.blocks[rank - 1])

    def state(self) -> dict[str, Tensor | None]:
        """What it was calibrated on, as its arguments."""
        return {"scores": self.scores, "passed": self.passed, "blocks": self.blocks}


@dataclass(frozen=True)
class FirstSteps:
    """How a look judges its first step, so that what it is compared with can be judged by the same statistic.

    It tells the mean of all futures. Their worst is far more dangerous than any one, and a threshold that was
    calibrated on one would flag far more than it says. Nor is there a threshold for the worst that keeps its promise:
    what one member says at worst, by which held-out blocks are judged, is more than all say together of any future; of
    the mean it is the same.

    Args:
        particles: futures of each member of the dynamics.
    """

    particles: int

    @torch.no_grad()
    def told(self, labels: Labels, dynamics: Dynamics, telling: Telling, generator: torch.Generator) -> Tensor:
        """What is told of N labels, mean of K futures of each: [N].

        Args:
            labels: N of them.
            dynamics: that imagine.
            telling: what tells.
            generator: of the dynamics' noise.
        """
        result = []
        for first in range(0, len(labels.blocked), ROWS):
            rows = slice(first, first + ROWS)
            each = (labels.states[rows], labels.actions[rows])
            states, actions = (column.repeat(self.particles, 1).expand(dynamics.members, -1, -1) for column in each)
            following = dynamics.step(states, actions, generator)[0]
            count = (dynamics.members * self.particles, len(each[0]), -1)  # K, n
            told = telling(states.reshape(count), actions.reshape(count), following.reshape(count), rows)
            result.append(torch.where(told.isfinite(), told, 1.0).mean(0))  # as a look takes what is no number
        return torch.cat(result) if result else torch.zeros(0)
