import itertools

import numpy as np
import pytest
import quadprog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from structured_gradients import KINDS, gram_of, structured

from heed.balance.minnorm import batched_min_norm, min_norm_weights

SIZES = (1, 2, 3, 5, 8, 12)
CASES = [(kind, k, seed) for kind in KINDS for k in SIZES for seed in range(4)]
NOT_ZERO = [case for case in CASES if case[:2] != ("hull holds zero", 1)]


def by_quadprog(gram, ridge=0.0):
    k = len(gram)
    # quadprog factorises the matrix: a singular one needs a ridge, and its answer is then moved onto the simplex.
    ridge = (ridge * float(gram.trace()) + 1e-300) * np.eye(k)
    constraints = np.concatenate((np.ones((k, 1)), np.eye(k)), axis=1)
    bounds = np.concatenate((np.ones(1), np.zeros(k)))
    solution = quadprog.solve_qp(gram.numpy() + ridge, np.zeros(k), constraints, bounds, meq=1)[0].clip(min=0)
    return torch.from_numpy(solution / solution.sum())


def kkt_error(gradients, weights):
    """How far <d, g_k> is from ||d||^2 where active, below it where not, relative to ||g_k|| max ||g||."""
    direction = weights @ gradients
    slope = gradients @ direction - direction @ direction
    scale = gradients.norm(dim=1) * gradients.norm(dim=1).min() + 1e-300
    violation = torch.where(weights > 1e-12, slope.abs(), (-slope).clamp(min=0))
    return float((violation / scale).max())


@pytest.mark.parametrize(("kind", "k", "seed"), CASES)
def test_the_optimum_satisfies_the_kkt_conditions(kind, k, seed):
    gradients = structured(kind, k, seed)
    weights, gap = min_norm_weights(gram_of(gradients))
    assert (weights >= 0).all()
    assert abs(float(weights.sum()) - 1) < 1e-12
    assert kkt_error(gradients, weights) < 1e-9
    assert 0 <= gap <= 1e-9 * float(gradients.norm(dim=1).max() ** 2)


@pytest.mark.parametrize(("kind", "k", "seed"), NOT_ZERO)
def test_the_norm_is_the_quadratic_programs(kind, k, seed):
    gram = gram_of(structured(kind, k, seed))
    ours, theirs = min_norm_weights(gram).weights, by_quadprog(gram, ridge=1e-10)
    assert float(ours @ gram @ ours) <= float(theirs @ gram @ theirs) + 1e-12 * float(gram.trace())


@pytest.mark.parametrize("kind", ["generic", "two decades", "strong conflict"])
@pytest.mark.parametrize("k", [2, 3, 5, 8, 12])
def test_the_weights_are_the_quadratic_programs_where_they_are_unique(kind, k):
    for seed in range(5):
        gram = gram_of(structured(kind, k, seed))
        torch.testing.assert_close(min_norm_weights(gram).weights, by_quadprog(gram), rtol=0, atol=1e-9)


def test_two_objectives_follow_the_closed_form():
    for seed in range(50):
        first, second = gradients = structured("two decades", 2, seed, dimensions=3)
        alpha = float((second @ (second - first) / ((first - second) @ (first - second))).clamp(0, 1))
        weights = min_norm_weights(gram_of(gradients)).weights
        torch.testing.assert_close(weights, torch.tensor([alpha, 1 - alpha], dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_corner_is_reached_exactly():
    # The well-known codebases return 0.999 / 0.001 here.
    weights = min_norm_weights(torch.tensor([[1.0, 2.0], [2.0, 9.0]])).weights
    assert weights.tolist() == [1.0, 0.0]


def by_enumeration(gram):
    """The best of the min-norm points of every support's affine hull that lie inside it."""
    best, norm, k = None, float("inf"), len(gram)
    for size in range(1, k + 1):
        for support in map(list, itertools.combinations(range(k), size)):
            system = torch.zeros(size + 1, size + 1, dtype=torch.float64)
            system[:size, :size] = gram[support][:, support]
            system[:size, size] = system[size, :size] = 1
            solved, failed = torch.linalg.solve_ex(system, torch.eye(size + 1, dtype=torch.float64)[size])
            if failed or bool((solved[:size] < -1e-12).any()):
                continue
            weights = torch.zeros(k, dtype=torch.float64)
            weights[support] = solved[:size].clamp(min=0)
            if (found := float(weights @ gram @ weights)) < norm:
                best, norm = weights, found
    return best


@pytest.mark.parametrize("kind", ["generic", "two decades", "strong conflict"])
@pytest.mark.parametrize("k", [3, 5, 8])
def test_no_support_has_a_shorter_point(kind, k):
    for seed in range(3):
        gram = gram_of(structured(kind, k, seed))
        torch.testing.assert_close(min_norm_weights(gram).weights, by_enumeration(gram), rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [32, 64])
@pytest.mark.parametrize("decades", [0, 2])
def test_many_objectives_have_a_certificate_of_rounding_size(k, decades):
    for seed, dimensions in enumerate((k // 2, 2 * k, 1000)):
        generator = torch.Generator().manual_seed(seed)
        gradients = torch.randn(k, dimensions, dtype=torch.float64, generator=generator)
        gradients = gradients * 10 ** (decades * (torch.rand(k, 1, dtype=torch.float64, generator=generator) - 0.5))
        weights, gap = min_norm_weights(gram_of(gradients))
        assert kkt_error(gradients, weights) < 1e-10
        assert gap <= 1e-12 * float(gradients.norm(dim=1).min() ** 2)
        assert abs(float(weights.sum()) - 1) < 1e-12 and int((weights > 0).sum()) > 5


def test_a_batch_is_solved_one_by_one():
    grams = torch.stack([gram_of(structured("two decades", 5, seed)) for seed in range(4)])
    weights, gaps = batched_min_norm(grams)
    for gram, found, gap in zip(grams, weights, gaps, strict=True):
        alone = min_norm_weights(gram)
        assert torch.equal(found, alone.weights) and float(gap) == alone.gap


@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_bounds_the_excess_norm_of_any_weights(kind):
    gram = gram_of(structured(kind, 30, 1, dimensions=10))
    weights, gap = min_norm_weights(gram)
    best = by_quadprog(gram, ridge=1e-10)
    assert float(weights @ gram @ weights) - float(best @ gram @ best) <= gap + 1e-12 * float(gram.trace())
    assert gap <= 1e-12 * float(gram.trace())


def test_equal_gradients_share_equally():
    for k in (2, 3, 9):
        assert min_norm_weights(torch.ones(k, k)).weights.tolist() == [1 / k] * k
    gradients = structured("generic", 4, 0)
    weights = min_norm_weights(gram_of(gradients[[0, 1, 0, 2, 3]])).weights
    assert float(weights[0]) == float(weights[2])
    merged = min_norm_weights(gram_of(gradients)).weights
    expected = torch.stack((merged[0] / 2, merged[1], merged[0] / 2, merged[2], merged[3]))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


def test_opposite_gradients_cancel():
    weights, gap = min_norm_weights(torch.tensor([[4.0, -2.0], [-2.0, 1.0]]))
    torch.testing.assert_close(weights, torch.tensor([1 / 3, 2 / 3], dtype=torch.float64), rtol=0, atol=1e-15)
    assert gap < 1e-15


def test_parallel_gradients_give_all_to_the_shortest():
    gradients = structured("parallel", 6, 0)
    assert min_norm_weights(gram_of(gradients)).weights.tolist() == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-12)


def test_zero_gradients_carry_all_weight():
    assert min_norm_weights(torch.diag(torch.tensor([4.0, 0.0, 1.0, 0.0]))).weights.tolist() == [0, 0.5, 0, 0.5]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gram_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        min_norm_weights(torch.tensor([[1.0, bad], [bad, 1.0]]))


def test_a_gram_of_wrong_shape_or_negative_diagonal_is_refused():
    with pytest.raises(ValueError, match=r"\[K, K\]"):
        min_norm_weights(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="project_psd"):
        min_norm_weights(torch.diag(torch.tensor([1.0, -1.0])))


@pytest.mark.parametrize("kind", ["generic", "two decades", "strong conflict"])
@pytest.mark.parametrize("k", [2, 3, 8, 12])
def test_weights_follow_a_permutation_and_ignore_the_scale(kind, k):
    gram = gram_of(structured(kind, k, 7))
    order = torch.randperm(k, generator=torch.Generator().manual_seed(0))
    weights = min_norm_weights(gram).weights
    torch.testing.assert_close(min_norm_weights(gram[order][:, order]).weights, weights[order], rtol=0, atol=1e-10)
    for scale in (1e-20, 1e20):
        torch.testing.assert_close(min_norm_weights(scale * gram).weights, weights, rtol=0, atol=1e-10)


def test_float32_grams_are_solved_in_float64():
    gradients = structured("two decades", 5, 3).float()
    weights = min_norm_weights(gram_of(gradients)).weights
    assert weights.dtype == torch.float64
    torch.testing.assert_close(weights, by_quadprog(gram_of(gradients).double()), rtol=0, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 10).flatmap(
        lambda k: st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=k, max_size=k)
    )
)
def test_the_kkt_conditions_hold_on_any_small_integer_gradients(rows):
    gradients = torch.tensor(rows, dtype=torch.float64)  # duplicates, zeros, opposites and singular hulls abound
    weights = min_norm_weights(gram_of(gradients)).weights
    direction = weights @ gradients
    slope = gradients @ direction - direction @ direction
    assert float(slope.min()) > -1e-10
    assert float((slope * (weights > 1e-9)).abs().max()) < 1e-10
