"""Which parts of the state labels depend on: found among noise, kept where there is no telling."""

import pytest
import torch

from heed.guard.models.relevance import as_good, ranking_errors, relevant_columns


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def told(count, size, rule, seed=0):
    x = torch.randn(count, size, generator=draws(seed))
    return x, rule(x), torch.arange(count) // 20 % 5


@pytest.mark.parametrize("seed", range(3))
def test_one_column_among_many_is_found_with_few_blocks(seed):
    x, blocked, folds = told(500, 30, lambda x: x[:, 17] > 1.9, seed)
    assert 10 <= int(blocked.sum()) <= 25
    assert relevant_columns(x, blocked, folds, draws(seed)) == (17,)


@pytest.mark.parametrize("seed", range(3))
def test_two_columns_that_matter_together_are_both_kept(seed):
    x, blocked, folds = told(1500, 12, lambda x: x[:, 3] + x[:, 8] > 2.2, seed)
    assert relevant_columns(x, blocked, folds, draws(seed)) == (3, 8)


def test_columns_that_are_not_in_question_always_count():
    x, blocked, folds = told(800, 6, lambda x: x[:, 0] + x[:, 5] > 2.2)
    assert relevant_columns(x, blocked, folds, draws(), free=4) == (0,)


def test_rows_that_are_not_finite_are_left_out_and_too_few_folds_keep_all():
    x, blocked, folds = told(500, 8, lambda x: x[:, 2] > 1.8)
    x[::50] = torch.nan
    assert relevant_columns(x, blocked, folds, draws()) == (2,)
    one_fold = torch.where(blocked, 0, folds)
    assert relevant_columns(x, blocked, one_fold, draws()) == tuple(range(8))
    assert relevant_columns(x[:, :1], blocked, folds, draws()) == (0,)


def test_errors_are_the_share_of_passed_steps_that_look_as_dangerous_in_each_fold():
    logits = torch.tensor([[0.0, 1.0, 2.0, 1.5, 9.0, 5.0]])
    blocked = torch.tensor([False, False, False, True, False, True])
    errors, weights = ranking_errors(logits, blocked, torch.tensor([0, 0, 0, 0, 1, 1]))
    assert errors[0].tolist() == pytest.approx([1 / 3, 1.0]) and weights.tolist() == [0.5, 0.5]


def test_few_columns_are_taken_where_they_tell_labels_well_and_more_where_they_do_not():
    even = torch.full((4,), 0.25).double()
    noisy = torch.tensor([[0.30, 0.10, 0.20, 0.20], [0.10, 0.20, 0.15, 0.15], [0.16] * 4, [0.5] * 4]).double()
    assert as_good(noisy, even) == 2  # .16 where the best has .15
    assert as_good(noisy[[0, 1, 3]], even) == 1
    assert as_good(torch.tensor([[0.004] * 4, [0.0] * 4, [0.001] * 4]).double(), even) == 0  # that does not matter


def test_a_speed_that_matters_here_and_there_is_kept():
    """As a far-sighted overseer's: a wall is near or is approached fast, and mostly all are slow."""
    x = torch.randn(1500, 4, generator=draws())
    x[:, 2] *= 0.5
    blocked, folds = x[:, 0] + x[:, 2].clamp(min=0) ** 2 > 1.9, torch.arange(1500) // 20 % 5
    assert {0, 2} <= set(relevant_columns(x, blocked, folds, draws()))
