import logging

import pytest
import torch
from structured_gradients import KINDS, gram_of, structured
from torchjd.aggregation import GramianWeightedAggregator, PCGradWeighting, UPGradWeighting, Weighting
from torchjd.linalg import QuadprogProjector

from heed.balance import GAPO, MGDA, PGAPO, Linear, Single, check_preference, min_norm_weights
from heed.errors import HeedError

POWERS = (0.0, 0.5, 1.0, 2.0)
NO_ZEROS = [kind for kind in KINDS if kind != "hull holds zero"]


def conflicting_pair(seed):
    gradients = structured("generic", 2, seed)
    gradients[1] *= 10.0 ** (seed % 5 - 2)  # lengths up to two decades apart
    return gradients if float(gradients[0] @ gradients[1]) < 0 else gradients * torch.tensor([[1.0], [-1.0]]).double()


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [2, 3, 5, 8, 12])
def test_gapo_makes_progress_proportional_to_a_power_of_the_norm(kind, k, p):
    for seed in range(3):
        gradients = structured(kind, k, seed)
        length = gradients.norm(dim=1)
        weights = GAPO(p=p)(gram_of(gradients))
        alpha = weights * length**p
        direction = weights @ gradients
        progress, due = gradients @ direction / length**p, direction @ direction
        scale = length ** (1 - p) * (length ** (1 - p)).min()
        active = alpha > 1e-12
        assert abs(float(alpha.sum()) - 1) < 1e-12
        assert float(((progress - due).abs() / scale)[active].max()) < 1e-9
        assert float(((progress - due) / scale).min()) > -1e-9


def test_gapo_with_p_1_gives_two_unit_gradients_equal_weight_always():
    for seed in range(50):
        gradients = conflicting_pair(seed)
        for pair in (gradients, gradients.abs(), structured("parallel", 2, seed)):
            gram = gram_of(pair)
            torch.testing.assert_close(
                GAPO(p=1)(gram) * pair.norm(dim=1), torch.tensor([0.5, 0.5]).double(), rtol=0, atol=1e-9
            )
            torch.testing.assert_close(GAPO(p=1)(gram), PGAPO([0.5, 0.5])(gram), rtol=1e-9, atol=0)


def test_nearly_parallel_unit_gradients_still_share_equally():
    first = structured("generic", 1, 0)
    for angle in (1e-4, 1e-6, 1e-7, 1e-9):
        pair = torch.cat((first, 3 * first + angle * structured("generic", 1, 1)))
        shares = GAPO(p=1)(gram_of(pair)) * pair.norm(dim=1)
        torch.testing.assert_close(shares, torch.tensor([0.5, 0.5]).double(), rtol=0, atol=1e-9)


def test_gapo_with_p_2_in_conflict_goes_where_pcgrad_and_upgrad_go():
    upgrad = UPGradWeighting(projector=QuadprogProjector(norm_eps=0, reg_eps=1e-14))
    for seed in range(50):
        gradients = conflicting_pair(seed)
        gram = gram_of(gradients)
        ours = torch.nn.functional.normalize(GAPO(p=2)(gram) @ gradients, dim=0)
        for theirs in (PCGradWeighting()(gram), upgrad(gram)):
            direction = torch.nn.functional.normalize(theirs @ gradients, dim=0)
            torch.testing.assert_close(ours, direction, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 4, 8, 12])
def test_gapo_with_p_0_is_mgda_is_the_min_norm_point(kind, k):
    gram = gram_of(structured(kind, k, 2))
    exact = min_norm_weights(gram).weights
    assert torch.equal(GAPO(p=0)(gram), exact)
    assert torch.equal(MGDA()(gram), exact)


@pytest.mark.parametrize("p", POWERS)
def test_one_objective_is_divided_by_its_own_norm(p):
    torch.testing.assert_close(GAPO(p=p)(torch.tensor([[4.0]])), torch.tensor([2.0**-p]))
    torch.testing.assert_close(PGAPO([1.0])(torch.tensor([[4.0]])), torch.tensor([0.5]))


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("kind", ["generic", "strong conflict", "two decades"])
@pytest.mark.parametrize("k", [2, 3, 8, 12])
def test_gapo_follows_a_permutation_of_the_objectives(kind, k, p):
    gram = gram_of(structured(kind, k, 5))
    order = torch.randperm(k, generator=torch.Generator().manual_seed(1))
    weighting = GAPO(p=p)
    torch.testing.assert_close(weighting(gram[order][:, order]), weighting(gram)[order], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", NO_ZEROS)
@pytest.mark.parametrize("k", [2, 3, 8])
def test_unit_gradients_make_the_direction_deaf_to_each_objectives_own_scale(kind, k):
    gradients = structured(kind, k, 4)
    scale = torch.logspace(-2, 2, k, dtype=torch.float64)[:, None]
    for weighting in (GAPO(p=1), PGAPO([1 / k] * k)):
        direction = weighting(gram_of(gradients)) @ gradients
        scaled = weighting(gram_of(scale * gradients)) @ (scale * gradients)
        torch.testing.assert_close(scaled, direction, rtol=0, atol=1e-7)


@pytest.mark.parametrize("p", POWERS)
def test_a_common_scale_c_multiplies_the_direction_by_c_to_the_1_minus_p(p):
    gradients = structured("two decades", 4, 0)
    direction = GAPO(p=p)(gram_of(gradients)) @ gradients
    scaled = GAPO(p=p)(gram_of(1e3 * gradients)) @ (1e3 * gradients)
    torch.testing.assert_close(scaled, direction * 1e3 ** (1 - p), rtol=1e-9, atol=0)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0])
def test_what_keeps_the_scale_goes_the_same_way_and_grows_with_its_gradients(p):
    gradients = torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gradients[1] *= 20
    plain, kept = GAPO(p), GAPO(p, keep_scale=True)
    short = kept(gradients @ gradients.T)
    assert torch.allclose(kept(1e4 * gradients @ gradients.T), short)  # a hundredfold update of hundredfold gradients
    norms = gradients.norm(dim=1)
    factor = norms.mean() / norms.pow(1 - p).mean()
    assert torch.allclose(short, factor * plain(gradients @ gradients.T))


def test_pgapo_divides_the_preference_by_the_norms():
    gradients = structured("two decades", 5, 0)
    preference = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0], dtype=torch.float64)
    weights = PGAPO(preference)(gram_of(gradients))
    torch.testing.assert_close(weights, preference / gradients.norm(dim=1), rtol=1e-12, atol=0)


def test_the_floor_raises_short_norms_to_a_share_of_the_median():
    gram = torch.diag(torch.tensor([1.0, 4.0, 1e-8]).double())  # norms 1, 2, 1e-4; median 1
    assert PGAPO([0.25, 0.25, 0.5], floor=0.5)(gram).tolist() == pytest.approx([0.25, 0.125, 1.0])
    assert PGAPO([0.25, 0.25, 0.5])(gram).tolist() == pytest.approx([0.25, 0.125, 5000.0])
    floored = GAPO(p=2, floor=0.5)(gram)
    rescaled = torch.diag(torch.tensor([1.0, 0.25, 1e-8 / 0.25**2]).double())
    expected = min_norm_weights(rescaled).weights / torch.tensor([1.0, 4.0, 0.25]).double()
    torch.testing.assert_close(floored, expected, rtol=1e-12, atol=0)
    pair = torch.diag(torch.tensor([1.0, 1e-8]).double())  # the median of two is their mean: the floor works at K = 2
    assert float(PGAPO([0.5, 0.5], floor=0.5)(pair)[1]) == pytest.approx(0.5 / (0.5 * (1 + 1e-4) / 2))


@pytest.mark.parametrize("weighting", [GAPO(p=1), GAPO(p=2), GAPO(p=1, floor=0.3), PGAPO([0.2, 0.3, 0.5])])
def test_a_zero_gradient_is_left_out_and_never_divides(weighting):
    gradients = structured("generic", 3, 0)
    gradients[1] = 0
    weights = weighting(gram_of(gradients))
    assert torch.isfinite(weights).all()
    assert float(weights[1]) == 0
    assert (weights[[0, 2]] > 0).all()
    assert weighting(torch.zeros(3, 3)).tolist() == [0, 0, 0]


def test_a_zero_gradient_leaves_the_others_balanced_as_if_alone():
    gradients = structured("generic", 4, 0)
    alone = GAPO(p=1)(gram_of(gradients[[0, 1, 3]]))
    gradients[2] = 0
    torch.testing.assert_close(GAPO(p=1)(gram_of(gradients))[[0, 1, 3]], alone, rtol=1e-12, atol=0)


def test_mgda_stops_at_a_zero_gradient():
    weights = MGDA()(torch.diag(torch.tensor([4.0, 0.0])))
    assert weights.tolist() == [0.0, 1.0]


def test_a_zero_gradient_is_logged_once_and_counted(caplog):
    weighting = PGAPO([0.5, 0.5])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            weighting(torch.diag(torch.tensor([4.0, 0.0])))
    assert [record.getMessage() for record in caplog.records] == [
        "objective 1 has a zero gradient: weight 0 in such steps (logged once)"
    ]
    assert weighting.divisors.zero_steps == 3


@pytest.mark.parametrize("weighting", [GAPO(), PGAPO([0.5, 0.5]), MGDA(), Linear([1.0, 2.0]), Single(0)])
def test_every_weighting_keeps_the_type_serves_torchjd_and_refuses_nan(weighting):
    assert isinstance(weighting, Weighting)
    for dtype in (torch.float32, torch.float64):
        gradients = structured("generic", 2, 0).to(dtype)
        weights = weighting(gram_of(gradients))
        assert weights.dtype == dtype
        torch.testing.assert_close(GramianWeightedAggregator(weighting)(gradients), weights @ gradients)
    with pytest.raises(ValueError, match="not finite"):
        weighting(torch.full((2, 2), float("nan")))


def test_float32_and_float64_grams_agree():
    gradients = structured("two decades", 5, 0)
    for weighting in (GAPO(p=1), GAPO(p=2), MGDA()):
        single, double = weighting(gram_of(gradients.float())), weighting(gram_of(gradients))
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


def test_fixed_weights_are_given_as_they_are():
    gram = torch.eye(3)
    assert Linear([0.5, 2.0, -1.0])(gram).tolist() == [0.5, 2.0, -1.0]
    assert Single(2)(gram).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("p", [-1.0, float("nan"), float("inf")])
def test_a_power_below_zero_is_refused(p):
    with pytest.raises(HeedError, match="p is"):
        GAPO(p=p)


def test_other_settings_out_of_range_are_refused():
    for wrong in (lambda: GAPO(floor=-0.1), lambda: PGAPO([1.0], floor=float("nan"))):
        with pytest.raises(HeedError, match="norm floor"):
            wrong()
    with pytest.raises(HeedError, match="no objective -1"):
        Single(-1)
    with pytest.raises(HeedError, match="no objective 2 among 2"):
        Single(2)(torch.eye(2))
    with pytest.raises(HeedError, match="not finite"):
        Linear([1.0, float("inf")])
    with pytest.raises(HeedError, match="3 weights for 2 objectives"):
        Linear([1.0, 1.0, 1.0])(torch.eye(2))
    with pytest.raises(HeedError, match="2 preference weights for 3 objectives"):
        PGAPO([0.5, 0.5])(torch.eye(3))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5, 0.6], "0.5, 0.6 sums to 1.1"),
        ([1.2, -0.2], "negative"),
        ([0.2, 0.3, 0.5], "3 weights for 2 objectives"),
        ([float("nan"), 1.0], "not finite"),
        ([[0.5, 0.5]], "not a list of numbers"),
        ([], "not a list of numbers"),
    ],
)
def test_a_preference_off_the_simplex_is_refused_in_one_line(values, said):
    with pytest.raises(HeedError, match=said) as refusal:
        check_preference(values, 2)
    assert "\n" not in str(refusal.value)


def test_a_preference_keeps_its_values_in_float64():
    assert check_preference([0.7, 0.3], 2).tolist() == [0.7, 0.3]
    assert check_preference(torch.tensor([0.25, 0.75])).tolist() == [0.25, 0.75]
