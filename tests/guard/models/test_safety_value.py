"""From which states danger cannot be avoided any more: against braking distances that are known."""

import math

import torch

from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.safety_value import HELD, SWEEPS, SafetyValue
from heed.guard.models.transitions import Transitions

STEP = 0.1


def cart(states, actions):
    """Position and speed, pushed by up to 1 either way; no reward."""
    speed = (states[..., 1] + STEP * actions[..., 0]).clamp(-3, 3)
    return torch.stack([states[..., 0] + STEP * speed, speed], -1), torch.zeros(states.shape[:-1])


def beyond_wall(states, actions, following):
    return following[..., 0] >= 5.0


def grid():
    x, v = torch.meshgrid(torch.linspace(-4, 4.9, 60), torch.linspace(-3, 3, 41), indexing="ij")
    return torch.stack([x.flatten(), v.flatten()], 1)


def fitted(unsafe=beyond_wall, survived=None, controllers=(), constants=((-1.0,), (0.0,), (1.0,))):
    value, states = SafetyValue(2), grid()
    still = states[states[:, 1] <= 0] if survived is None else survived
    told = value.fit(
        states, still, KnownDynamics(cart, members=1), unsafe, torch.tensor(constants), controllers,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    return value, told


def room_to_spare(states):
    """Distance to the wall, less what full braking takes."""
    return 5.0 - states[:, 0] - states[:, 1].clamp(min=0) ** 2 / 2


def test_states_from_which_braking_fails_are_lost_and_no_others():
    value, wrong = fitted()
    states = grid()
    spare, lost = room_to_spare(states), value(states) >= value.bar
    assert wrong < 0.02 and value.bar == 0.2
    assert lost[spare < -0.5].float().mean() > 0.97 and lost[spare > 0.5].float().mean() < 0.05


def test_danger_beyond_reaches_the_threshold_where_the_value_reaches_the_bar():
    value, _ = fitted()
    states = grid()
    assert torch.equal(value.danger(states, 0.2) >= 0.2, value(states) >= value.bar)
    assert value.danger(torch.full((3, 2), torch.nan), 0.2).tolist() == [1.0] * 3


def test_a_controller_is_a_way_out_where_no_constant_action_is():
    ahead = ((1.0,),)
    alone, _ = fitted(constants=ahead, survived=grid()[:0])
    brake = lambda states: -torch.ones(len(states), 1)  # noqa: E731
    saved, _ = fitted(constants=ahead, controllers=(brake,))
    near = torch.tensor([[3.0, 0.5], [2.0, 1.0]])
    assert math.isinf(alone.bar) and (alone(near) > 0.9).all() and (saved(near) < 0.1).all()


def test_a_value_that_calls_lost_what_was_survived_is_not_believed():
    everywhere = lambda states, actions, following: torch.ones(states.shape[:-1], dtype=torch.bool)  # noqa: E731
    value, wrong = fitted(unsafe=everywhere)
    assert wrong == 1.0 and math.isinf(value.bar) and value.danger(grid(), 0.2).max() == 0.0


def test_who_survived_is_told_from_what_followed():
    seen = Transitions(1, 1)
    for episode in (range(4), range(10, 15)):
        for x in episode:
            end = x in (3, 14)
            seen.add([float(x)], [0.0], [float(x + 1)], 0.0, terminated=end, catastrophe=x == 3)
    lost = seen.tensors().catastrophe
    assert seen.survived(lost, 2).tolist() == [True, True, False, False] + [True] * 5
    assert seen.survived(lost, 4).tolist() == [False] * 4 + [True] * 5
    cut = Transitions(1, 1)
    for x in range(5):
        cut.add([float(x)], [0.0], [float(x + 1)], 0.0)
    assert cut.survived(torch.zeros(5, dtype=torch.bool), 3).tolist() == [True, True, True, False, False]
    assert HELD * SWEEPS == 40
