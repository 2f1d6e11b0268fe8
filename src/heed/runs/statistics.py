"""Intervals of rates, shares and means, and rank correlation: the only place that computes them (docs/methods.md).

It lies below every room that tells of a run, so that a page, a table and a command state the same interval of the same
numbers. A cell is what ``compare.json`` and ``front.json`` hold of a number: ``{"mean", "low", "high", "n"}``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

_TAIL = 0.025
"""Probability beyond each end of a 95% interval."""
_DRAWS = 2000
"""Of a bootstrap."""


def poisson_bounds(events: int) -> tuple[float, float]:
    """The exact 95% interval of an expected count after so many events (Garwood 1936).

    Args:
        events: counted, >= 0.

    Returns:
        ``chi2(.025; 2 events) / 2`` (0 after none) and ``chi2(.975; 2 events + 2) / 2``.

    >>> low, high = poisson_bounds(0)
    >>> low, round(high, 3)
    (0.0, 3.689)
    """
    low = float(stats.chi2.ppf(_TAIL, 2 * events) / 2) if events else 0.0
    return low, float(stats.chi2.ppf(1 - _TAIL, 2 * events + 2) / 2)


def binomial_bounds(hits: int, of: int) -> tuple[float, float]:
    """The exact 95% interval of a probability after ``hits`` in ``of`` trials (Clopper and Pearson 1934).

    Args:
        hits: counted, from 0 to ``of``.
        of: trials, at least 1.

    >>> low, high = binomial_bounds(0, 10)
    >>> low, round(high, 4)
    (0.0, 0.3085)
    """
    found = stats.binomtest(hits, of).proportion_ci(1 - 2 * _TAIL, method="exact")
    return float(found.low), float(found.high)


def rate_interval(events: int, exposure: float) -> tuple[float, float, float] | None:
    """A rate with its exact 95% Poisson interval; None without exposure.

    Args:
        events: counted.
        exposure: over how much.

    Returns:
        The rate, and the ends of its interval.

    >>> [round(value, 3) for value in rate_interval(4, 2.0)]
    [2.0, 0.545, 5.121]
    """
    if exposure <= 0:
        return None
    low, high = poisson_bounds(events)
    return events / exposure, low / exposure, high / exposure


def rate_cell(events: int, exposure: float, runs: int = 1) -> dict[str, Any]:
    """A rate with its exact 95% Poisson interval, as a cell; NaN without exposure.

    Args:
        events: counted.
        exposure: over how much.
        runs: in how many runs.

    >>> rate_cell(0, 1.0)["high"], rate_cell(4, 2.0)["mean"]
    (3.689, 2.0)
    """
    found = rate_interval(events, exposure)
    return _unknown() if found is None else _cell(*found, runs)


def share_cell(hits: int, of: int, runs: int = 1) -> dict[str, Any]:
    """A share with its exact 95% binomial interval, as a cell; NaN of nothing.

    Args:
        hits: counted.
        of: out of how many.
        runs: in how many runs.

    >>> share_cell(0, 10)["high"], share_cell(5, 10)["mean"]
    (0.308, 0.5)
    """
    return _cell(hits / of, *binomial_bounds(hits, of), runs) if of else _unknown()


def mean_cell(values: Sequence[float]) -> dict[str, Any]:
    """A mean over seeds with its 95% t-interval, as a cell; one value is its own interval.

    Args:
        values: one of each seed.

    >>> mean_cell([1.0, 2.0, 3.0])
    {'mean': 2.0, 'low': -0.484, 'high': 4.484, 'n': 3}
    """
    mean, low, high = mean_interval(values)
    return _cell(mean, low, high, len(values)) if len(values) > 1 else {"mean": mean, "low": mean, "high": mean, "n": 1}


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """A mean with the ends of its 95% t-interval; one value is its own.

    Args:
        values: [n], at least one.

    >>> [round(value, 3) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    found = np.asarray(values, dtype=float)
    mean, n = float(found.mean()), len(found)
    half = float(stats.t.ppf(1 - _TAIL, n - 1) * found.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return mean, mean - half, mean + half


def interquartile_cell(values: Sequence[float]) -> dict[str, Any]:
    """The mean of the middle half of the seeds with its 95% bootstrap interval, as a cell.

    One run in ten that falls moves a mean by a tenth of its fall, and this not at all: beside a mean it tells what is
    usual (Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"). Seeds are drawn
    anew 2,000 times, by percentiles, with a seed of its own.

    Args:
        values: one of each seed.

    >>> interquartile_cell([1.0, 2.0, 3.0, 90.0])["mean"]
    2.5
    """
    found = np.asarray(values, dtype=float)
    mean, n = float(stats.trim_mean(found, 0.25)), len(found)
    if n < 2 or not np.isfinite(found).all():
        return {"mean": mean, "low": mean, "high": mean, "n": n}
    drawn = found[np.random.default_rng(0).integers(n, size=(_DRAWS, n))]
    low, high = np.quantile(stats.trim_mean(drawn, 0.25, axis=1), [_TAIL, 1 - _TAIL])
    return _cell(mean, float(low), float(high), n)


def improvement_cell(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """How probable it is that a run of ours is better than one of theirs, with its 95% bootstrap interval, as a cell.

    The share of all pairs of seeds in which ours is larger, ties by half (Mann and Whitney's statistic; Agarwal et al.
    2021). Seeds of either are drawn anew 2,000 times.

    Args:
        ours: one value of each seed; larger is better.
        theirs: likewise.

    >>> improvement_cell([2.0, 3.0], [1.0, 2.0])["mean"]
    0.875
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    better = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    mean, n = float(better.mean()), min(len(a), len(b))
    if n < 2:
        return {"mean": mean, "low": mean, "high": mean, "n": n}
    generator = np.random.default_rng(0)
    rows, columns = (generator.integers(size, size=(_DRAWS, size)) for size in (len(a), len(b)))
    drawn = better[rows[:, :, None], columns[:, None, :]].mean((1, 2))
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    return _cell(mean, float(low), float(high), n)


def crossed_cell(values: ArrayLike) -> dict[str, Any]:
    """A mean over seeds and prompts with its 95% t-interval, as a cell; of one seed it has none, and is its own.

    Other seeds and other prompts might have been taken, so the mean's variance is that of the seeds' means over their
    number and that of the prompts' means over theirs, what both share counted twice: a little wide. The degrees of
    freedom are Satterthwaite's (1946), so that three seeds that differ count as three. A plain interval over all values
    would take one seed's prompts for independent of another's, and a bootstrap of three seeds ends at the outer two.

    Args:
        values: [seeds, prompts]; NaN where nothing was measured.

    >>> crossed_cell([[1.0, 1.0], [1.0, 1.0]])
    {'mean': 1.0, 'low': 1.0, 'high': 1.0, 'n': 2}
    """
    found = np.asarray(values, dtype=float)
    if np.isnan(found).all():
        return _unknown()
    found = found[~np.isnan(found).all(1)][:, ~np.isnan(found).all(0)]
    mean, seeds = float(np.nanmean(found)), len(found)
    if min(found.shape) < 2:
        return {"mean": mean, "low": mean, "high": mean, "n": seeds}
    means = [np.nanmean(found, axis=axis) for axis in (1, 0)]
    parts = [each.var(ddof=1) / len(each) for each in means]
    if not sum(parts):
        return _cell(mean, mean, mean, seeds)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, means, strict=True))
    half = float(stats.t.ppf(1 - _TAIL, freedom) * np.sqrt(sum(parts)))
    return _cell(mean, mean - half, mean + half, seeds)


def worst_cell(values: Sequence[float], runs: int) -> dict[str, Any]:
    """The largest of several values, which has no interval, as a cell; NaN of none.

    >>> worst_cell([0.01, 0.04], runs=2)
    {'mean': 0.04, 'low': 0.04, 'high': 0.04, 'n': 2}
    """
    worst = max(values, default=math.nan)
    return {"mean": worst, "low": worst, "high": worst, "n": runs}


def quartiles(values: ArrayLike) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of several values, those that are NaN left out; NaN of none.

    Args:
        values: [n], one of each seed. Between two of them the quartiles are interpolated.

    >>> quartiles([4.0, 1.0, 3.0, 2.0]), quartiles([7.0])
    ((1.75, 2.5, 3.25), (7.0, 7.0, 7.0))
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return math.nan, math.nan, math.nan
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75])
    return float(low), float(median), float(high)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation of two series [n]; None where one of them is constant.

    >>> rank_correlation([0.1, 0.5, 0.9], [1.0, 20.0, 21.0]), rank_correlation([1, 1], [0, 1])
    (1.0, None)
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(stats.spearmanr(one, other).statistic)


def _cell(mean: float, low: float, high: float, n: int) -> dict[str, Any]:
    """A cell whose ends are rounded to thousandths, as the tables have told them from the first."""
    return {"mean": mean, "low": round(low, 3), "high": round(high, 3), "n": n}


def _unknown() -> dict[str, Any]:
    return {"mean": math.nan, "low": math.nan, "high": math.nan, "n": 0}
