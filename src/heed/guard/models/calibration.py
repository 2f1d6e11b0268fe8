"""Where danger begins: HIRL's vote, thresholds by conformal calibration, and which refits to believe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from heed.errors import HeedError


@dataclass(frozen=True)
class Threshold:
    """A step is unsafe whose danger is at least ``value``.

    Args:
        value: the threshold.
        eps: share of missed blocks promised at most, averaged over what might have been held out; None if none is.
        n: held-out blocks that it stands on.
        rank: its place among them, the least dangerous first.

    >>> print(Threshold(value=0.31, eps=0.05, n=39, rank=2))
    danger >= 0.31: misses at most 5.0% of blocks like the 39 held out (the smallest promise from so many is 2.5%);
    with 95% confidence at most 11.6%
    """

    value: float
    eps: float | None = None
    n: int = 0
    rank: int = 0

    @property
    def smallest_eps(self) -> float:
        """The smallest miss rate that n held-out blocks can promise."""
        return smallest_eps(self.n)

    def miss_bound(self, confidence: float = 0.95) -> float:
        """What the miss rate does not exceed, with this confidence, given the very blocks that were held out.

        Given them, the miss rate of fresh blocks is Beta(rank, n + 1 - rank) distributed, or less with ties.

        Raises:
            HeedError: a threshold without a promise.
        """
        if self.eps is None:
            raise HeedError("this threshold was not calibrated", "miss_bound", "use conformal_threshold")
        return float(beta.ppf(confidence, self.rank, self.n + 1 - self.rank))

    def __str__(self) -> str:
        if self.eps is None:
            return f"danger >= {self.value:.3g}, without a promise"
        return (
            f"danger >= {self.value:.3g}: misses at most {self.eps:.1%} of blocks like the {self.n} held out "
            f"(the smallest promise from so many is {self.smallest_eps:.1%}); "
            f"with 95% confidence at most {self.miss_bound():.1%}"
        )


def hirl_threshold() -> Threshold:
    """HIRL's rule (Saunders et al. 2018): block where members say more than one half, two of five.

    To be used with ``Blockers(votes=2)``, whose danger is the second largest of the members' probabilities: it exceeds
    one half if and only if two members do. The value is the float32 that follows .5, for "more than".

    >>> hirl_threshold().value > 0.5
    True
    """
    return Threshold(float(np.nextafter(np.float32(0.5), np.float32(1))))


def smallest_eps(blocks: int) -> float:
    """The smallest miss rate that so many held-out blocks can promise: ``1 / (blocks + 1)``.

    >>> smallest_eps(19)
    0.05
    """
    return 1 / (blocks + 1)


def conformal_threshold(scores: ArrayLike, eps: float) -> Threshold:
    """The largest threshold that misses at most eps of fresh blocks, promised from the danger of held-out ones.

    Split conformal prediction (Vovk et al. 2005): with nonconformity ``-danger``, the
    ``ceil((n + 1)(1 - eps))``-th smallest among n held-out blocks. If they and a fresh block are exchangeable and the
    blockers have seen none of them, the fresh one is missed with probability at most eps, and without ties more than
    ``eps - 1/(n + 1)``. The promise is an average over held-out sets; :meth:`Threshold.miss_bound` says what this very
    set allows. A policy that learns under the guard breaks exchangeability: calibrate again.

    Args:
        scores: danger of the held-out blocks, [n].
        eps: miss rate to promise, in (0, 1).

    Raises:
        HeedError: too few held-out blocks, with the smallest eps possible; an eps outside (0, 1).
        ValueError: a score that is not finite.

    >>> conformal_threshold([0.9, 0.2, 0.6, 0.8], eps=0.4).value
    0.6
    """
    danger = _finite(scores)
    if not 0 < eps < 1:
        raise HeedError(f"eps is {eps}", "--eps", "give a miss rate between 0 and 1")
    n = len(danger)
    share = Fraction(str(float(eps)))  # .1 is a tenth here, so that no rank is lost to rounding
    rank = n + 1 - math.ceil((n + 1) * (1 - share))  # among the dangers, ascending
    if rank < 1:
        raise HeedError(
            f"{n} held-out blocks cannot promise a miss rate of {eps:g}",
            "--eps",
            f"the smallest possible from them is {smallest_eps(n):.3g}; {eps:g} needs {math.ceil(1 / share) - 1}",
        )
    return Threshold(float(np.sort(danger)[rank - 1]), float(eps), n, rank)


def met_threshold(runs: Sequence[Sequence[float]], eps: float) -> Threshold:
    """The largest threshold that would have missed at most eps of the blocks that were met, blocks on end as one.

    Split conformal prediction on what happened in the run itself, one proposal after the other; of blocks on end each
    weighs one over their number.

    Args:
        runs: risks of the blocks of each run of blocks on end, each by a guard that had not learnt from it.
        eps: share to miss at most.

    Raises:
        HeedError: too few runs to promise that.

    >>> met_threshold([[0.2], *[[0.6, 0.8]] * 9, *[[0.9]] * 9], eps=0.1).value
    0.6
    """
    count = len(runs)
    allowed = int(Fraction(str(float(eps))) * (count + 1)) - 1
    if allowed < 0:
        raise HeedError(f"{count} blocks cannot promise a miss rate of {eps:g}", "--eps", "oversee for longer")
    ranked = sorted((risk, Fraction(1, len(risks))) for risks in runs for risk in risks)
    below, value = Fraction(0), ranked[0][0]
    for risk, weight in ranked:
        if below > allowed:
            break
        value, below = risk, below + weight
    return Threshold(value, (allowed + 1) / (count + 1), count, allowed + 1)


@dataclass(frozen=True)
class Judged:
    """How one fit of the blockers sees what is known.

    Args:
        positives: danger of the known blocks, [P].
        negatives: danger of known steps that were let pass, [N].
        threshold: the fit's own.
        catastrophes: danger of those known blocks that were catastrophes which happened, [C].
    """

    positives: ArrayLike
    negatives: ArrayLike
    threshold: float
    catastrophes: ArrayLike = ()


@dataclass(frozen=True)
class RefitDecision:
    """Whether a refit takes the old fit's place.

    Args:
        accepted: the new fit takes its place; else the old one stays, with its threshold.
        threshold: of the fit that is in force from now on.
        missed: share of the known blocks that the one in force does not flag; most members have learnt from each.
        flagged: share of the known steps let pass that the one in force flags; the same holds of them.
        reason: in words.
    """

    accepted: bool
    threshold: float
    missed: float
    flagged: float
    reason: str


def accept_refit(
    old: Judged | None, new: Judged, lost: float = 0.05, cap: float = 0.03, promise: float = 0.0
) -> RefitDecision:
    """Whether a refit takes the old fit's place: unless it would flag fewer of the known blocks, by more than a share.

    A fit that flags nearly everything misses less, and is not to stay in force for that: by as much as the refit flags
    fewer of the known steps let pass, it may flag fewer of the blocks. Nor is one refused that misses no more of them
    than it promises.

    A catastrophe that happened is not given up as an outlier: whichever fit is in force flags it, unless that would
    flag more of the known steps let pass than the cap allows.

    What is known has been learnt from, each label by all members of the new fit but one: of fresh blocks more are
    missed than is told here, and of fresh steps more are flagged. So fits are compared and a collapse is met, but
    nothing is promised; what is promised is told from unseen blocks (`CalibratedBlockers`).

    Args:
        old: the fit in force, on the same known blocks and steps in the same order; None if there is none.
        new: the refit.
        lost: share of the known blocks by which the refit may flag fewer.
        cap: share of the known steps let pass that may be flagged for the sake of a catastrophe.
        promise: share of the known blocks that the refit may miss, whatever the old fit does.

    Raises:
        HeedError: shares outside [0, 1].
        ValueError: fits that do not speak of the same blocks and steps, dangers that are not finite with no other fit
            to fall back on.

    >>> old = Judged([0.8, 0.9, 0.7], [0.1, 0.2], threshold=0.6)
    >>> collapsed = Judged([0.9, 0.3, 0.2], [0.1, 0.2], threshold=0.8)
    >>> accept_refit(old, collapsed).reason
    'refit refused: it would flag 67% less of the known blocks'
    """
    if not (0 <= lost <= 1 and 0 <= cap <= 1):
        raise HeedError(f"lost is {lost}, cap is {cap}", "accept_refit", "give shares in [0, 1]")
    blocks, passed = np.asarray(new.positives, np.float64), np.asarray(new.negatives, np.float64)
    finite = bool(np.isfinite(blocks).all() and np.isfinite(passed).all() and math.isfinite(new.threshold))
    if old is None and not finite:
        raise ValueError("the dangers of a first fit are finite numbers")
    value = _flagging_catastrophes(new, passed, cap) if finite else new.threshold
    decision = RefitDecision(True, value, _share(blocks < value), _share(passed >= value), "accepted as it is")
    if value < new.threshold:
        decision = replace(decision, reason=f"threshold lowered from {new.threshold:.3g} to flag all catastrophes")
    if old is None:
        return decision
    before, let_pass = _finite(old.positives), _finite(old.negatives)
    if before.shape != blocks.shape or let_pass.shape != passed.shape:
        raise ValueError("the old and the new fit are to judge the same known blocks and steps")
    kept = _flagging_catastrophes(old, let_pass, cap)
    stays = RefitDecision(False, kept, _share(before < kept), _share(let_pass >= kept), "")
    if not finite:
        return replace(stays, reason="refit refused: its dangers are not finite")
    fewer, gained = decision.missed - stays.missed, max(0.0, stays.flagged - decision.flagged)
    return (
        decision
        if fewer <= lost + gained or decision.missed <= promise
        else replace(stays, reason=f"refit refused: it would flag {fewer:.0%} less of the known blocks")
    )


def _flagging_catastrophes(fit: Judged, passed: NDArray[np.float64], cap: float) -> float:
    """The threshold, or a lower one that flags all catastrophes, if that flags no more of the rest than the cap."""
    catastrophes = np.asarray(fit.catastrophes, np.float64)
    catastrophes = catastrophes[np.isfinite(catastrophes)]
    if not len(catastrophes) or catastrophes.min() >= fit.threshold:
        return fit.threshold
    lower = float(catastrophes.min())
    return lower if _share(passed >= lower) <= cap else fit.threshold


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores as float64 [n], or what is wrong with them."""
    result = np.asarray(scores, dtype=np.float64)
    if result.ndim != 1 or not np.isfinite(result).all():
        raise ValueError("scores are finite numbers, [n]")
    return result
