"""Constraints by multipliers: their formula, a problem whose solution is known, and what cannot be asked."""

import math

import pytest
import torch

from heed.balance import Lagrangian, ObservesSpreads, TellsFigures, weighting_from_name
from heed.balance.methods.running.lagrangian import levels_of
from heed.balance.weightings.running.lagrangian import FURTHEST
from heed.errors import HeedError

ONES = torch.ones(3)


def test_multipliers_follow_the_gaps_in_running_deviations():
    weighting = Lagrangian({1: 2.0, 2: 0.0}, count=3, rate=0.5, proportional=0.25, average=0.5)
    values = [torch.tensor([5.0, 1.0, 1.0]), torch.tensor([5.0, 3.0, 2.0])]
    deviations = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 4.0, 4.0])]
    summed, J, s = [0.0, 0.0], None, None
    for mean, deviation in zip(values, deviations, strict=True):
        weighting.observe_spreads(mean, deviation)
        J = mean[1:] if J is None else 0.5 * (J + mean[1:])
        s = deviation[1:] if s is None else 0.5 * (s + deviation[1:])
        gaps = [float((2.0 - J[0]) / s[0]), float((0.0 - J[1]) / s[1])]
        summed = [total + 0.5 * gap for total, gap in zip(summed, gaps, strict=True)]
    first, second = (math.exp(total + 0.25 * gap) for total, gap in zip(summed, gaps, strict=True))
    weights = weighting(torch.eye(3))
    whole = 1 + first + second
    assert weights.tolist() == pytest.approx([1 / whole, first / whole, second / whole], rel=1e-5)
    told = weighting.figures(["help", "harmless", "brevity"])
    assert told == pytest.approx({"multiplier/harmless": first, "multiplier/brevity": second}, rel=1e-5)
    assert isinstance(weighting, ObservesSpreads) and isinstance(weighting, TellsFigures)


def test_objectives_without_a_level_share_what_is_left():
    weighting = Lagrangian({0: 0.0}, count=3, rate=1.0, average=0.0)
    weighting.observe_spreads(torch.tensor([-1.0, 0.0, 0.0]), ONES)
    weights = weighting(torch.eye(3))
    assert float(weights.sum()) == pytest.approx(1.0)
    assert weights[1] == weights[2] and float(weights[0]) == pytest.approx(math.e / (1 + math.e))


@pytest.mark.parametrize("proportional", [0.0, 1.0])
def test_on_a_known_problem_it_settles_on_the_level(proportional):
    """Maximise -(x - 2)^2 subject to -x^2 >= -1: x = 1, where the gradients balance at lambda = 1."""
    weighting = weighting_from_name(
        "lagrangian", 2, names=["far", "near"], constraints="near>=-1", rate=0.2, proportional=proportional, average=0.0
    )
    x, met = torch.tensor(2.0), []
    for _ in range(600):
        weighting.observe_spreads(torch.stack([-((x - 2) ** 2), -(x**2)]), torch.ones(2))
        weights = weighting(torch.eye(2))
        x = x + 0.1 * (weights[0] * -2 * (x - 2) + weights[1] * -2 * x)
        met.append(float(x))
    assert met[-1] == pytest.approx(1.0, abs=1e-3)
    assert float(weighting.logarithms[1].exp()) == pytest.approx(1.0, abs=1e-2)


def test_what_never_holds_does_not_wind_up():
    weighting = Lagrangian({1: 5.0}, count=2, rate=3.0)
    for _ in range(50):
        weighting.observe_spreads(torch.tensor([0.0, -5.0]), torch.ones(2))
    assert float(weighting.logarithms[1]) == FURTHEST


def test_what_was_not_scored_leaves_its_multiplier_alone_in_the_first_round_too():
    weighting, nothing = Lagrangian({1: 5.0}, count=2, rate=0.1), torch.full((2,), math.nan)
    weighting.observe_spreads(nothing, nothing)
    assert weighting(torch.eye(2)).tolist() == [0.5, 0.5]
    weighting.observe_spreads(torch.tensor([0.0, 4.0]), torch.tensor([1.0, 2.0]))  # no average with what was not seen
    assert float(weighting.logarithms[1]) == pytest.approx(0.1 * 0.5)
    weighting.observe_spreads(nothing, nothing)
    assert float(weighting.logarithms[1]) == pytest.approx(0.1 * 0.5)


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        (None, "no objective has a level"),
        ("help>=1 harmless>=2", "none is maximised"),
        ("kind>=1", "there is no objective 'kind'"),
        ("harmless=1", "is no constraint"),
        ("harmless>=much", "is no constraint"),
        ("harmless>=1 harmless>=2", "two levels"),
    ],
)
def test_what_cannot_be_asked_is_one_line(constraints, says):
    with pytest.raises(HeedError, match=says):
        weighting_from_name("lagrangian", 2, names=["help", "harmless"], constraints=constraints)


@pytest.mark.parametrize("settings", [{"rate": 0.0}, {"proportional": -1.0}, {"average": 1.0}])
def test_settings_out_of_their_range_are_refused(settings):
    with pytest.raises(HeedError, match=r"rate|average"):
        Lagrangian({0: 1.0}, count=2, **settings)


def test_levels_are_read_with_and_without_spaces():
    assert levels_of("a>=-1e-2  b >= 3") == {"a": -0.01, "b": 3.0}
