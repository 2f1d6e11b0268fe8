"""Two-objective toys with known fronts, climbed with exact gradients."""

import itertools
import math

import pytest
import torch

from heed.balance import GAPO, PGAPO, ObservesValues, SmoothTchebycheff
from heed.errors import HeedError

PREFERENCES = (0.1, 0.3, 0.5, 0.7, 0.9)


def concave_front(z):
    """Two quadratic hills: the front is y = 0, -1 <= x <= 1, from (-4, 0) to (0, -4)."""
    x, y = z
    return torch.stack((-((1 - x) ** 2) - y**2, -((1 + x) ** 2) - y**2))


def flat_front(z):
    """The front is the segment J_1 + J_2 = 0 between (-1, 1) and (1, -1)."""
    x, y = z
    return torch.stack((torch.tanh(x) - y**2, -torch.tanh(x) - y**2))


def climb(weighting, front, steps=500, rate=0.08):
    """Gradient ascent with exact gradients and falling steps; the values [2] where it ends."""
    position = torch.tensor([0.3, 0.4], dtype=torch.float64)
    for step in range(steps):
        values, jacobian = front(position), torch.autograd.functional.jacobian(front, position)
        if isinstance(weighting, ObservesValues):
            weighting.observe(values)
        position = position + rate * (1 - step / steps) * (weighting(jacobian @ jacobian.T) @ jacobian)
    return front(position)


def tchebycheff(preference, front, **options):
    worst = {concave_front: -4.0, flat_front: -1.0}[front]
    best = {concave_front: 0.0, flat_front: 1.0}[front]
    options = {"average": 0.0, **options}
    return SmoothTchebycheff([preference, 1 - preference], ideal=[best] * 2, nadir=[worst] * 2, **options)


def weighted_gaps(values, preference, front):
    worst, best = {concave_front: (-4.0, 0.0), flat_front: (-1.0, 1.0)}[front]
    gaps = (best - values) / (best - worst)
    return float(preference * gaps[0]), float((1 - preference) * gaps[1])


@pytest.mark.parametrize("front", [concave_front, flat_front])
@pytest.mark.parametrize("preference", PREFERENCES)
def test_the_weighted_gaps_settle_equal_on_curved_and_flat_fronts(front, preference):
    first, second = weighted_gaps(climb(tchebycheff(preference, front), front), preference, front)
    assert first == pytest.approx(second, abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"unit_gradients": False}, {"share_floor": 0.2}, {"mu": 0.5}])
@pytest.mark.parametrize("front", [concave_front, flat_front])
def test_more_preference_gives_more_of_the_objective(front, options):
    reached = [float(climb(tchebycheff(preference, front, **options), front)[0]) for preference in PREFERENCES]
    assert all(later > earlier + 0.05 for earlier, later in itertools.pairwise(reached))


@pytest.mark.parametrize("preference", [0.3, 0.7])
def test_an_outer_preference_moves_the_fixed_point_by_mu_times_the_log_odds(preference):
    values = climb(tchebycheff(preference, concave_front, outer_preference=True), concave_front)
    first, second = weighted_gaps(values, preference, concave_front)
    assert first - second == pytest.approx(0.1 * math.log((1 - preference) / preference), abs=2e-3)


def test_an_outer_preference_slides_to_the_end_where_it_has_no_fixed_point():
    values = climb(tchebycheff(0.1, concave_front, outer_preference=True), concave_front)
    assert values.tolist() == pytest.approx([-4, 0], abs=1e-2)


def test_raw_gradients_reach_the_optimum_of_the_smooth_scalarisation():
    preference, mu = 0.3, 0.1
    values = climb(
        tchebycheff(preference, concave_front, mu=mu, unit_gradients=False, outer_preference=True),
        concave_front,
        rate=2.0,
    )
    x = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    gaps = torch.stack(((1 - x) ** 2, (1 + x) ** 2)) / 4
    weights = torch.tensor([[preference], [1 - preference]], dtype=torch.float64)
    best = x[torch.logsumexp(weights * gaps / mu, dim=0).argmin()]
    assert float(values[0]) == pytest.approx(float(-((1 - best) ** 2)), abs=1e-3)


@pytest.mark.parametrize("front", [concave_front, flat_front])
@pytest.mark.parametrize(("preference", "end"), [(0.6, 0), (0.4, 1)])
def test_pgapo_slides_to_an_end_of_the_front(front, preference, end):
    values = climb(PGAPO([preference, 1 - preference]), front, steps=2000, rate=0.05)
    best, worst = {concave_front: (0.0, -4.0), flat_front: (1.0, -1.0)}[front]
    assert float(values[end]) == pytest.approx(best, abs=1e-3)
    assert float(values[1 - end]) == pytest.approx(worst, abs=0.1)


def test_pgapo_at_one_half_and_gapo_stop_where_they_meet_the_front():
    for weighting in (PGAPO([0.5, 0.5]), GAPO(p=1)):
        first, second = climb(weighting, flat_front).tolist()
        assert first + second == pytest.approx(0, abs=1e-3)
        assert abs(first) < 0.5


def test_the_shares_follow_the_formula():
    weighting = SmoothTchebycheff([0.2, 0.8], ideal=[10.0, 0.0], nadir=[0.0, -2.0], mu=0.3)
    weighting.observe(torch.tensor([4.0, -0.5]))
    raw = torch.exp(torch.tensor([0.2 * 0.6, 0.8 * 0.25], dtype=torch.float64) / 0.3)
    torch.testing.assert_close(weighting.shares(), raw / raw.sum(), rtol=1e-12, atol=0)
    gram = torch.tensor([[4.0, -1.0], [-1.0, 9.0]], dtype=torch.float64)
    torch.testing.assert_close(weighting(gram), raw / raw.sum() / torch.tensor([2.0, 3.0]).double())
    weighting.unit_gradients = False
    torch.testing.assert_close(weighting(gram), raw / raw.sum() / torch.tensor([10.0, 2.0]).double())
    weighting.outer_preference = True
    exact = raw * torch.tensor([0.2, 0.8]).double()
    torch.testing.assert_close(weighting(gram), exact / exact.sum() / torch.tensor([10.0, 2.0]).double())


def test_the_values_are_a_moving_average_that_starts_at_the_first():
    weighting = tchebycheff(0.5, flat_front, average=0.8)
    for value in (1.0, 2.0, 3.0):
        weighting.observe(torch.tensor([value, -value]))
    expected = 0.8 * (0.8 * 1 + 0.2 * 2) + 0.2 * 3
    assert weighting.values.tolist() == pytest.approx([expected, -expected])


def test_a_restored_weighting_goes_on_exactly():
    weighting, restored = tchebycheff(0.3, flat_front, average=0.9), tchebycheff(0.3, flat_front, average=0.9)
    for step in range(5):
        weighting.observe(torch.tensor([0.1 * step, -0.3 * step]))
    restored.load_state_dict(weighting.state_dict())
    for each in (weighting, restored):
        each.observe(torch.tensor([0.7, 0.2]))
    gram = torch.tensor([[4.0, -1.0], [-1.0, 9.0]])
    assert torch.equal(weighting(gram), restored(gram))


def test_a_floor_on_the_shares_keeps_every_objective_moving():
    weighting = tchebycheff(0.5, flat_front, mu=1e-3, share_floor=0.1)
    weighting.observe(torch.tensor([-1.0, 1.0]))
    assert weighting.shares().tolist() == pytest.approx([0.9, 0.1])


def test_only_weightings_that_look_at_values_ask_for_them():
    assert isinstance(tchebycheff(0.5, flat_front), ObservesValues)
    assert not isinstance(PGAPO([0.5, 0.5]), ObservesValues)


def test_it_asks_for_values_before_it_weighs():
    with pytest.raises(HeedError, match="observe"):
        tchebycheff(0.5, flat_front)(torch.eye(2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mu": 0.0}, "mu is 0.0"),
        ({"average": 1.0}, "average is 1.0"),
        ({"share_floor": 0.5}, "share_floor is 0.5"),
        ({"floor": -1.0}, "floor is -1.0"),
        ({"ideal": [1.0]}, "2 preference weights, 1 ideal"),
        ({"ideal": [1.0, -1.0]}, "not above the nadir"),
        ({"preference": [0.5, 0.6]}, "sums to 1.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    given = {"preference": [0.5, 0.5], "ideal": [1.0, 1.0], "nadir": [-1.0, -1.0], **settings}
    with pytest.raises(HeedError, match=said):
        SmoothTchebycheff(**given)


def test_observed_values_must_be_finite_and_complete():
    with pytest.raises(ValueError, match="not finite"):
        tchebycheff(0.5, flat_front).observe(torch.tensor([float("inf"), 0.0]))
    with pytest.raises(HeedError, match=r"\[3\] values observed for 2"):
        tchebycheff(0.5, flat_front).observe(torch.zeros(3))


def test_a_value_that_was_not_measured_keeps_its_average():
    nan = float("nan")
    weighting = SmoothTchebycheff([0.5, 0.5], ideal=[1.0, 1.0], nadir=[-1.0, -2.0], average=0.5)
    weighting.observe(torch.tensor([0.4, nan]))
    assert weighting.values.tolist() == pytest.approx([0.4, -2.0])
    weighting.observe(torch.tensor([nan, 0.0]))
    assert weighting.values.tolist() == pytest.approx([0.4, -1.0])
