"""Combinations of rewards against their formulas, written out completion by completion."""

import math
import statistics

import pytest
import torch

from heed.balance import METHODS, PREFERENCE_METHODS, RewardCombination, weighting_from_name
from heed.errors import HeedError

COMBINATIONS = ("dvao", "gd2po", "gdpo", "mo-grpo")
GROUP = 4
NAN = math.nan


def some_rewards(K=3, groups=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    units = torch.tensor([1.0, 30.0, 0.2, 5.0])[:K, None]
    return (units * torch.randn(K, groups * GROUP, generator=generator)).double()


def groups_of(rewards):
    return [[row[lo : lo + GROUP].tolist() for row in rewards] for lo in range(0, rewards.shape[1], GROUP)]


def standard(values):
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return [(value - mean) / (deviation + 1e-4) for value in values]


def test_they_are_methods_like_the_others_and_follow_a_preference():
    assert set(COMBINATIONS) <= set(METHODS) and set(COMBINATIONS) <= set(PREFERENCE_METHODS)
    for name in COMBINATIONS:
        assert isinstance(weighting_from_name(name, 3), RewardCombination)


@pytest.mark.parametrize("name", ["gdpo", "mo-grpo"])
def test_each_reward_is_normalised_in_its_group_and_added(name):
    rewards = some_rewards()
    expected = [sum(column) for group in groups_of(rewards) for column in zip(*map(standard, group), strict=True)]
    method = weighting_from_name(name, 3)
    assert method.combine(rewards, GROUP).tolist() == pytest.approx(expected, rel=1e-9)
    assert method.whitened == (name == "gdpo")


def test_a_preference_weighs_what_is_added():
    rewards = some_rewards(K=2)
    expected = [
        2 * (0.9 * a + 0.1 * b) for group in groups_of(rewards) for a, b in zip(*map(standard, group), strict=True)
    ]
    assert weighting_from_name("mo-grpo", 2, preference=[0.9, 0.1]).combine(rewards, GROUP).tolist() == pytest.approx(
        expected
    )
    equal = weighting_from_name("gd2po", 2, preference=[0.5, 0.5]).combine(rewards, GROUP)
    torch.testing.assert_close(equal, weighting_from_name("gd2po", 2).combine(rewards, GROUP), equal_nan=True)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_dvao_weighs_by_the_deviation_of_each_group(power):
    rewards, expected = some_rewards(), []
    for group in groups_of(rewards):
        sizes = [statistics.stdev(values) ** power for values in group]
        each = [[size / sum(sizes) * a for a in standard(values)] for size, values in zip(sizes, group, strict=True)]
        expected += [sum(column) for column in zip(*each, strict=True)]
    found = weighting_from_name("dvao", 3, power=power).combine(rewards, GROUP)
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_what_a_group_agrees_on_leaves_dvao_the_other_reward():
    rewards = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    found = weighting_from_name("dvao", 2).combine(rewards, GROUP)
    torch.testing.assert_close(found, torch.tensor(standard([0.0, 1.0, 2.0, 3.0])))
    nothing = weighting_from_name("dvao", 2).combine(torch.ones(2, 4), GROUP)
    assert nothing.tolist() == [0.0] * 4


@pytest.mark.parametrize("agreement", [1.0, 0.8])
def test_gd2po_leaves_out_what_the_objectives_disagree_on(agreement):
    rewards, expected = some_rewards(K=3, groups=12), []
    for group in groups_of(rewards):
        columns = list(zip(*map(standard, group), strict=True))
        kept = [
            not (min(column) < 0 < max(column) and abs(sum(column)) < agreement * sum(map(abs, column)))
            for column in columns
        ]
        share = sum(kept) / GROUP
        expected += [share * sum(column) if keep else NAN for column, keep in zip(columns, kept, strict=True)]
    found = weighting_from_name("gd2po", 3, agreement=agreement).combine(rewards, GROUP)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    assert 0.1 < float(found.isnan().double().mean()) < 0.9  # both kinds are there


@pytest.mark.parametrize("name", COMBINATIONS)
def test_what_was_not_scored_counts_for_nothing(name):
    rewards = some_rewards(K=2, groups=1)
    rewards[0, 0] = NAN
    rewards[:, 3] = NAN
    first = [0.0, *standard(rewards[0, 1:3].tolist())]  # of what each objective scored in the group
    second = standard(rewards[1, :3].tolist())
    if name == "dvao":
        sizes = statistics.stdev(rewards[0, 1:3].tolist()), statistics.stdev(rewards[1, :3].tolist())
        first, second = (
            [size / sum(sizes) * a for a in each] for size, each in zip(sizes, (first, second), strict=True)
        )
    expected = [a + b for a, b in zip(first, second, strict=True)] + [NAN]
    if name == "gd2po":
        kept = [not min(a, b) < 0 < max(a, b) for a, b in zip(first, second, strict=True)]
        share = sum(kept) / GROUP
        expected = [share * total if keep else NAN for total, keep in zip(expected, [*kept, False], strict=True)]
    found = weighting_from_name(name, 2).combine(rewards, GROUP)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9, equal_nan=True)


def test_they_weigh_one_gradient_and_refuse_several():
    method = weighting_from_name("gdpo", 2)
    assert method(torch.tensor([[3.0]])).tolist() == [1.0]
    with pytest.raises(HeedError, match="one gradient"):
        method(torch.eye(2))


def test_there_are_no_weights_to_smooth():
    with pytest.raises(HeedError, match="no weights to smooth"):
        weighting_from_name("cr-mogm:gdpo", 2)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("gdpo", {"preference": [0.5, 0.6]}, "sums to 1.1"),
        ("mo-grpo", {"preference": [1.0]}, "1 weights for 2"),
        ("gd2po", {"agreement": 0.0}, "agreement"),
        ("dvao", {"power": -1.0}, "power"),
    ],
)
def test_settings_out_of_their_range_are_refused(name, settings, says):
    with pytest.raises(HeedError, match=says):
        weighting_from_name(name, 2, **settings)
