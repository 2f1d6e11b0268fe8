"""MODPO: the gradient of the loss that the paper writes, and where it comes to rest."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from heed.balance import PairLoss, weighting_from_name
from heed.errors import HeedError

GROUP, BETA = 3, 0.2
PREFERENCE = [0.5, 0.2, 0.3]


def some_pairs():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(3, 4 * GROUP, generator=generator).double(), torch.randn(4 * GROUP, generator=generator).double()


def paper_loss(rewards, log_ratio, judged, preference):
    """The mean over what a completion is paired with, summed, of the loss in expectation over the judge's verdict."""
    total = torch.zeros((), dtype=torch.float64)
    for first in range(0, rewards.shape[1], GROUP):
        for i in range(first, first + GROUP):
            for j in range(i + 1, first + GROUP):
                wins = 1 / (1 + math.exp(float(rewards[judged, j] - rewards[judged, i])))
                margin = sum(
                    preference[k] * float(rewards[k, i] - rewards[k, j]) for k in range(len(preference)) if k != judged
                )
                z = (BETA * (log_ratio[i] - log_ratio[j]) - margin) / preference[judged]
                total = total - (wins * logsigmoid(z) + (1 - wins) * logsigmoid(-z)) / (GROUP - 1)
    return total


@pytest.mark.parametrize("judged", [0, 2])
def test_the_coefficients_are_the_gradient_of_the_paper_s_loss(judged):
    rewards, log_ratio = some_pairs()
    log_ratio.requires_grad_()
    (gradient,) = torch.autograd.grad(paper_loss(rewards, log_ratio, judged, PREFERENCE), log_ratio)
    method = weighting_from_name("modpo", 3, preference=PREFERENCE, judged=str(judged))
    found = method.coefficients(rewards, log_ratio.detach(), BETA, GROUP)
    torch.testing.assert_close(found, -gradient * PREFERENCE[judged] / BETA, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("judged", ["0", "1", "2"])
def test_it_rests_where_the_weighted_sum_less_the_kl_is_largest_whichever_objective_is_judged(judged):
    rewards, _ = some_pairs()
    weighted = sum(w * row for w, row in zip(PREFERENCE, rewards, strict=True))
    constants = torch.arange(4).repeat_interleave(GROUP)
    method = weighting_from_name("modpo", 3, preference=PREFERENCE, judged=judged)
    assert float(method.coefficients(rewards, weighted / BETA + constants, BETA, GROUP).abs().max()) < 1e-12
    towards = method.coefficients(rewards, torch.zeros(4 * GROUP).double(), BETA, GROUP)
    for prompt in range(4):
        rows = slice(prompt * GROUP, (prompt + 1) * GROUP)
        assert float(towards[rows] @ weighted[rows]) > 0  # from the reference it pulls uphill


def test_what_was_not_scored_is_in_no_pair():
    rewards, log_ratio = some_pairs()
    rewards[1, 4] = math.nan
    rewards[0, 6:9] = math.nan
    method = weighting_from_name("modpo", 3, preference=PREFERENCE)
    found = method.coefficients(rewards, log_ratio, BETA, GROUP)
    assert found[4] == 0 and found[6:9].tolist() == [0.0] * 3 and bool(found.isfinite().all())
    pair, own = rewards[:, [3, 5]], log_ratio[[3, 5]]
    torch.testing.assert_close(found[[3, 5]], method.coefficients(pair, own, BETA, 2))


def test_far_from_its_rest_it_pulls_no_harder_than_one():
    method = weighting_from_name("modpo", 2)
    found = method.coefficients(torch.tensor([[12.0, -100.0], [-0.2, -10.0]]), torch.zeros(2), BETA, 2)
    pull = 1 - 1 / (1 + math.exp(9.8))
    assert found.tolist() == pytest.approx([pull, -pull], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"preference": [0.0, 1.0]}, "weight 0"),
        ({"preference": [1.0, 0.0], "judged": "1"}, "weight 0"),
        ({"judged": "help"}, "no objective 'help'"),
        ({"preference": [0.5, 0.6]}, "sums to 1.1"),
    ],
)
def test_settings_that_leave_nothing_to_learn_from_are_refused(settings, says):
    with pytest.raises(HeedError, match=says):
        weighting_from_name("modpo", 2, **settings)


def test_it_stands_among_the_methods_and_weighs_one_gradient():
    method = weighting_from_name("modpo", 2)
    assert isinstance(method, PairLoss) and method(torch.tensor([[3.0]])).tolist() == [1.0]
    with pytest.raises(HeedError, match="one gradient"):
        method(torch.eye(2))
