"""Looking ahead, by value, on a cart whose braking distance is known."""

import math

import pytest
import torch
from guard_worlds import DT, WALL, Cart, Wall, advance, braking, full_ahead

from heed.guard.models.support import Range
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.risk import CVaR, Mean, Worst


def imagination(dynamics=None, judge=None, policy=full_ahead, **settings):
    settings = {"particles": 1} | settings
    return Imagination(dynamics or Cart(), judge or Wall(), policy, **settings)


def test_a_future_is_the_dynamics_applied_step_by_step():
    plans = torch.tensor([[[1.0], [0.5], [-1.0]], [[0.0], [0.0], [0.0]]])
    state = torch.tensor([0.2, 0.4])
    futures = imagination(Cart(members=2), particles=3).roll(state, plans)
    assert futures.states.shape == (4, 2, 2, 3, 2)
    for number, plan in enumerate(plans):
        now = state
        for t, action in enumerate(plan):
            following = advance(now, action)
            assert torch.equal(futures.states[t + 1, :, number], following.expand(2, 3, 2))
            torch.testing.assert_close(futures.rewards[t, :, number], (following - now)[0].expand(2, 3))
            now = following


def test_a_particle_keeps_its_member():
    class Drift:
        members = 3

        def step(self, states, actions, generator=None):
            return states + torch.tensor([1.0, 10.0, 100.0])[:, None, None], states[..., 0]

    futures = imagination(Drift(), particles=2).roll(torch.zeros(1), torch.zeros(4, 5, 1))
    end = futures.states[-1, ..., 0]
    assert torch.equal(end, torch.tensor([5.0, 50.0, 500.0])[:, None, None].expand(3, 4, 2))


def test_controllers_act_on_what_each_particle_meets_after_the_plans_first_action():
    futures = imagination(Cart(members=2, noise=0.05), particles=3, generator=torch.Generator().manual_seed(0)).roll(
        torch.tensor([0.0, 1.0]), torch.full((2, 4, 1), 0.25), {1: (1, braking)}
    )
    assert bool((futures.actions[:, :, 0] == 0.25).all()) and bool((futures.actions[0, :, 1] == 0.25).all())
    for t in range(1, 4):
        assert torch.equal(futures.actions[t, :, 1], braking(futures.states[t, :, 1]))


def test_what_is_not_finite_or_out_of_range_is_dangerous_however_the_judge_finds_it():
    class Diverged:
        members = 1

        def step(self, states, actions, generator=None):
            return torch.where(actions > 0, torch.nan, states + 100 * actions), states[..., 0]

    class Fine:
        def danger(self, states, actions, next_states):
            return torch.zeros(states.shape[:-1])

    class Unsure:
        def danger(self, states, actions, next_states):
            return torch.full(states.shape[:-1], torch.nan)

    plans = torch.tensor([[[1.0]], [[-1.0]], [[0.0]]])
    reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.ones(1))
    result = imagination(Diverged(), Fine(), reach=reach).roll(torch.zeros(1), plans)
    assert result.risk(Worst()).tolist() == [1.0, 1.0, 0.0]
    assert imagination(Diverged(), Fine()).roll(torch.zeros(1), plans).risk(Worst()).tolist() == [1.0, 0.0, 0.0]
    assert imagination(Diverged(), Unsure()).roll(torch.zeros(1), plans).risk(Worst()).tolist() == [1.0] * 3


def test_what_follows_an_end_counts_neither_as_danger_nor_as_reward():
    ends = imagination(termination=lambda states: states[:, 0] >= 0.9)
    futures = ends.roll(torch.tensor([0.5, 2.0]), torch.zeros(1, 4, 1))  # 0.7, 0.9: ended, before the wall
    assert futures.danger.flatten().tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(futures.rewards.flatten(), torch.tensor([0.2, 0.2, 0.0, 0.0]))
    assert not bool(futures.alive.any())
    goes_on = imagination().roll(torch.tensor([0.5, 2.0]), torch.zeros(1, 4, 1))
    assert goes_on.danger.flatten().tolist() == [0, 0, 1, 1]
    assert goes_on.first_unsafe(0.5, Worst()).tolist() == [2]


def test_risk_is_the_mean_of_the_first_step_and_beyond_it_what_the_strategy_makes_of_each_futures_worst_moment():
    class Told:
        """Member m finds danger m/10 in the first step and the third, and (3 - m)/10 in the second."""

        def __init__(self, first=1.0):
            self.first = first

        def danger(self, states, actions, next_states):
            members = torch.arange(4.0) / 10
            danger = torch.stack([self.first * members, 0.3 - members, members])
            return danger[:, :, None, None].expand(states.shape[:-1])

    def rolled(steps=3, **settings):
        judge = Told(**settings)
        if steps == 1:
            judge.danger = lambda states, actions, next_states: (torch.arange(4.0) / 10)[None, :, None, None].expand(
                states.shape[:-1]
            )
        return imagination(Cart(members=4), judge).roll(torch.zeros(2), torch.zeros(1, steps, 1))

    torch.testing.assert_close(rolled().member_risk()[0], torch.tensor([0.3, 0.2, 0.2, 0.3]))
    assert rolled().risk(Worst()).item() == pytest.approx(0.3)
    assert rolled().risk(Mean()).item() == pytest.approx(0.25)
    assert rolled().risk(CVaR(0.75)).item() == pytest.approx(0.8 / 3)
    assert rolled(first=3.0).risk(Worst()).item() == pytest.approx(0.45)  # one member alone says .9
    assert rolled(steps=1).risk(Worst()).item() == pytest.approx(0.15)
    assert rolled().dangers(Worst())[:, 0].tolist() == pytest.approx([0.15, 0.3, 0.3])  # somebody finds so much
    assert rolled().dangers(Mean())[:, 0].tolist() == pytest.approx([0.15] * 3)
    assert rolled().first_unsafe(0.2, Worst()).tolist() == [1] and rolled().first_unsafe(0.2, Mean()).tolist() == [3]


def stopping_steps(v):
    """The least horizon at which full brake after one more step ahead is seen to meet the wall, from its distance."""
    x, steps = 0.0, 0
    v += DT
    x += v * DT
    while v > 1e-9:
        v = max(0.0, v - DT)
        x += v * DT
        steps += 1
    return x, steps


@pytest.mark.parametrize("v", [0.3, 0.8, 1.5])
def test_no_way_out_blocks_exactly_where_the_brake_no_longer_suffices(v):
    needed, steps = stopping_steps(v)
    lookout = Lookout(imagination(), steps + 2, 0.5, "no_way_out", brake=braking)
    ahead = torch.ones(1)
    assert lookout.look(torch.tensor([WALL - needed - 1e-3, v]), ahead).risk == 0
    assert lookout.look(torch.tensor([WALL - needed + 1e-3, v]), ahead).risk == 1


def test_policy_fails_blocks_what_no_way_out_still_allows():
    state = torch.tensor([0.0, 0.5])
    fails = Lookout(imagination(), 20, 0.5, "policy_fails", brake=braking).look(state, torch.ones(1))
    way_out = Lookout(imagination(), 20, 0.5, "no_way_out", brake=braking).look(state, torch.ones(1))
    assert (fails.risk, way_out.risk) == (1.0, 0.0)
    assert fails.first_unsafe == way_out.first_unsafe == 9  # both are of the policy's own future
    assert bool((way_out.tail()[0] == 1).all()) and bool((way_out.tail()[1:5] < 0).all())


def test_a_short_horizon_sees_the_wall_too_late():
    v = 1.5
    needed, _ = stopping_steps(v)
    doomed = torch.tensor([WALL - needed + 0.05, v])
    seen = [Lookout(imagination(), H, 0.5, brake=braking).look(doomed, torch.ones(1)).risk for H in (1, 5, 20)]
    assert seen == [0, 0, 1]


def test_horizon_zero_asks_the_blockers_about_state_and_action_alone():
    class AtWall:
        def danger(self, states, actions, next_states):
            assert torch.equal(states, next_states)
            return 0.5 * (states[..., 0] > 0.5) + 0.25 * actions[..., 0]

    class Never:
        members = 5

        def step(self, *_):
            raise AssertionError("HIRL has no model")

    lookout = Lookout(imagination(Never(), AtWall()), 0, 0.6)
    assert lookout.look(torch.tensor([0.6, 0.0]), torch.ones(1)).risk == 0.75
    assert lookout.look(torch.tensor([0.4, 0.0]), torch.ones(1)).risk == 0.25
    broken = Lookout(imagination(Never(), AtWall()), 0, 0.6).look(torch.tensor([0.0, 0.0]), torch.tensor([math.nan]))
    assert broken.risk == 1


def test_swerves_are_ways_out():
    class Side:
        """Danger ahead at x >= 0.3, unless one has moved aside in y."""

        members = 1

        def step(self, states, actions, generator=None):
            return states + 0.1 * actions, states[..., 0]

        def danger(self, states, actions, next_states):
            return ((next_states[..., 0] >= 0.3) & (next_states[..., 1] < 0.2)).float()

    world = Side()
    imagined = Imagination(world, world, lambda s: torch.tensor([1.0, 0.0]).expand(*s.shape[:-1], 2), particles=1)
    ahead = torch.tensor([1.0, 0.0])
    without = Lookout(imagined, 6, 0.5)
    aside = Lookout(imagined, 6, 0.5, swerves=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert without.look(torch.zeros(2), ahead).risk == 1 and aside.look(torch.zeros(2), ahead).risk == 0


def test_a_flag_has_no_range_and_everything_else_has():
    seen = torch.tensor([[0.0, 0.0, 7.0], [0.5, 1.0, 7.0], [1.0, 0.0, 7.0]])  # a place, a contact, a constant
    reach = Range.around(seen, margin=0.1)
    states = torch.tensor([[0.5, 0.4, 7.2], [0.5, -0.3, 6.0], [1.05, 1.4, 7.0], [1.2, 0.0, 7.0], [0.5, torch.inf, 7.0]])
    assert reach.outside(states).tolist() == [False, False, False, True, True]


def test_what_is_dangerous_by_itself_is_not_called_unknown_beyond_what_was_seen():
    reach = Range(torch.tensor([-1.0, -9.0]), torch.tensor([0.5, 9.0]), torch.ones(2))
    within = imagination(reach=reach)
    known = Lookout(within, 1, 0.5).look(torch.tensor([WALL - 0.01, 1.0]), torch.ones(1))
    assert (known.cause, known.unknown) == ("danger", ())
    harmless = Lookout(within, 1, 0.5).look(torch.tensor([0.49, 1.0]), torch.ones(1))
    assert (harmless.cause, harmless.unknown) == ("unknown", (0,))
