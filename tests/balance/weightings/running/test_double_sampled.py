"""MoDo and SDMGrad: their steps written out, the problems that they settle on, the Gram matrix they are meant for."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from structured_gradients import gram_of, structured

from heed.balance import min_norm_weights, unbiased_gram, weighting_from_name
from heed.balance.weightings.running.double_sampled import MoDo, SDMGrad, on_simplex
from heed.errors import HeedError


def by_quadratic_program(gram, preference, lean):
    """The simplex's point of least ``||sum (alpha + lean preference)_k g_k||^2``, by scipy's SLSQP."""
    gram, preference = gram.numpy() / float(gram.trace()), np.asarray(preference)

    def squared(alpha):
        leant = alpha + lean * preference
        return leant @ gram @ leant

    k = len(preference)
    options = {"ftol": 1e-16, "maxiter": 1000}
    limits = {"type": "eq", "fun": lambda alpha: alpha.sum() - 1}
    return minimize(squared, np.full(k, 1 / k), bounds=[(0, 1)] * k, constraints=limits, options=options).x


def test_the_nearest_point_of_the_simplex():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        values = 2 * torch.randn(5, generator=generator).double()
        found = on_simplex(values)
        assert float(found.sum()) == pytest.approx(1.0) and bool((found >= 0).all())
        others = torch.distributions.Dirichlet(torch.ones(5).double()).sample((200,))
        assert float((found - values).norm()) <= float((others - values).norm(dim=1).min()) + 1e-12


def test_a_step_of_modo_is_one_projected_step_from_the_last():
    gram = gram_of(structured("generic", 3, 0))
    weighting, alpha = MoDo(3, rate=0.4), torch.full((3,), 1 / 3, dtype=torch.float64)
    for _ in range(3):
        alpha = on_simplex(alpha - 0.4 * gram @ alpha / gram.trace())
        torch.testing.assert_close(weighting(gram), alpha)


@pytest.mark.parametrize("kind", ["generic", "two decades", "strong conflict"])
def test_without_a_direction_it_settles_on_the_min_norm_point(kind):
    gram = gram_of(structured(kind, 4, 1))
    weighting = SDMGrad([0.25] * 4, lean=0.0, rate=1.0, iterations=20_000)
    direction, exact = weighting(gram), min_norm_weights(gram).weights
    assert float(direction @ gram @ direction) == pytest.approx(float(exact @ gram @ exact), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("preference", [[1 / 3] * 3, [0.7, 0.2, 0.1]])
def test_with_one_it_settles_where_the_sum_is_shortest(preference):
    gram = gram_of(structured("generic", 3, 2))
    weights = SDMGrad(preference, lean=0.5, rate=1.0, iterations=5_000)(gram)
    alpha = by_quadratic_program(gram, preference, 0.5)
    assert weights.tolist() == pytest.approx(((alpha + 0.5 * np.asarray(preference)) / 1.5).tolist(), abs=1e-4)
    assert float(weights.sum()) == pytest.approx(1.0)


def test_a_heavy_lean_is_linear_scalarisation_and_the_scale_of_gradients_does_not_matter():
    gram = gram_of(structured("two decades", 3, 0))
    weights = SDMGrad([0.7, 0.2, 0.1], lean=1e6)(gram)
    assert weights.tolist() == pytest.approx([0.7, 0.2, 0.1], abs=1e-5)
    torch.testing.assert_close(SDMGrad([1 / 3] * 3)(1e-8 * gram), SDMGrad([1 / 3] * 3)(gram))


def test_two_micro_batches_are_double_sampling():
    """The unbiased Gram matrix of two halves is J_1 J_2^T, made symmetric: the papers' own estimate."""
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, 3, 50, generator=generator).double()
    whole = first + second
    found = unbiased_gram(torch.stack([first @ first.T, second @ second.T]), whole @ whole.T)
    torch.testing.assert_close(found, (first @ second.T + second @ first.T) / 2)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("modo", {"rate": 0.0}, "rate"),
        ("sdmgrad", {"lean": -1.0}, "lean"),
        ("sdmgrad", {"iterations": 0}, "iterations"),
        ("sdmgrad", {"preference": [1.0]}, "1 weights for 2"),
    ],
)
def test_settings_out_of_their_range_are_refused(name, settings, says):
    with pytest.raises(HeedError, match=says):
        weighting_from_name(name, 2, **settings)
