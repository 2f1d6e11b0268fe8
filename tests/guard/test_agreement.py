"""Misses and needless blocks against an overseer's verdicts, counted by hand."""

import numpy as np
import pytest
from scipy.stats import binom

from heed.guard.agreement import Agreement, at_least, at_most
from heed.guard.decisions import Decision, Step
from heed.oversight.overseers.base import Verdict


def told(agreement, said, episode=0, ends="terminated", stream=0):
    """Steps of one episode: the overseer's word and the guard's, as (B)lock or (A)llow, "!" for a catastrophe."""
    names = {"B": "block", "A": "allow"}
    for number, (overseer, guard) in enumerate(said):
        verdict = None if guard == "-" else Verdict(overseer == "B")
        beside = names.get(guard)
        decision = Decision(0, 0, names.get(overseer, "allow"), "policy", verdict=verdict, beside=beside)
        nothing, last = np.zeros(1, np.float32), number == len(said) - 1
        parts = (nothing, nothing, nothing, decision, nothing, 0.0, last and ends == "terminated")
        cut = last and ends == "truncated"
        step = Step(*parts, cut, overseer == "!", {}, stream, episode=episode, timestep=number + 1)
        run = agreement.add(step)
        begins = number + 1
        while begins > 1 and said[begins - 2][0] == "B" and said[begins - 2][1] != "-":
            begins -= 1
        assert run == ((stream, episode, begins) if overseer == "B" and guard != "-" else None)
    return agreement


def counts(agreement):
    return agreement.blocks, agreement.misses, agreement.passes, agreement.needless


def test_a_block_that_the_guard_would_have_let_pass_is_missed():
    assert counts(told(Agreement(2), ["AA", "BA", "AA", "BB", "AA"])) == (2, 1.0, 3, 0)


def test_a_catastrophe_that_the_overseer_let_happen_is_no_disagreement_with_them():
    assert counts(told(Agreement(2), ["AA", "BB", "AA", "!A"])) == (1, 0.0, 2, 0)
    assert counts(told(Agreement(2), ["AB", "AB", "!B"])) == (0, 0.0, 2, 0)  # nor was a block before it needless


def test_blocks_on_end_count_as_one_of_which_a_share_is_missed():
    assert counts(told(Agreement(2), ["BA", "BB", "BB", "BB"])) == (1, 0.25, 0, 0)
    assert counts(told(Agreement(2), ["BA", "AA", "BA", "BB"])) == (2, 1.5, 1, 0)
    agreement = told(Agreement(2), ["BA"])
    assert counts(told(agreement, ["BA"], episode=1)) == (2, 2.0, 0, 0)  # another episode's is another block


def test_a_block_of_the_guard_is_needless_where_the_overseer_sees_nothing_within_the_horizon():
    assert counts(told(Agreement(2), ["AB", "AA", "AA", "AA"])) == (0, 0, 4, 1)
    assert counts(told(Agreement(2), ["AB", "AA", "BB", "AA"])) == (1, 0, 3, 0)  # it came two steps earlier
    assert counts(told(Agreement(2), ["AB", "AA", "AA", "BB"])) == (1, 0, 3, 1)  # three steps are too early
    assert counts(told(Agreement(9), ["AB", "AA"])) == (0, 0, 2, 1)  # the episode ended well
    assert counts(told(Agreement(9), ["AB", "AA"], ends="truncated")) == (0, 0, 2, 0)  # nobody knows


def test_streams_are_kept_apart():
    agreement = told(Agreement(9), ["AB", "AA"], ends="", stream=0)
    told(agreement, ["BB"], stream=1, episode=1)  # a block elsewhere excuses nothing
    assert counts(told(agreement, ["AA"], stream=0)) == (1, 0, 3, 1)


def test_steps_that_were_not_judged_by_both_count_for_nothing_but_for_what_they_show():
    assert counts(told(Agreement(2), ["AB", "A-", "A-", "A-"])) == (0, 0, 1, 1)
    assert counts(told(Agreement(5), ["AB", "A-", "!-"])) == (0, 0, 1, 0)


def test_what_was_seen_since_it_was_marked_is_enough_to_be_believed_but_what_was_before_is_not_forgotten():
    agreement = Agreement(horizon=10, blocks=20, misses=18, passes=400, needless=300)
    assert not agreement.allows(0.3, 0.1)
    agreement.mark()
    assert not agreement.allows(0.3, 0.1)
    agreement.blocks, agreement.passes = 29, 700
    assert at_most(0, 9) < 0.3 < at_most(0, 8) and at_most(0, 30) < 0.1
    assert agreement.allows(0.3, 0.1) and not agreement.allows(0.28, 0.1) and not agreement.allows(0.3, 0.09)
    assert agreement.refutes(0.3, 0.1)
    agreement.forget_refuted(0.3, 0.1)
    assert counts(agreement) == (0, 0, 0, 0) and not agreement.allows(0.3, 0.1)


@pytest.mark.parametrize(("events", "trials"), [(0, 20), (3, 20), (19, 20), (20, 20)])
def test_the_bounds_are_clopper_pearsons(events, trials):
    upper, lower = at_most(events, trials), at_least(events, trials)
    assert events == trials or binom.cdf(events, trials, upper) == pytest.approx(0.05)
    assert events == 0 or binom.sf(events - 1, trials, lower) == pytest.approx(0.05)
    assert lower <= events / trials <= upper


def test_agreement_is_allowed_refuted_or_open():
    agreement = Agreement(2)
    assert not agreement.allows(0.35, 0.15) and not agreement.refutes(0.35, 0.15)  # nothing is known
    agreement.blocks, agreement.passes = 8, 100
    assert agreement.allows(0.35, 0.15) and not agreement.allows(0.3, 0.15) and not agreement.allows(0.35, 0.02)
    agreement.misses = 6.0
    assert agreement.refutes(0.35, 0.15) and not agreement.allows(0.35, 0.15)
    agreement.misses, agreement.needless = 0.0, 30
    assert agreement.refutes(0.35, 0.15)
    agreement.forget_refuted(0.35, 0.15)
    assert counts(agreement) == (8, 0.0, 0, 0)
    agreement.misses, agreement.passes = 6.0, 100
    agreement.forget_refuted(0.35, 0.15)
    assert counts(agreement) == (0, 0.0, 100, 0)
    agreement.blocks = 8
    assert agreement.missed_steps_bound == pytest.approx(1 - 0.05 ** (1 / 108))


def test_where_little_danger_is_met_needless_blocks_are_bounded_and_misses_as_far_as_they_were_seen():
    agreement = Agreement(20)
    assert not agreement.seems(0.35, 0.15, 5)  # nothing is known
    agreement.passes, agreement.needless = 174, 13  # as it was met: 7.5%, and at most 39%
    assert not agreement.seems(0.35, 0.15, 5)
    agreement.passes, agreement.needless = 400, 0
    assert agreement.seems(0.35, 0.15, 5) and not agreement.seems(0.35, 0.1, 5)
    agreement.blocks, agreement.misses = 10, 4.0
    assert not agreement.seems(0.35, 0.15, 5) and agreement.seems(0.4, 0.15, 5)
    agreement.misses = 9.0
    agreement.forget_refuted(0.35, 0.15)
    assert agreement.refuted and counts(agreement) == (0, 0.0, 400, 0)
    assert not agreement.seems(0.35, 0.15, 5)  # what missed so much is not forgiven because nothing is met any more
    agreement.blocks = 5
    assert agreement.seems(0.35, 0.15, 5)
