"""Demonstrations are middling; comparisons err as Bradley and Terry say."""

from collections import Counter

import numpy as np
import pytest
import torch

from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    return Apothecary()


def gaps(world, rows):
    prompts = [row["prompt"] for row in rows]
    left, right = (world.gold(prompts, [row[side] for row in rows]).numpy() for side in ("left", "right"))
    return (left - right) / world.front().ranges


def test_demonstrations_are_well_formed_diverse_and_far_from_the_front(world):
    rows = world.demonstrations(4000, seeded(0))
    values = world.gold([row["prompt"] for row in rows], [row["completion"] for row in rows]).mean(0)
    assert world.well_formed([row["completion"] for row in rows]).all()
    assert values.tolist() == pytest.approx([5.0, -3.7], abs=0.25)  # a prototype's warm start
    assert len({row["completion"] for row in rows}) > 2000
    assert {row["prompt"] for row in rows} == set(world.prompts)


def test_seeds_decide_demonstrations_and_comparisons_and_no_global_state_is_touched(world):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what must not be read
    first = world.demonstrations(50, seeded(1)), world.comparisons(50, 0.2, seeded(1))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert (world.demonstrations(50, seeded(1)), world.comparisons(50, 0.2, seeded(1))) == first
    assert world.comparisons(50, 0.2, seeded(2)) != first[1]


def test_one_generator_goes_on(world):
    generator = seeded(3)
    assert world.demonstrations(20, generator) != world.demonstrations(20, generator)


def test_without_noise_the_better_reply_wins_and_small_differences_tie(world):
    rows = world.comparisons(500, 0.0, seeded(0), tie=0.05)
    for row, gap in zip(rows, gaps(world, rows), strict=True):
        for name, difference in zip(world.names, gap, strict=True):
            expected = "tie" if abs(difference) <= 0.05 else "left" if difference > 0 else "right"
            assert row["verdicts"][name] == expected
            assert row["margins"][name] == pytest.approx(abs(difference))


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_noise_follows_bradley_terry_on_each_objective(world, noise):
    rows = world.comparisons(4000, noise, seeded(4), tie=0.0)
    probability = 1 / (1 + np.exp(-gaps(world, rows) / noise))
    for column, name in enumerate(world.names):
        said_left = np.array([row["verdicts"][name] == "left" for row in rows])
        expected = probability[:, column]
        for low, high in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
            chosen = (expected >= low) & (expected < high)
            deviation = np.sqrt((expected * (1 - expected))[chosen].sum())
            assert abs((said_left - expected)[chosen].sum()) <= 4 * deviation + 1e-9


def test_ties_follow_rao_and_kupper(world):
    noise, tie = 0.5, 0.3
    rows = world.comparisons(4000, noise, seeded(5), tie=tie)
    gap = gaps(world, rows)[:, 0]
    expected = 1 / (1 + np.exp(-(gap + tie) / noise)) - 1 / (1 + np.exp(-(gap - tie) / noise))
    count = Counter(row["verdicts"]["help"] for row in rows)["tie"]
    assert abs(count - expected.sum()) <= 4 * np.sqrt((expected * (1 - expected)).sum())


def test_some_compared_replies_are_malformed_and_lose_without_noise(world):
    rows = world.comparisons(1000, 0.0, seeded(6))
    left, right = (world.well_formed([row[side] for row in rows]).numpy() for side in ("left", "right"))
    assert 0.05 < 1 - left.mean() < 0.15
    assert all(row["verdicts"]["help"] == "left" for row, a, b in zip(rows, left, right, strict=True) if a and not b)


def test_pairs_come_from_the_given_completions_of_one_prompt(world):
    first, second = world.prompts[:2]
    given = [
        {"prompt": first, "completion": "mint 1 ."},
        {"prompt": first, "completion": "mercury 3 ."},
        {"prompt": first, "completion": "mercury 3 ."},
        {"prompt": second, "completion": "sage 1 ."},
    ]
    rows = world.comparisons(40, 0.0, seeded(7), completions=given)
    assert {(row["prompt"], *sorted((row["left"], row["right"]))) for row in rows} == {
        (first, "mercury 3 .", "mint 1 .")
    }
    assert {row["verdicts"]["harmless"] == "left" for row in rows if "mint" in row["left"]} == {True}


def test_nothing_to_compare_and_negative_noise_are_refused(world):
    with pytest.raises(HeedError, match="no prompt has two different completions"):
        world.comparisons(1, 0.0, seeded(0), completions=[{"prompt": world.prompts[0], "completion": ""}])
    with pytest.raises(HeedError, match="not negative"):
        world.comparisons(1, -0.1, seeded(0))
