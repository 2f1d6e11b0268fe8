import itertools

import pytest
import torch
from structured_gradients import KINDS, gram_of, structured

from heed.balance.gramian import (
    GramAverage,
    checked_gram,
    cosines,
    norms,
    predicted_change,
    project_psd,
    signal_share,
    unbiased_gram,
)
from heed.errors import HeedError


def test_the_unbiased_gram_has_the_true_gram_as_its_exact_expectation():
    generator = torch.Generator().manual_seed(0)
    outcomes = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)  # 3 equally likely gradients [K, n]
    expected = gram_of(outcomes.mean(dim=0))
    micro_batches = 3
    unbiased, biased = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    for draw in itertools.product(range(3), repeat=micro_batches):  # every possible sample, once
        gradients = outcomes[list(draw)]
        total = gradients.sum(dim=0)
        unbiased += unbiased_gram(gradients @ gradients.mT, gram_of(total)) / 3**micro_batches
        biased += gram_of(total / micro_batches) / 3**micro_batches
    torch.testing.assert_close(unbiased, expected, rtol=0, atol=1e-13)
    assert float((biased - expected).diagonal().min()) > 0.1  # the plain one counts the noise as signal


def test_identical_micro_batches_make_the_unbiased_gram_exact():
    gradients = structured("generic", 3, 0)
    gram = gram_of(gradients)
    torch.testing.assert_close(unbiased_gram(gram.expand(4, 3, 3), 16 * gram), gram, rtol=1e-14, atol=0)
    torch.testing.assert_close(signal_share(gram, gram), torch.ones(3, dtype=torch.float64))


def test_an_unbiased_gram_needs_two_micro_batches_and_agreeing_shapes():
    with pytest.raises(ValueError, match="two micro-batches"):
        unbiased_gram(torch.zeros(1, 2, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"\[M, K, K\]"):
        unbiased_gram(torch.zeros(2, 3, 3), torch.zeros(2, 2))


def test_projection_is_the_nearest_semi_definite_matrix():
    for seed in range(10):
        gram = gram_of(structured("generic", 5, seed))
        indefinite = gram - 20 * torch.eye(5, dtype=torch.float64)
        projected = project_psd(indefinite)
        assert float(torch.linalg.eigvalsh(projected).min()) > -1e-12
        assert (projected.diagonal() >= 0).all()
        # The residual of a projection on a cone is orthogonal to the projection and lies in the polar cone.
        residual = indefinite - projected
        assert abs(float((residual * projected).sum())) < 1e-9
        assert float(torch.linalg.eigvalsh(residual).max()) < 1e-10
        torch.testing.assert_close(project_psd(projected), projected, rtol=0, atol=1e-11)


def test_projection_leaves_a_definite_gram_as_it_is():
    gram = gram_of(structured("generic", 4, 0))
    assert torch.equal(project_psd(gram), gram)
    with pytest.raises(ValueError, match="not finite"):
        project_psd(torch.full((2, 2), float("nan")))


@pytest.mark.parametrize("kind", KINDS)
def test_norms_cosines_and_predicted_changes_are_those_of_the_gradients(kind):
    gradients = structured(kind, 5, 0)
    gram, weights = gram_of(gradients), torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(norms(gram), gradients.norm(dim=1))
    unit = gradients / gradients.norm(dim=1, keepdim=True)
    torch.testing.assert_close(cosines(gram), unit @ unit.T)
    torch.testing.assert_close(predicted_change(gram, weights), gradients @ (weights @ gradients))
    assert float(cosines(gram).abs().max()) <= 1


def test_a_gram_is_checked_and_made_symmetric_in_float64():
    gram = checked_gram(torch.tensor([[1.0, 0.5], [0.25, 1.0]]))
    assert gram.tolist() == [[1.0, 0.375], [0.375, 1.0]]
    assert gram.dtype == torch.float64


def test_a_moving_average_of_a_constant_is_the_constant_from_the_first_step():
    average, gram = GramAverage(decay=0.9), gram_of(structured("generic", 3, 0))
    for _ in range(5):
        torch.testing.assert_close(average.update(gram), gram, rtol=1e-14, atol=0)


def test_a_moving_average_weighs_steps_by_powers_of_its_decay_and_resumes_exactly():
    grams = [gram_of(structured("generic", 3, seed)) for seed in range(6)]
    average = GramAverage(decay=0.8)
    for gram in grams[:3]:
        average.update(gram)
    resumed = GramAverage(decay=0.8)
    resumed.load_state_dict(average.state_dict())
    for gram in grams[3:]:
        last, again = average.update(gram), resumed.update(gram)
    powers = [0.8 ** (5 - step) for step in range(6)]
    expected = sum(power * gram for power, gram in zip(powers, grams, strict=True)) / sum(powers)
    torch.testing.assert_close(last, expected)
    assert torch.equal(last, again)
    assert torch.equal(GramAverage(decay=0).update(grams[0]), grams[0])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(HeedError, match=r"\[0, 1\)"):
        GramAverage(decay)
