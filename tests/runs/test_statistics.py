"""Intervals and correlations against their closed forms and their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, poisson

from heed.runs.statistics import (
    binomial_bounds,
    crossed_cell,
    improvement_cell,
    interquartile_cell,
    mean_cell,
    poisson_bounds,
    rank_correlation,
    rate_cell,
    rate_interval,
    share_cell,
    worst_cell,
)


def test_after_no_event_the_upper_end_is_minus_log_of_the_tail():
    assert poisson_bounds(0) == pytest.approx((0.0, -math.log(0.025)), rel=1e-12)


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_at_each_end_of_the_poisson_interval_what_was_counted_has_the_tails_probability(events):
    low, high = poisson_bounds(events)
    assert low < events < high
    assert poisson.sf(events - 1, low) == pytest.approx(0.025, rel=1e-6)
    assert poisson.cdf(events, high) == pytest.approx(0.025, rel=1e-6)


def test_the_poisson_interval_is_that_of_the_tables():
    for events, low, high in ((1, 0.0253, 5.5716), (5, 1.6235, 11.6683)):  # Garwood 1936
        assert poisson_bounds(events) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("of", [1, 9, 200])
def test_a_share_of_none_or_all_has_its_closed_form(of):
    assert binomial_bounds(0, of) == pytest.approx((0.0, 1 - 0.025 ** (1 / of)), rel=1e-9)
    assert binomial_bounds(of, of) == pytest.approx((0.025 ** (1 / of), 1.0), rel=1e-9)


@settings(deadline=None)
@given(st.integers(2, 300).flatmap(lambda of: st.tuples(st.integers(1, of - 1), st.just(of))))
def test_at_each_end_of_the_binomial_interval_what_was_counted_has_the_tails_probability(counted):
    hits, of = counted
    low, high = binomial_bounds(hits, of)
    assert low < hits / of < high
    assert binom.sf(hits - 1, of, low) == pytest.approx(0.025, rel=1e-6)
    assert binom.cdf(hits, of, high) == pytest.approx(0.025, rel=1e-6)


def test_a_rate_is_over_its_exposure_and_rounded_only_in_a_cell():
    low, high = poisson_bounds(4)
    assert rate_interval(4, 0.3) == (4 / 0.3, low / 0.3, high / 0.3)
    assert rate_cell(4, 0.3, 5) == {"mean": 4 / 0.3, "low": round(low / 0.3, 3), "high": round(high / 0.3, 3), "n": 5}


def test_without_exposure_or_trials_there_is_no_number():
    assert rate_interval(0, 0.0) is None
    for cell in (rate_cell(0, 0.0, 5), share_cell(0, 0, 5)):
        assert cell.pop("n") == 0
        assert all(math.isnan(value) for value in cell.values())


def test_a_share_cell_holds_the_exact_interval():
    low, high = binomial_bounds(3, 20)
    assert share_cell(3, 20, 2) == {"mean": 0.15, "low": round(low, 3), "high": round(high, 3), "n": 2}


def test_the_t_interval_has_its_closed_forms_for_two_and_three_seeds():
    # One degree of freedom is Cauchy's distribution; with two the quantile is (2p - 1) / sqrt(2 p (1 - p)).
    for values, quantile in (
        ([1.0, 4.0], math.tan(math.pi * 0.475)),
        ([1.0, 2.0, 6.0], 0.95 / math.sqrt(2 * 0.975 * 0.025)),
    ):
        half = quantile * np.std(values, ddof=1) / math.sqrt(len(values))
        cell = mean_cell(values)
        assert cell["mean"] == pytest.approx(np.mean(values)) and cell["n"] == len(values)
        assert cell["low"] == pytest.approx(np.mean(values) - half, abs=5.1e-4)
        assert cell["high"] == pytest.approx(np.mean(values) + half, abs=5.1e-4)


def test_one_seed_has_no_interval_and_equal_seeds_a_narrow_one():
    assert mean_cell([3.5]) == {"mean": 3.5, "low": 3.5, "high": 3.5, "n": 1}
    assert mean_cell([2.0, 2.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0, "n": 2}


def test_the_worst_has_no_interval():
    assert worst_cell([0.2, 0.5, 0.1], 3) == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 3}
    assert math.isnan(worst_cell([], 3)["mean"])


@settings(deadline=None)
@given(st.permutations(range(7)))
def test_without_ties_the_rank_correlation_is_spearmans_formula(order):
    distances = sum((place - rank) ** 2 for place, rank in enumerate(order))
    formula = 1 - 6 * distances / (7 * (7**2 - 1))
    assert rank_correlation(range(7), [math.exp(rank) for rank in order]) == pytest.approx(formula)


def test_a_constant_correlates_with_nothing():
    assert rank_correlation([1.0, 1.0], [0.0, 1.0]) is None
    assert rank_correlation([0.0, 1.0], [1.0, 1.0]) is None


def test_a_crossed_interval_is_as_wide_as_seeds_and_prompts_make_it():
    generator = np.random.default_rng(0)
    prompts = generator.normal(size=400)
    alike = crossed_cell(np.stack([prompts, prompts, prompts]))
    assert alike["mean"] == pytest.approx(prompts.mean())
    assert alike["high"] - alike["low"] == pytest.approx(
        2 * 1.966 * prompts.std(ddof=1) / 20, abs=2e-3
    )  # no narrower for seeds
    seeds = np.array([[-3.0], [0.0], [3.0]])
    assert crossed_cell(seeds + np.zeros((1, 400)))["high"] == pytest.approx(4.303 * 3 / np.sqrt(3), abs=2e-3)
    assert crossed_cell([[1.0, np.nan], [3.0, np.nan]])["mean"] == 2.0
    assert crossed_cell(prompts[None])["low"] == crossed_cell(prompts[None])["high"]  # one seed tells of none
    assert math.isnan(crossed_cell([[np.nan, np.nan]])["mean"])


@pytest.mark.parametrize(("by_seed", "by_prompt", "rest"), [(1.0, 0.3, 0.3), (0.3, 1.0, 1.0), (0.0, 0.3, 1.0)])
def test_crossed_intervals_hold_what_they_promise(by_seed, by_prompt, rest):
    generator, held = np.random.default_rng(1), 0
    for _ in range(400):
        seeds, prompts = generator.normal(0, by_seed, (3, 1)), generator.normal(0, by_prompt, (1, 80))
        cell = crossed_cell(seeds + prompts + generator.normal(0, rest, (3, 80)))
        held += cell["low"] <= 0 <= cell["high"]
    assert held / 400 > 0.9  # a bootstrap over both held 75% of the first kind


def test_the_interquartile_mean_leaves_a_run_that_fell_out_and_its_interval_does_not():
    usual = [0.60, 0.61, 0.62, 0.63]
    cell = interquartile_cell([*usual, -8.0])  # of five, trim_mean leaves out one at either end
    assert cell["mean"] == pytest.approx(np.mean([0.60, 0.61, 0.62])) and cell["n"] == 5
    assert cell["low"] < 0.4 and cell["high"] <= 0.63
    assert interquartile_cell([0.5]) == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1}


def test_the_interquartile_interval_holds_the_middle_of_its_distribution_as_often_as_it_says():
    generator = np.random.default_rng(3)
    cells = [interquartile_cell(generator.normal(size=12)) for _ in range(200)]
    assert (
        0.86 < np.mean([cell["low"] <= 0 <= cell["high"] for cell in cells]) <= 1
    )  # a bootstrap of 12 is a little narrow


def test_the_probability_of_improvement_is_the_share_of_pairs():
    ours, theirs = [3.0, 1.0, 2.0], [2.0, 0.0]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs]
    cell, other = improvement_cell(ours, theirs), improvement_cell(theirs, ours)
    assert cell["mean"] == pytest.approx(np.mean(pairs)) and cell["mean"] + other["mean"] == pytest.approx(1.0)
    assert cell["low"] <= cell["mean"] <= cell["high"]
    certain = improvement_cell([5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    assert (certain["low"], certain["mean"], certain["high"]) == (1.0, 1.0, 1.0)
