"""Where danger begins: HIRL's vote, thresholds by conformal calibration, and which refits to believe."""

from __future__ import annotations

import math
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


def promised(value: float, scores: ArrayLike) -> Threshold:
    """A threshold that something else has set, with what held-out blocks promise of it.

    Its rank is one more than the blocks that it misses: the threshold's place, had calibration chosen it. Chosen with
    an eye on other rows it is no longer exchangeable with them, so that the promise is an estimate.

    >>> print(promised(0.5, [0.9, 0.2, 0.6, 0.8]))
    danger >= 0.5: misses at most 40.0% of blocks like the 4 held out (the smallest promise from so many is 20.0%);
    with 95% confidence at most 75.1%
    """
    danger = _finite(scores)
    rank = int((danger < value).sum()) + 1
    if rank > len(danger):
        return Threshold(value)
    return Threshold(value, rank / (len(danger) + 1), len(danger), rank)


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


def accept_refit(old: Judged | None, new: Judged, lost: float = 0.02, cap: float = 0.03) -> RefitDecision:
    """A refit is accepted only if it still flags what the old one flagged, without flagging everything.

    Two faults are met, both seen in practice. Thresholds drift upwards from refit to refit and the policy goes through
    the hole: the new threshold is lowered until the new fit flags what the old one flagged. One outlier among the
    blocks drags the threshold so low that everything is flagged: the new threshold is raised, though no further than
    to where that same demand still holds. Where no threshold does both, the old fit stays.

    A catastrophe that happened is not given up as an outlier: whichever fit is in force flags it, unless that would
    flag more than the cap allows.

    So, whatever comes in, the fit in force from now on misses at most a share ``lost`` of the known blocks, or as many
    as the old one did; of those that the old one flagged it misses no more than that share of all is; and it flags at
    most a share ``cap`` of the known steps let pass, or as many as the old one did. A first fit has nothing to fall
    back on and is always accepted; if it flags more than the cap, the reason says so.

    What is known has been learnt from, each label by all members of the new fit but one: of fresh blocks more are
    missed than is told here, and of fresh steps more are flagged. So fits are compared and a collapse is met, but
    nothing is promised; what is promised is told from unseen blocks (`conformal_threshold`, `promised`).

    Args:
        old: the fit in force, on the same known blocks and steps in the same order; None if there is none.
        new: the refit.
        lost: share of the known blocks that may be given up as outliers; rounded down to blocks.
        cap: share of the known steps let pass that may be flagged. A look is unsafe where one of its twenty steps is
            flagged, so that a small share of steps is a large one of looks.

    Raises:
        HeedError: shares outside [0, 1).
        ValueError: fits that do not speak of the same blocks and steps, dangers that are not finite with no other fit
            to fall back on.

    >>> old = Judged([0.8, 0.9, 0.7], [0.1, 0.2], threshold=0.6)
    >>> drifted = Judged([0.9, 0.95, 0.7], [0.1, 0.2], threshold=0.8)
    >>> accept_refit(old, drifted).threshold
    0.7
    """
    if not (0 <= lost < 1 and 0 <= cap <= 1):
        raise HeedError(f"lost is {lost}, cap is {cap}", "accept_refit", "give shares in [0, 1), and a cap in [0, 1]")
    blocks, passed = np.asarray(new.positives, np.float64), np.asarray(new.negatives, np.float64)
    given_up = _count(lost, blocks)
    if old is None:
        blocks, passed = _finite(blocks), _finite(passed)
        limit = cap
        highest = _missing(blocks, given_up)  # above it, more is lost than may be
    else:
        before, let_pass = _finite(old.positives), _finite(old.negatives)
        if before.shape != blocks.shape or let_pass.shape != passed.shape:
            raise ValueError("the old and the new fit are to judge the same known blocks and steps")
        kept = before >= old.threshold
        stays = RefitDecision(False, old.threshold, _share(~kept), _share(let_pass >= old.threshold), "")
        limit = max(cap, stays.flagged)
        lowered = _flagging_catastrophes(old, old.threshold, let_pass, limit)
        stays = replace(
            stays,
            threshold=lowered,
            missed=_share(before < lowered),
            flagged=_share(let_pass >= lowered),
        )
        if not (np.isfinite(blocks).all() and np.isfinite(passed).all() and math.isfinite(new.threshold)):
            return replace(stays, reason="refit refused: its dangers are not finite")
        highest = min(_missing(blocks, max(given_up, int((~kept).sum()))), _missing(blocks[kept], given_up))
    value = min(new.threshold, highest)
    if _share(passed >= value) > cap:
        value = max(value, min(highest, _flagging(passed, _count(cap, passed))))
    flagged = _share(passed >= value)
    if flagged > limit and old is not None:
        return replace(stays, reason=f"refit refused: to flag the known blocks it would flag {flagged:.0%} of the rest")
    value = _flagging_catastrophes(new, value, passed, limit)
    flagged = _share(passed >= value)
    if flagged > limit:
        reason = f"the first fit, though it flags {flagged:.0%} of the steps let pass"
    elif value < new.threshold:
        reason = f"threshold lowered from {new.threshold:.3g} to flag the known blocks"
    elif value > new.threshold:
        reason = (
            f"threshold raised from {new.threshold:.3g} to flag less of the steps let pass; its promise no longer holds"
        )
    else:
        reason = "accepted as it is"
    return RefitDecision(True, value, _share(blocks < value), flagged, reason)


def _flagging_catastrophes(fit: Judged, threshold: float, passed: NDArray[np.float64], limit: float) -> float:
    """The threshold, or a lower one that flags all catastrophes, if that flags no more of the rest than the limit."""
    catastrophes = np.asarray(fit.catastrophes, np.float64)
    catastrophes = catastrophes[np.isfinite(catastrophes)]
    if not len(catastrophes) or catastrophes.min() >= threshold:
        return threshold
    lower = float(catastrophes.min())
    return lower if _share(passed >= lower) <= limit else threshold


def _missing(dangers: NDArray[np.float64], count: int) -> float:
    """The highest threshold that misses at most so many of them."""
    return float(np.sort(dangers)[count]) if count < len(dangers) else math.inf


def _flagging(dangers: NDArray[np.float64], count: int) -> float:
    """The lowest float32 threshold that flags at most so many of them; fewer than all are asked for."""
    first_let_pass = np.sort(dangers)[::-1][count]
    return float(np.nextafter(np.float32(first_let_pass), np.float32(np.inf)))


def _count(share: float, of: NDArray[np.float64]) -> int:
    """A share as a whole number, rounded down, though not by the last bit of a share that is one."""
    return math.floor(share * len(of) + 1e-9)


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores as float64 [n], or what is wrong with them."""
    result = np.asarray(scores, dtype=np.float64)
    if result.ndim != 1 or not np.isfinite(result).all():
        raise ValueError("scores are finite numbers, [n]")
    return result
