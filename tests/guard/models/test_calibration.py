import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from heed.errors import HeedError
from heed.guard.models.blockers import Blockers
from heed.guard.models.calibration import (
    Judged,
    accept_refit,
    conformal_threshold,
    hirl_threshold,
    smallest_eps,
)
from heed.guard.models.config import FitConfig


def test_the_threshold_is_the_score_of_the_rank_that_split_conformal_prediction_names():
    draw = np.random.default_rng(0)
    for n in (9, 10, 19, 20, 57, 99, 100, 999):
        scores = draw.permutation(n) + 1.0  # the i-th smallest score is i
        for hundredths in range(1, 100):
            k = -((-(n + 1) * (100 - hundredths)) // 100)  # ceil((n + 1)(1 - eps)) without rounding
            if k > n:
                with pytest.raises(HeedError):
                    conformal_threshold(scores, hundredths / 100)
                continue
            kth_smallest_nonconformity = np.sort(-scores)[k - 1]
            result = conformal_threshold(scores, hundredths / 100)
            assert result.value == -kth_smallest_nonconformity
            assert (result.n, result.eps, result.rank) == (n, hundredths / 100, n + 1 - k)


@pytest.mark.parametrize(("n", "eps"), [(19, 0.05), (50, 0.1), (200, 0.05), (33, 0.2)])
def test_the_miss_rate_over_200_random_splits_keeps_its_promise_and_is_no_more_careful_than_need_be(n, eps):
    draw = np.random.default_rng(n)
    missed = []
    for _ in range(200):
        scores = draw.beta(4, 1, size=n + 4000)
        value = conformal_threshold(scores[:n], eps).value
        missed.append((scores[n:] < value).mean())
    slack = 3 * np.std(missed) / math.sqrt(200)
    assert np.mean(missed) <= eps + slack
    assert np.mean(missed) >= eps - 1 / (n + 1) - slack


def test_the_bound_with_confidence_holds_over_held_out_sets():
    draw = np.random.default_rng(1)
    thresholds = [conformal_threshold(draw.random(60), 0.1) for _ in range(4000)]
    exceeded = np.mean([threshold.value > threshold.miss_bound() for threshold in thresholds])  # P(uniform < t) = t
    assert exceeded == pytest.approx(0.05, abs=0.012)
    bound = thresholds[0].miss_bound(0.9)
    # Beta(r, n + 1 - r) at its quantile: at least r of n uniform scores lie below it with that probability.
    assert binom.sf(thresholds[0].rank - 1, 60, bound) == pytest.approx(0.9, abs=1e-6)


def test_with_ties_no_more_than_promised_is_missed():
    draw = np.random.default_rng(2)
    missed = []
    for _ in range(200):
        scores = np.round(draw.beta(4, 1, size=2050), 1)  # eleven values
        missed.append((scores[50:] < conformal_threshold(scores[:50], 0.1).value).mean())
    assert np.mean(missed) <= 0.1 + 3 * np.std(missed) / math.sqrt(200)
    assert conformal_threshold([0.7] * 30, 0.1).value == 0.7  # and what ties with the threshold is flagged


def test_too_few_blocks_say_what_they_could_promise():
    with pytest.raises(HeedError, match=r"7 held-out blocks cannot promise a miss rate of 0.05.*0.125.*0.05 needs 19"):
        conformal_threshold(np.linspace(0, 1, 7), 0.05)
    with pytest.raises(HeedError, match=r"0 held-out blocks.*smallest possible from them is 1"):
        conformal_threshold([], 0.5)
    assert conformal_threshold(np.linspace(0, 1, 19), 0.05).value == 0.0
    for n in range(1, 200):  # the smallest possible is possible, and nothing below it is
        assert conformal_threshold(np.ones(n), smallest_eps(n) + 1e-12).rank == 1
        with pytest.raises(HeedError):
            conformal_threshold(np.ones(n), smallest_eps(n) - 1e-9)


def test_scores_and_rates_that_make_no_sense_are_refused():
    for eps in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(HeedError, match="eps"):
            conformal_threshold([0.5] * 100, eps)
    with pytest.raises(ValueError, match="finite"):
        conformal_threshold([0.5, math.nan], 0.5)


def test_a_threshold_tells_its_promise_in_words():
    words = str(conformal_threshold(np.linspace(0.2, 1, 39), 0.05))
    assert "5.0%" in words
    assert "39 held out" in words
    assert "2.5%" in words
    assert "without a promise" in str(hirl_threshold())
    with pytest.raises(HeedError, match="not calibrated"):
        hirl_threshold().miss_bound()


def test_hirl_s_threshold_means_more_than_one_half_in_float32():
    near = torch.tensor([0.5 - 2**-25, 0.5, 0.5 + 2**-24])  # .5 and its neighbours
    assert near.diff().min() > 0
    assert (near >= hirl_threshold().value).tolist() == [False, False, True]


def test_learnt_blockers_keep_the_promise_on_fresh_blocks_though_all_known_ones_teach_them():
    draw = torch.Generator().manual_seed(0)
    missed = []
    for repeat in range(12):
        states = torch.rand(1500, 2, generator=draw) * 2 - 1
        noisy = states[:, 0] + 0.3 * torch.randn(1500, generator=draw) > 0.8
        blockers = Blockers(state_size=2, members=3, hidden=16, seed=repeat)
        report = blockers.fit(states[:1000], noisy[:1000], draw, FitConfig(updates=100))
        value = conformal_threshold(report.unseen[noisy[:1000]], 0.1).value
        missed.append(float((blockers.danger_of(states[1000:][noisy[1000:]]) < value).float().mean()))
    assert np.mean(missed) <= 0.1 + 2 * np.std(missed) / math.sqrt(12)


def danger(rng, count, low, high):
    return rng.uniform(low, high, count)


def test_a_refit_that_would_flag_fewer_of_the_known_blocks_is_refused():
    rng = np.random.default_rng(0)
    blocks, passed = danger(rng, 100, 0.55, 1.0), danger(rng, 1000, 0.0, 0.5)
    old, drifted = Judged(blocks, passed, threshold=0.5), Judged(blocks, passed, threshold=0.58)
    fewer = float((blocks < 0.58).mean())
    assert 0.05 < fewer < 0.1
    refused = accept_refit(old, drifted)
    assert (refused.accepted, refused.threshold, refused.missed, refused.flagged) == (False, 0.5, 0.0, 0.0)
    assert f"{fewer:.0%} less of the known blocks" in refused.reason
    accepted = accept_refit(old, drifted, lost=fewer)
    assert (accepted.accepted, accepted.threshold, accepted.missed) == (True, 0.58, fewer)
    kept_word = accept_refit(old, drifted, promise=fewer)
    assert (kept_word.accepted, kept_word.missed) == (True, fewer)
    assert accept_refit(Judged(blocks, passed, 0.58), Judged(blocks, passed, 0.58)).accepted  # no fewer than before


def test_a_fit_that_flags_nearly_everything_does_not_stay_in_force_for_missing_nothing():
    rng = np.random.default_rng(0)
    blocks, passed = danger(rng, 100, 0.3, 1.0), danger(rng, 1000, 0.0, 0.6)
    alarmed, fair = Judged(blocks, passed, threshold=0.05), Judged(blocks, passed, threshold=0.4)
    decision = accept_refit(alarmed, fair)
    assert decision.accepted and decision.missed == (blocks < 0.4).mean() > 0.1
    assert (passed >= 0.05).mean() > 0.9 > decision.flagged
    less = Judged(blocks, passed, threshold=0.8)  # 37 points fewer flagged, 58 points more missed
    assert not accept_refit(fair, less).accepted
    assert accept_refit(alarmed, less).accepted


def test_a_refit_that_no_threshold_can_save_is_refused():
    old = Judged([0.9, 0.9, 0.9], [0.1] * 10, threshold=0.5)
    confused = Judged([0.2, 0.9, 0.9], [0.3] * 10, threshold=0.6)
    decision = accept_refit(old, confused)
    assert (decision.accepted, decision.threshold) == (False, 0.5)
    diverged = Judged([math.nan, 0.9, 0.9], [0.1] * 10, threshold=0.6)
    decision = accept_refit(old, diverged)
    assert (decision.accepted, decision.threshold) == (False, 0.5)
    assert "not finite" in decision.reason
    assert not accept_refit(old, Judged([0.9] * 3, [0.1] * 10, threshold=math.nan)).accepted


def test_a_first_fit_is_accepted_as_it_is():
    rng = np.random.default_rng(2)
    blocks, passed = danger(rng, 100, 0.6, 1.0), danger(rng, 1000, 0.0, 0.5)
    plain = accept_refit(None, Judged(blocks, passed, 0.6))
    assert (plain.accepted, plain.threshold, plain.reason) == (True, 0.6, "accepted as it is")
    hopeless = accept_refit(None, Judged([0.1] * 5, [0.2] * 50, 0.1))
    assert hopeless.accepted and hopeless.flagged == 1
    with pytest.raises(ValueError, match="finite"):
        accept_refit(None, Judged([math.nan], [0.1], 0.5))


def test_whatever_comes_the_fit_in_force_misses_more_than_the_one_before_only_by_a_share_and_what_it_flags_fewer():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        count, lost = int(rng.integers(1, 80)), float(rng.choice([0.0, 0.02, 0.05]))
        in_force = None
        for _ in range(12):
            shift = rng.normal(0, 0.15)
            blocks = np.float32(np.clip(rng.beta(4, 1.5, count) + shift, 0, 1)).astype(float)
            passed = np.float32(np.clip(rng.beta(1.2, 4, 200) + shift, 0, 1)).astype(float)
            decision = accept_refit(in_force, Judged(blocks, passed, float(rng.random())), lost)
            if in_force is not None:
                before = (in_force.positives < in_force.threshold).mean()
                alarmed = (in_force.negatives >= in_force.threshold).mean()
                assert decision.missed <= before + lost + max(0.0, alarmed - decision.flagged) + 1e-12
                assert decision.accepted or decision.threshold == in_force.threshold
            if decision.accepted:
                in_force = Judged(blocks, passed, decision.threshold)
            assert decision.missed == (in_force.positives < in_force.threshold).mean()
            assert decision.flagged == (in_force.negatives >= in_force.threshold).mean()


def test_fits_of_different_known_steps_are_refused():
    with pytest.raises(ValueError, match="same known"):
        accept_refit(Judged([0.9], [0.1], 0.5), Judged([0.9, 0.8], [0.1], 0.5))
    with pytest.raises(HeedError, match="shares"):
        accept_refit(None, Judged([0.9], [0.1], 0.5), cap=1.5)


def test_a_catastrophe_that_happened_is_flagged_by_whichever_fit_is_in_force():
    """As one of a hundred known blocks it would be given up as an outlier."""
    blocks, passed = [0.9] * 100 + [0.06], [0.01] * 200
    old = Judged([0.9] * 100 + [0.05], passed, 0.8, catastrophes=[0.05])
    accepted = accept_refit(old, Judged(blocks, passed, 0.8, catastrophes=[0.06]))
    assert accepted.accepted and accepted.threshold == 0.06 and accepted.missed == 0
    refused = accept_refit(old, Judged([float("nan")] * 101, passed, 0.8))
    assert not refused.accepted and refused.threshold == 0.05 and refused.missed == 0


def test_but_not_at_the_price_of_flagging_nearly_everything():
    blocks, passed = [0.9] * 100 + [0.06], [0.01] * 100 + [0.2] * 100
    result = accept_refit(None, Judged(blocks, passed, 0.8, catastrophes=[0.06]))
    assert result.threshold == 0.8 and result.flagged == 0 and result.missed == pytest.approx(1 / 101)
