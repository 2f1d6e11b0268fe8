"""What imagination wrongly tells of peace: measured by the step, allowed for, and no more than that."""

import pytest
import torch
from guard_worlds import WALL, Cart, Wall, braking, full_ahead

from heed.guard.labels import LabelCollector
from heed.guard.models.models import Models
from heed.guard.models.transitions import Transitions, real_windows
from heed.guard.planning import building as planning
from heed.guard.planning.building import find_belief
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.drift import ALPHA, MOST, belief_by_step
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.risk import Mean, Worst

STEPS, ALLOWED = 6, 0.1


class Straying:
    """The cart, but each member pushes its own way all the time: after some steps it imagines what is not."""

    members = 4

    def step(self, states, actions, generator=None):
        following, rewards = Cart(members=4).step(states, actions, generator)
        push = torch.tensor([-0.02, 0.0, 0.02, 0.08])[:, None]
        return torch.stack([following[..., 0] + push, following[..., 1]], -1), rewards


class Near:
    """Danger rises before the wall: a tenth at .3 before it, and 1 in it."""

    def danger(self, states, actions, next_states):
        return (1.0 - (WALL - next_states[..., 0]) * 3).clamp(0, 1)


def imagined(dynamics, **settings):
    return Imagination(dynamics, Near(), full_ahead, 1, **settings)


def parked(count, before):
    """Windows of a cart that stands still at random, at least so far before the wall."""
    places = WALL - before - torch.rand(count, generator=torch.Generator().manual_seed(0))
    states = torch.stack([places, torch.zeros(count)], -1)[:, None].expand(-1, STEPS + 1, -1)
    return states, torch.zeros(count, STEPS, 1)


def risks(imagination, states, actions):
    futures = [imagination.roll(state, plan[None]) for state, plan in zip(states[:, 0], actions, strict=True)]
    return torch.stack([each.risk(Worst())[0] for each in futures])


def test_no_more_of_what_happened_in_peace_is_flagged_further_ahead_than_at_the_first_step():
    states, actions = parked(300, before=0.28)
    belief = belief_by_step(imagined(Straying()), states, actions, Worst(), ALLOWED)
    assert belief[0] == 1.0 and bool((belief.diff() <= 0).all()) and float(belief[-1]) < 0.3
    fresh, actions = parked(900, before=0.28)
    first = Near().danger(None, None, fresh[300:, 1] + torch.tensor([0.08, 0.0])) >= ALLOWED
    told = risks(imagined(Straying()), fresh[300:], actions[300:]) >= ALLOWED
    believed = risks(imagined(Straying(), belief=belief), fresh[300:], actions[300:]) >= ALLOWED
    assert 0.05 < float(first.float().mean()) < 0.2 and float(told.float().mean()) > 0.4
    assert float((believed & ~first).float().mean()) < 0.05


def test_more_of_peace_may_be_flagged_where_more_is_allowed():
    states, actions = parked(300, before=0.28)
    strict, lenient = (belief_by_step(imagined(Straying()), states, actions, Worst(), ALLOWED, a) for a in (0.02, 0.2))
    fresh, actions = parked(900, before=0.28)
    shares = [
        float((risks(imagined(Straying(), belief=b), fresh[300:], actions[300:]) >= ALLOWED).float().mean())
        for b in (strict, lenient)
    ]
    assert bool((lenient >= strict).all()) and float(lenient[-1]) > float(strict[-1])
    assert shares[0] < 0.2 and 0.12 < shares[1] < 0.3


@pytest.mark.parametrize(
    ("late", "block_when", "expected"),
    [(True, "auto", MOST), (False, "auto", ALPHA), (True, "policy_fails", ALPHA), (False, "no_way_out", MOST)],
)
def test_a_policys_own_future_may_look_dangerous_where_a_way_out_is_enough(late, block_when, expected, monkeypatch):
    asked = []
    monkeypatch.setattr(planning, "belief_by_step", lambda *told: asked.append(told[-1]))
    models = Models(2, 1)
    models.late = late
    collector = LabelCollector(2, 1)
    collector.transitions.add([0.0, 0.0], [0.0], [0.0, 0.0], reward=0.0)
    find_belief(PlanningConfig(block_when=block_when), models, collector)
    assert asked == [expected]


def test_what_peace_explains_does_not_block_and_what_it_does_not_explain_does():
    states, actions = parked(300, before=0.5)
    belief = belief_by_step(imagined(Straying()), states, actions, Worst(), ALLOWED)
    all_told, believed = imagined(Straying()), imagined(Straying(), belief=belief)
    still = torch.tensor([WALL - 0.55, 0.0])
    looks = [Lookout(each, STEPS, ALLOWED, "no_way_out", Worst(), brake=braking) for each in (all_told, believed)]
    assert [look.look(still, torch.zeros(1)).safe for look in looks] == [False, True]
    for look in looks:  # at speed, and one step before the wall
        assert not look.look(torch.tensor([WALL - 0.05, 1.0]), torch.ones(1)).safe
        assert look.look(torch.tensor([WALL - 0.05, 1.0]), torch.ones(1)).cause == "danger"


def test_exact_models_are_believed_as_they_are():
    states, actions = parked(300, before=0.5)
    assert (
        belief_by_step(Imagination(Cart(), Wall(), full_ahead, 1), states, actions, Mean(), 0.5).tolist()
        == [1.0] * STEPS
    )


def test_where_the_models_are_lost_it_is_danger_however_little_is_believed():
    class Lost(Cart):
        def step(self, states, actions, generator=None):
            following, rewards = super().step(states, actions, generator)
            return torch.where(following[..., :1] > 0.5, torch.nan, following), rewards

    look = imagined(Lost(), belief=torch.full((STEPS,), 1e-3))
    assert float(look.roll(torch.tensor([0.45, 1.0]), torch.ones(1, STEPS, 1)).risk(Mean())) == 1.0


def test_too_few_windows_tell_nothing():
    few, enough = parked(48, before=0.5), parked(49, before=0.5)
    for alpha in (ALPHA, MOST):
        assert belief_by_step(imagined(Straying()), *few, Worst(), ALLOWED, alpha) is None
        assert belief_by_step(imagined(Straying()), *enough, Worst(), ALLOWED, alpha) is not None


def test_windows_leave_out_where_somebody_blocked():
    seen = Transitions(1, 1)
    for x in range(100):
        seen.add([x], [0.0], [x + 1], reward=0.0)
    states, actions = real_windows(seen, 5, without=torch.tensor([[50.0], [90.0]]))
    assert states.shape[1:] == (6, 1) and actions.shape[1:] == (5, 1)
    starts = states[:, 0, 0]
    assert not bool(((starts > 45) & (starts <= 50)).any()) and not bool((starts > 85).logical_and(starts <= 90).any())
    assert {45.0, 51.0, 85.0, 91.0} <= set(starts.tolist())  # a window may end where somebody blocked


def test_where_danger_is_known_all_is_believed():
    models = Models(2, 1, known_danger=Wall())
    models.belief = torch.zeros(3)
    find_belief(PlanningConfig(), models, LabelCollector(2, 1))
    assert models.belief is None
