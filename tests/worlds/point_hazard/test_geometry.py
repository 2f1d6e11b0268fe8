"""Point hazard's geometry against oracles: rolled-out braking, the braking distance, a search for escapes."""

import itertools

import numpy as np
import pytest

from heed.errors import HeedError
from heed.worlds.point_hazard.geometry import (
    Hazards,
    advance,
    at_goal,
    brake,
    braking_clearance,
    braking_hits,
    braking_path,
    careless,
    clearance,
    doomed,
    hits,
    swerves,
)

WORLD = Hazards()
OPEN = Hazards(disc=0.0, goal=(3.0, 2.0), goal_radius=0.1)
"""No hazard but the walls, and the goal out of the way."""


def random_states(seed, count, world=WORLD):
    """States anywhere in the arena that are no catastrophe, at up to full speed."""
    random = np.random.default_rng(seed)
    place = random.uniform(-1, 1, (count, 2)) * (world.half_width, world.half_height)
    angle, speed = random.uniform(0, 2 * np.pi, count), random.uniform(0, world.speed, count)
    states = np.concatenate([place, np.stack([speed * np.cos(angle), speed * np.sin(angle)], -1)], -1)
    return states[~hits(states, world)]


def near_the_disc(seed, count):
    """States that approach the disc, where swerving can still help."""
    random = np.random.default_rng(seed)
    around, aim, speed = (random.uniform(low, high, count) for low, high in ((0, 2 * np.pi), (-0.6, 0.6), (0.3, 1.5)))
    distance = random.uniform(0.55, 1.6, count)
    place = np.stack([np.cos(around), np.sin(around)], -1) * distance[:, None] + WORLD.centre
    heading = np.stack([-np.cos(around + aim), -np.sin(around + aim)], -1) * speed[:, None]
    states = np.concatenate([place, heading], -1)
    return states[~hits(states, WORLD) & ~at_goal(states, WORLD)]


def test_the_velocity_is_changed_first_then_capped_then_moves_the_mass():
    start = np.array([1.0, -1.0, 0.9, 1.2])  # at full speed, 1.5
    pushed = np.array([0.9 + 0.1, 1.2 + 0.05])
    velocity = pushed * 1.5 / np.hypot(*pushed)
    expected = [*(start[:2] + 0.1 * velocity), *velocity]
    np.testing.assert_allclose(advance(start, [3.0, 0.5], WORLD), expected, atol=1e-12)  # the action is clipped to 1


def test_arrays_of_any_shape_agree_with_single_states():
    states = random_states(0, 60)[:24].reshape(2, 3, 4, 4)
    actions = np.random.default_rng(1).uniform(-1, 1, (2, 3, 4, 2))
    moved = advance(states, actions, WORLD)
    for index in np.ndindex(2, 3, 4):
        np.testing.assert_array_equal(moved[index], advance(states[index], actions[index], WORLD))
        for what in (hits, at_goal, braking_hits, doomed):
            assert what(states, WORLD)[index] == what(states[index], WORLD)


@pytest.mark.parametrize(
    ("place", "hit"),
    [
        ((0.0, 0.74), True),
        ((0.0, 0.76), False),
        ((0.0, -0.26), False),
        ((-0.49, 0.25), True),
        ((3.99, 0.0), False),
        ((4.01, 0.0), True),
        ((0.0, -3.01), True),
        ((1.9, 1.1), True),
        ((2.1, 1.1), False),
    ],
)
def test_the_disc_the_walls_and_a_box_are_hazards(place, hit):
    assert hits([*place, 0.0, 0.0], Hazards(boxes=((1.0, 1.0, 2.0, 1.5),))) == hit


def test_nothing_tunnels_through_a_thin_hazard_at_full_speed():
    thin = Hazards(disc=0.0, boxes=((0.0, -3.0, 0.08, 3.0),))  # thinner than a step of 0.15
    starts = np.stack([np.linspace(-0.15, -1e-3, 200), np.full(200, 1.0), np.full(200, 1.5), np.zeros(200)], -1)
    after = advance(starts, np.zeros(2), thin)
    beyond = after[..., 0] > 0.08
    assert beyond.sum() > 50  # the end of the step alone would see nothing
    assert hits(after, thin)[beyond].all()


def test_braking_in_closed_form_is_braking_step_by_step():
    states = random_states(2, 500)
    path = braking_path(states, WORLD)
    moving, rolled = states, [states]
    for _ in range(WORLD.braking_steps):
        moving = advance(moving, brake(moving, WORLD), WORLD)
        rolled.append(moving)
    np.testing.assert_allclose(path, np.stack(rolled, -2), atol=1e-12)
    np.testing.assert_allclose(path[:, -1, 2:], 0.0, atol=1e-12)
    assert np.abs(path[:, -2, 2:]).max() > 0  # the last step is needed by someone


def test_braking_hits_exactly_where_rolling_the_brake_meets_a_hazard_before_the_goal():
    states = np.concatenate([random_states(3, 4000), near_the_disc(4, 4000)])
    moving, hit, over = states, hits(states, WORLD), at_goal(states, WORLD)
    for _ in range(WORLD.braking_steps):
        moving = advance(moving, brake(moving, WORLD), WORLD)
        hit |= hits(moving, WORLD) & ~over
        over |= at_goal(moving, WORLD)
    np.testing.assert_array_equal(braking_hits(states, WORLD), hit)
    assert 0.1 < hit.mean() < 0.9


@pytest.mark.parametrize("speed", [0.3, 0.75, 1.2, 1.5])
def test_before_a_wall_a_state_is_doomed_from_the_braking_distance_on(speed):
    """The continuous answer is v^2 / (2 a); steps of dt stop within v dt of it."""
    distance = np.linspace(0.001, 2.0, 2000)
    states = np.stack([4.0 - distance, np.zeros(2000), np.full(2000, speed), np.zeros(2000)], -1)
    given_up = doomed(states, OPEN)
    np.testing.assert_array_equal(given_up, braking_hits(states, OPEN))  # straight at a wall no swerve helps
    braking_distance = speed**2 / 2
    assert not given_up[distance > braking_distance].any()
    assert given_up[distance < braking_distance - speed * OPEN.dt].all()
    exact = (speed / 0.1 - 1) * speed / 0.1 / 2 * 0.01 if round(speed / 0.1, 9).is_integer() else None
    if exact is not None:  # v dt sum_i (1 - i/n) over n = v/(a dt) steps
        np.testing.assert_array_equal(given_up, distance < exact - 1e-12)


def test_a_doomed_state_is_one_that_braking_does_not_save_and_all_that_follows_is_doomed_too():
    states = np.concatenate([random_states(5, 3000), near_the_disc(6, 3000)])
    given_up, braking = doomed(states, WORLD), braking_hits(states, WORLD)
    assert not (given_up & ~braking).any()
    assert (braking & ~given_up).sum() > 100  # swerving saves many that braking does not
    lost = states[given_up]
    after = advance(lost[:, None], swerves(16), WORLD)
    crashed_or_lost = braking_hits(after, WORLD) | at_goal(after, WORLD)
    assert crashed_or_lost.all()


def test_a_state_that_is_not_doomed_has_an_escape_and_most_doomed_ones_have_none():
    """Oracle: all turns between the eight pushes, each held for 2 to 8 steps, twice, and then the brake."""
    states = near_the_disc(7, 3000)
    worried = states[braking_hits(states, WORLD)][:300]
    pushes = [push for push in itertools.product((-1.0, 0.0, 1.0), repeat=2) if any(push)]
    escaped = np.zeros(len(worried), bool)
    for first, second in itertools.product(pushes, repeat=2):
        for held in (2, 4, 8):
            moving, alive = worried, np.ones(len(worried), bool)
            for push in (first, second):
                for _ in range(held):
                    moving = advance(moving, np.array(push), WORLD)
                    alive &= ~hits(moving, WORLD)
                    escaped |= alive & ~braking_hits(moving, WORLD)
    given_up = doomed(worried, WORLD)
    assert 20 < given_up.sum() < 280
    assert (given_up & escaped).mean() < 0.02  # the set is a little too large at most: turns are not tried
    assert (escaped & ~given_up).sum() > 0.95 * (~given_up).sum()


def test_whoever_keeps_out_of_the_braking_set_and_brakes_when_told_never_crashes():
    random = np.random.default_rng(8)
    moving = random_states(9, 400)
    moving = moving[~braking_hits(moving, WORLD)]
    for _ in range(120):
        proposed = random.uniform(-1, 1, (len(moving), 2)) + np.array([0.3, 0.0])
        blocked = braking_hits(advance(moving, proposed, WORLD), WORLD)
        moving = advance(moving, np.where(blocked[:, None], brake(moving, WORLD), proposed), WORLD)
        assert not hits(moving, WORLD).any()
        moving = moving[~at_goal(moving, WORLD)]


def test_braking_where_it_would_be_careless_not_to_keeps_out_of_the_braking_set():
    random = np.random.default_rng(10)
    moving = random_states(11, 400)
    moving = moving[~braking_hits(moving, WORLD)]
    braked = []
    for _ in range(60):
        warned = careless(moving, WORLD)
        actions = np.where(warned[:, None], brake(moving, WORLD), random.uniform(-1, 1, (len(moving), 2)))
        moving = advance(moving, actions, WORLD)
        assert not braking_hits(moving, WORLD).any()
        moving = moving[~at_goal(moving, WORLD)]
        braked.append(warned.mean())
    assert 0.005 < np.mean(braked) < 0.5  # and it does not brake always


def test_what_lies_behind_the_goal_does_not_count():
    fast = np.array([3.2, 0.62, 0.9, -1.2])  # reaches the goal in a step, and braking would pass x = 3.5 afterwards
    beyond = Hazards(half_width=3.5)
    assert at_goal(advance(fast, brake(fast, beyond), beyond), beyond)
    assert hits(braking_path(fast, beyond), beyond).any()
    assert not braking_hits(fast, beyond)
    assert not doomed(fast, beyond)


def test_swerves_push_with_all_that_the_axes_allow():
    directions = swerves(64)
    np.testing.assert_allclose(np.abs(directions).max(-1), 1.0)
    angles = np.unwrap(np.arctan2(directions[:, 1], directions[:, 0]))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 64)


@pytest.mark.parametrize("numbers", [{"dt": 0.0}, {"speed": -1.0}, {"acceleration": float("nan")}, {"disc": 3.5}])
def test_numbers_with_which_nothing_moves_or_nothing_can_be_won_are_refused(numbers):
    with pytest.raises(HeedError, match=next(iter(numbers)) if "disc" not in numbers else "goal"):
        Hazards(**numbers)


def test_clearance_is_the_distance_to_the_nearest_point_of_any_hazard():
    world = Hazards(boxes=((-3.0, -2.0, -2.0, -1.0), (1.0, 1.0, 1.5, 2.5)))
    random = np.random.default_rng(4)
    inside = random.uniform((-4.4, -3.4), (4.4, 3.4), (400_000, 2))
    bad = np.concatenate([inside, np.zeros_like(inside)], -1)
    bad = bad[hits(bad, world), :2]  # points that fill walls, disc and boxes
    states = random_states(5, 60, world)
    nearest = np.sqrt(((states[:, None, :2] - bad) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(clearance(states, world), nearest, atol=0.04)
    inside = np.concatenate([bad[:500], np.zeros((500, 2))], -1)
    assert (clearance(inside, world) <= 0).all()


def test_braking_clears_a_hazard_where_it_does_not_hit_and_by_the_smallest_distance_on_its_way():
    states = np.concatenate([random_states(6, 300), near_the_disc(7, 300)])
    spare, hit = braking_clearance(states, WORLD), braking_hits(states, WORLD)
    assert 50 < hit.sum() < len(states) - 50
    assert (spare[hit] <= 0.011).all()  # the middle of a step may cut a corner that its ends do not
    assert (spare[~hit] > 0).all()
    for state, braked in zip(states[:80], spare, strict=False):
        nearest, now = np.inf, state
        for _ in range(WORLD.braking_steps + 1):
            if at_goal(now, WORLD):
                break
            nearest = min(nearest, float(clearance(now, WORLD)))
            now = advance(now, brake(now, WORLD), WORLD)
        assert braked == pytest.approx(nearest, abs=1e-9)
