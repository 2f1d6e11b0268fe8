"""Advantages against their definitions, written as plain loops."""

import math

import pytest
import torch

from heed.align.advantages import gae, group_relative, leave_one_out

NAN = float("nan")


def defined_gae(rewards, values, lengths, gamma, lam):
    """Schulman et al. 2016, eq. 16: the discounted sum of all later temporal differences, per objective."""
    advantages = torch.zeros_like(values)
    for k in range(rewards.shape[0]):
        for b, length in enumerate(lengths):
            for t in range(length):
                for later in range(t, length):
                    following = values[k, b, later + 1] if later + 1 < length else 0.0
                    delta = rewards[k, b, later] + gamma * following - values[k, b, later]
                    advantages[k, b, t] += (gamma * lam) ** (later - t) * delta
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
def test_gae_is_the_sum_of_later_temporal_differences_and_ends_at_the_last_token(gamma, lam):
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 4, 7, 5]
    mask = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()
    rewards = torch.randn(3, 4, 7, generator=generator, dtype=torch.float64) * mask
    values = torch.randn(3, 4, 7, generator=generator, dtype=torch.float64)  # not zero off the mask: it must not matter
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    expected = defined_gae(rewards, values, lengths, gamma, lam)
    assert torch.allclose(advantages, expected, atol=1e-12)
    assert torch.allclose(returns, (expected + values) * mask, atol=1e-12)


def test_gae_with_lambda_one_is_the_return_less_the_value():
    rewards = torch.tensor([[[0.5, -1.0, 2.0]]])
    values = torch.tensor([[[3.0, 1.0, -2.0]]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), gamma=1.0, lam=1.0)
    assert advantages.tolist() == [[[1.5 - 3.0, 1.0 - 1.0, 2.0 + 2.0]]]
    assert returns.tolist() == [[[1.5, 1.0, 2.0]]]


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    found = leave_one_out(rewards, group=4)
    for k in range(3):
        for b in range(8):
            others = [rewards[k, o] for o in range(b // 4 * 4, b // 4 * 4 + 4) if o != b]
            assert math.isclose(found[k, b], rewards[k, b] - sum(others) / 3, abs_tol=1e-12)


def test_group_relative_is_the_reward_less_the_groups_mean_over_its_deviation():
    generator = torch.Generator().manual_seed(2)
    rewards = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    found, unscaled = group_relative(rewards, group=3), group_relative(rewards, group=3, scale=False)
    for k in range(2):
        for first in (0, 3):
            group = rewards[k, first : first + 3]
            assert torch.allclose(unscaled[k, first : first + 3], group - group.mean(), atol=1e-12)
            expected = (group - group.mean()) / (group.std() + 1e-4)
            assert torch.allclose(found[k, first : first + 3], expected, atol=1e-12)


def test_unscored_completions_leave_the_baseline_and_get_nothing():
    rewards = torch.tensor([[1.0, NAN, 3.0, 8.0], [NAN, NAN, 3.0, NAN], [0.0, 2.0, 4.0, 6.0]])
    assert leave_one_out(rewards, group=4)[0].tolist() == [1 - 5.5, 0, 3 - 4.5, 8 - 2.0]
    deviation = torch.tensor([1.0, 3.0, 8.0]).std() + 1e-4
    expected = torch.tensor([1.0 - 4, 0, 3 - 4, 8 - 4]) / deviation
    assert torch.allclose(group_relative(rewards, group=4)[0], expected)
    for baseline in (leave_one_out, group_relative):
        found = baseline(rewards, group=4)
        assert found[1].tolist() == [0, 0, 0, 0]  # one scored completion has nothing to be compared with
        assert torch.equal(found[2], baseline(rewards[2:], group=4)[0])  # what one objective lacks is its own affair


def test_equal_rewards_give_no_advantage():
    rewards = torch.full((2, 4), 3.7)
    assert torch.equal(group_relative(rewards, group=4), torch.zeros(2, 4))
    assert torch.allclose(leave_one_out(rewards, group=4), torch.zeros(2, 4), atol=1e-6)


@pytest.mark.parametrize("baseline", [leave_one_out, group_relative])
def test_an_objectives_advantages_do_not_depend_on_the_other_objectives(baseline):
    rewards = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    alone = torch.cat([baseline(rewards[k : k + 1], group=3) for k in range(4)])
    assert torch.equal(baseline(rewards, group=3), alone)


def test_an_objectives_gae_does_not_depend_on_the_other_objectives():
    generator = torch.Generator().manual_seed(4)
    rewards, values = torch.randn(2, 3, 2, 5, generator=generator)
    whole, _ = gae(rewards, values, torch.ones(2, 5))
    alone = torch.cat([gae(rewards[k : k + 1], values[k : k + 1], torch.ones(2, 5))[0] for k in range(3)])
    assert torch.equal(whole, alone)
