"""RiC: levels of rewards, what is asked for, and what is learnt from."""

import math

import pytest
import torch

from heed.balance import OneGradient, weighting_from_name
from heed.errors import HeedError

NAN = math.nan


def seen(rewards, rounds=1, offline=0):
    method = weighting_from_name("ric", len(rewards), offline=offline)
    for _ in range(rounds):
        method.see(torch.tensor(rewards))
    return method


def test_levels_run_from_the_first_rounds_low_to_the_highest_high():
    hundred = torch.arange(101.0)
    method = seen([hundred.tolist(), (-2 * hundred).tolist()])
    assert method.low.tolist() == pytest.approx([5, -190]) and method.high.tolist() == pytest.approx([95, -10])
    method.see(torch.stack([hundred + 50, -4 * hundred - 100]))
    assert method.low.tolist() == pytest.approx([5, -190]) and method.high.tolist() == pytest.approx([145, -10])
    levels = method.levels(torch.tensor([[5.0, 75.0, 145.0, 900.0, NAN], [-190.0, -100.0, -10.0, -999.0, -10.0]]))
    assert levels.tolist() == [pytest.approx([0, 0.5, 1, 1, 0]), pytest.approx([0, 0.5, 1, 0, 1])]


def test_an_objective_that_never_differed_or_was_never_scored_has_a_level_all_the_same():
    method = seen([[1.0, 1.0], [NAN, NAN]])
    assert method.levels(torch.tensor([[1.0], [NAN]])).tolist() == [[1.0], [1.0]]
    assert not method.asks
    method.see(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    assert method.asks and method.low[1] == pytest.approx(0.1)


def test_what_is_wanted_most_is_asked_for_at_its_best():
    method = weighting_from_name("ric", 3)
    assert method.wanted([0.5, 0.3, 0.2]).tolist() == pytest.approx([1, 0.6, 0.4])
    with pytest.raises(HeedError, match=r"sums to 0\.9"):
        method.wanted([0.5, 0.3, 0.1])


def test_first_all_are_learnt_from_and_then_those_that_none_of_the_group_beats():
    rewards = torch.tensor([[1.0, 2.0, 2.0, NAN, 1.0, 1.0], [5.0, 1.0, 0.0, 9.0, 1.0, 1.0]])
    method = seen(rewards.tolist(), rounds=2, offline=2)
    assert method.asks and method.kept(rewards, 3).tolist() == [True, True, True, False, True, True]
    method.see(rewards)
    # (2, 0) is beaten by (2, 1); of equals neither beats the other; across groups nothing is compared
    assert method.kept(rewards, 3).tolist() == [True, True, False, False, True, True]


def test_what_was_seen_is_part_of_its_state():
    method, fresh = seen([[0.0, 8.0], [1.0, 3.0]], rounds=3), weighting_from_name("ric", 2)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.low, method.low) and torch.equal(fresh.high, method.high) and int(fresh.rounds) == 3


def test_it_makes_one_gradient_and_refuses_what_is_no_choice():
    assert isinstance(weighting_from_name("ric", 2), OneGradient)
    with pytest.raises(HeedError, match="no choice"):
        weighting_from_name("ric", 2, preferences=1)
    with pytest.raises(HeedError, match="at least 0"):
        weighting_from_name("ric", 2, offline=-1)
