"""Planning, by value; the faults of known planners (facts.md) each have a test."""

import math

import pytest
import torch
from guard_worlds import DT, WALL, Cart, Wall, braking, full_ahead

from heed.errors import HeedError
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.optimizers import CEM, ICEM, MPPI, ChoiceCEM, coloured_noise, search_from_name
from heed.guard.planning.planner import SafePlanner, shortfall, utilities
from heed.guard.planning.risk import Worst

BOXES = {"cem": CEM, "icem": ICEM, "mppi": MPPI}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def imagination(dynamics=None, judge=None, seed=0, **settings):
    return Imagination(
        dynamics or Cart(), judge or Wall(), full_ahead, **{"particles": 1, "generator": seeded(seed)} | settings
    )


def test_feasible_plans_come_first_whatever_the_others_promise():
    risk = torch.tensor([0.0, 0.4, 0.5, 0.9, 0.2])
    value = torch.tensor([-50.0, -10.0, 1000.0, 2000.0, -30.0])
    order = utilities(risk, value, risk < 0.5).argsort(descending=True).tolist()
    assert order == [1, 4, 0, 2, 3]


def test_among_infeasible_plans_the_least_risky_comes_first():
    risk, value = torch.tensor([0.9, 0.6, 0.8]), torch.tensor([9.0, 1.0, 5.0])
    soon = torch.tensor([[0.9, 0.0, 0.8], [0.0, 0.6, 0.8]])  # the second is safe at first
    short = shortfall(risk, soon, 0.5)
    assert utilities(short, value, risk < 0.5).argsort(descending=True).tolist() == [1, 2, 0]


def test_where_the_next_step_is_dangerous_whatever_is_done_the_least_time_in_danger_comes_first():
    risk, value = torch.tensor([0.91, 0.9, math.nan]), torch.tensor([0.0, 5.0, 5.0])
    dangers = torch.tensor([[0.91, 0.9, 0.9], [0.1, 0.9, 0.0]])  # the first is a little more risky, for half as long
    short = shortfall(risk, dangers, 0.5)
    assert utilities(short, value, risk < 0.5).argsort(descending=True).tolist() == [0, 1, 2]
    assert torch.equal(shortfall(risk[:2], dangers[:, :2], 0.905), risk[:2])  # the second plan avoids it


def test_no_short_way_through_certain_danger_is_better_than_a_long_one_at_its_edge():
    short = shortfall(torch.tensor([0.6, 1.0]), torch.tensor([[0.6, 0.6]] + [[0.6, 1.0]] + 8 * [[0.6, 0.0]]), 0.5)
    assert short[0] < short[1]


class Ditch:
    """Dangerous between 0 and 1, the wall's place aside."""

    def danger(self, states, actions, next_states):
        return ((next_states[..., 0] > 0.0) & (next_states[..., 0] < 1.0)).float()


def test_where_danger_cannot_be_avoided_the_plan_leaves_it_soonest():
    """In the middle of it, going back at full speed: every plan is dangerous at its worst, and the way back is out."""
    planner = SafePlanner(ICEM(12, 1), imagination(judge=Ditch()), 0.5)
    plan = planner.plan(torch.tensor([0.3, -1.0]), [full_ahead], torch.zeros(1))
    assert not plan.feasible and plan.risk == 1.0
    inside = (plan.states[1:, 0, 0, 0] > 0.0).sum()
    brake = planner.imagination.roll(torch.tensor([0.3, -1.0]), torch.full((1, 12, 1), -1.0)).states[1:, 0, 0, 0, 0]
    assert inside == (brake > 0.0).sum() < 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_plans_that_are_not_finite_rank_last_even_where_all_returns_are_negative(bad):
    """mbrl-lib gives them -1e-10, which wins where returns are negative."""
    safe = torch.tensor([True, True, False])
    result = utilities(torch.tensor([0.1, 0.1, 0.9]), torch.tensor([bad, -1e6, -1e9]), safe)
    assert result.argmin() == 0 and result[0] == -math.inf and result[1:].isfinite().all()
    risky = utilities(torch.tensor([bad, 0.1, 1.0]), torch.tensor([1.0, -1e6, -1e9]), safe)
    assert risky.argmin() == 0


def test_coloured_noise_has_unit_variance_at_every_step_and_the_power_of_its_colour():
    for horizon in (8, 9):
        for exponent in (0.0, 1.0, 2.0):
            noise = coloured_noise(40_000, horizon, 2, exponent, seeded())
            assert noise.shape == (40_000, horizon, 2)
            torch.testing.assert_close(noise.std(0), torch.ones(horizon, 2), atol=0.02, rtol=0)
            power = torch.fft.rfft(noise[..., 0], dim=1).abs().square().mean(0)
            expected = 2.0**-exponent
            assert float(power[2] / power[1]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", BOXES)
def test_a_search_finds_the_best_plan_of_a_quadratic(name):
    target = torch.tensor([[0.6], [-0.3], [0.1], [-0.8]])
    search = BOXES[name](4, 1, samples=200, **({"exponent": 0.0} if name == "mppi" else {}))
    search.begin()
    for iteration in range(12):
        plans = search.propose(iteration, seeded(iteration))
        search.update(plans, -(plans - target).square().sum((1, 2)))
    assert float((search.mean - target).abs().max()) < (0.12 if name == "mppi" else 0.05)


@pytest.mark.parametrize("name", BOXES)
def test_a_wider_deviation_draws_wider_plans(name):
    """mbrl-lib's MPPI has a sigma without effect."""
    spread = [float(BOXES[name](5, 2, samples=500, deviation=d).propose(0, seeded()).std()) for d in (0.1, 0.4)]
    assert spread[0] == pytest.approx(0.1, rel=0.1) and spread[1] == pytest.approx(0.4, rel=0.15)


def test_the_elites_of_icem_move_on_with_the_state_and_do_not_survive_the_episode():
    search = ICEM(3, 1, samples=16, elites=4)
    plans = search.propose(0, seeded())
    search.update(plans, plans[:, 0, 0])
    best = plans[plans[:, 0, 0].argmax()]
    assert torch.equal(search.propose(1, seeded(1))[-2], best)  # the mean is the last
    search.begin()
    assert torch.equal(search.propose(0, seeded(2))[-1], torch.cat([best[1:], best[-1:]]))
    search.reset()
    assert len(search.propose(0, seeded(3))) == 16 and not bool(search.mean.any())


def test_icem_draws_fewer_plans_each_iteration():
    search = ICEM(3, 1, samples=64, elites=8, decay=2.0)
    assert [search.count(i) for i in range(4)] == [64, 32, 16, 16]


def test_utilities_that_are_not_finite_teach_nothing():
    for search in (CEM(3, 1), ICEM(3, 1), MPPI(3, 1), ChoiceCEM(3, 2)):
        before = search.probabilities if isinstance(search, ChoiceCEM) else search.mean
        plans = search.propose(0, seeded())
        search.update(plans, torch.full((len(plans),), -torch.inf))
        assert torch.equal(search.probabilities if isinstance(search, ChoiceCEM) else search.mean, before)
        some = torch.full((len(plans),), -torch.inf)
        some[3] = 1.0
        search.update(plans, some)
        learnt = search.probabilities if isinstance(search, ChoiceCEM) else search.mean
        assert learnt.isfinite().all() and not torch.equal(learnt, before)


def test_few_choices_are_enumerated_and_many_are_learnt():
    search = ChoiceCEM(2, 3, samples=9)
    plans = search.propose(0, seeded())
    assert {tuple(p.argmax(-1).tolist()) for p in plans} == {(i, j) for i in range(3) for j in range(3)}
    search = ChoiceCEM(6, 4, samples=100, elites=10)
    target = torch.tensor([3, 0, 1, 1, 2, 3])
    for iteration in range(8):
        plans = search.propose(iteration, seeded(iteration))
        assert bool((plans.sum(-1) == 1).all())
        search.update(plans, (plans.argmax(-1) == target).float().sum(1))
    assert torch.equal(search.probabilities.argmax(-1), target)


def planner_of(name="icem", horizon=20, threshold=0.5, dynamics=None, judge=None, **settings):
    search = search_from_name(name, horizon, 1, 64, discrete=False)
    return SafePlanner(search, imagination(dynamics, judge), threshold, deadline=60, **settings)


@pytest.mark.parametrize("name", ["icem", "cem", "mppi"])
def test_a_plan_goes_as_far_as_it_safely_can(name):
    planner = planner_of(name, iterations=6, enough=1000)
    plan = planner.plan(torch.tensor([0.0, 0.5]), [full_ahead, braking], torch.zeros(1))
    assert plan.feasible and plan.risk == 0
    assert 0.7 < plan.value < WALL  # braking alone gets 0.125 - far from the wall - idling crosses it


def test_where_only_the_brake_is_safe_the_plan_is_the_brake():
    v, x = 1.5, 0.0
    path, speed = 0.0, v
    while speed > 1e-9:
        speed = max(0.0, speed - DT)
        path += speed * DT
    x = WALL - path - 1e-3
    plan = planner_of().plan(torch.tensor([x, v]), [full_ahead, braking], torch.zeros(1))
    assert plan.feasible and float(plan.actions[0, 0]) == -1.0


def test_where_nothing_is_safe_the_plan_says_so_and_is_the_least_risky():
    class Shades(Wall):
        def danger(self, states, actions, next_states):
            return (0.6 + 0.2 * next_states[..., 0]).clamp(0.6, 1.0)

    planner = planner_of(judge=Shades(), iterations=2)
    plan = planner.plan(torch.tensor([0.0, 0.5]), [full_ahead, braking], torch.zeros(1))
    assert not plan.feasible and plan.risk == pytest.approx(0.6 + 0.2 * 0.10, abs=0.01)


def test_enough_feasible_plans_end_the_search_and_so_does_the_deadline():
    state = torch.tensor([-5.0, 0.0])
    assert planner_of(iterations=5, enough=10).plan(state, [braking], torch.zeros(1)).iterations == 1
    assert planner_of(iterations=5, enough=10_000).plan(state, [braking], torch.zeros(1)).iterations == 5
    ticks = iter([0.0, 0.01, 0.06, 0.2])
    late = SafePlanner(
        CEM(5, 1), imagination(), 0.5, iterations=5, enough=10_000, deadline=0.05, clock=lambda: next(ticks)
    )
    result = late.plan(state, [braking], torch.zeros(1))
    assert (result.iterations, result.late) == (2, True)


def test_the_way_out_that_was_known_is_a_seed():
    planner, known = planner_of(iterations=1), torch.linspace(-1, 0, 15)[:, None]
    seeds, following = planner._seeded(torch.zeros(2), torch.zeros(4, 20, 1), [braking], torch.zeros(1), known)
    assert torch.equal(seeds[2], torch.cat([known, known[-1:].expand(5, 1)])) and list(following) == [0]
    without, _ = planner._seeded(torch.zeros(2), torch.zeros(4, 20, 1), [braking], torch.zeros(1), None)
    assert len(seeds) == 7 and len(without) == 6


def test_a_way_out_that_nothing_else_finds_is_taken():
    """A narrow gap: only the plan that was known before comes through."""

    class Gap(Wall):
        def danger(self, states, actions, next_states):
            return ((actions[..., 0] - 0.37).abs() > 1e-3).float()

    known = torch.full((19, 1), 0.37)
    planner = planner_of(judge=Gap(), iterations=1)
    assert not planner.plan(torch.zeros(2), [braking], torch.zeros(1)).feasible
    result = planner.plan(torch.zeros(2), [braking], torch.zeros(1), known)
    assert result.feasible and torch.equal(result.actions, torch.full((20, 1), 0.37))


def test_the_value_beyond_the_horizon_counts_only_where_the_future_goes_on():
    ends = Imagination(Cart(), Wall(), full_ahead, particles=1, termination=lambda s: s[:, 0] >= 0.5)
    planner = SafePlanner(CEM(2, 1), ends, 0.5, gamma=0.5, terminal_value=lambda s: torch.full((len(s),), 8.0))
    plans = torch.tensor([[[0.0], [0.0]]])
    going = ends.roll(torch.tensor([0.0, 1.0]), plans)
    assert planner._value(going).item() == pytest.approx(0.1 + 0.05 + 0.25 * 8)
    ended = ends.roll(torch.tensor([0.45, 1.0]), plans)
    assert planner._value(ended).item() == pytest.approx(0.1)


def test_the_worst_case_over_members_decides_not_the_wrong_rows():
    """OmniSafe's CAP puts one plan's uncertainty on another: here only one plan of many is dangerous in one member."""

    class OneMember:
        def danger(self, states, actions, next_states):
            members = torch.arange(3.0)[:, None, None]
            return ((members == 1) & (actions[..., 0] > 0.9)).float().expand(states.shape[:-1])

    plans = torch.zeros(7, 3, 1)
    plans[4] = 1.0
    futures = imagination(Cart(members=3), OneMember(), particles=2).roll(torch.zeros(2), plans)
    assert futures.risk(Worst()).tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert futures.member_risk()[4].tolist() == [0, 1, 0]


def test_unknown_searches_are_refused_in_a_line():
    with pytest.raises(HeedError, match="no planner"):
        search_from_name("simplex", 5, 1, 16, discrete=False)
    with pytest.raises(HeedError, match="choices"):
        search_from_name("mppi", 5, 3, 16, discrete=True)
    with pytest.raises(HeedError, match="elites"):
        CEM(5, 1, samples=4, elites=8)


@pytest.mark.parametrize(("margin", "chosen"), [(1.0, 0.4), (0.5, 0.2)])
def test_plans_compete_by_value_only_well_below_the_threshold(margin, chosen):
    """Two plans: one worth 10 with a danger of .4, one worth 1 with .2; the threshold is .5."""

    class TwoPlans:
        def propose(self, iteration, generator):
            return torch.tensor([[[0.4]], [[0.2]]])

        def update(self, plans, utility):
            pass

    class AsPlanned:
        members = 1

        def step(self, states, actions, generator=None):
            return states, torch.where(actions[..., 0] > 0.3, 10.0, 1.0)

    class Told:
        def danger(self, states, actions, next_states):
            return torch.where(actions[..., 0] == 0, 1.0, actions[..., 0])  # idling is no way out here

    seen = Imagination(AsPlanned(), Told(), lambda states: torch.zeros(len(states), 1), particles=1)
    planner = SafePlanner(TwoPlans(), seen, 0.5, iterations=1, margin=margin)
    plan = planner.plan(torch.zeros(1), [], torch.zeros(1))
    assert float(plan.actions[0, 0]) == pytest.approx(chosen) and plan.feasible
    assert plan.risk == pytest.approx(chosen)
