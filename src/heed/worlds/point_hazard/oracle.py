"""All that can be known of point hazard: its motion, its braking set and its doomed states are exact."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.worlds.backdrop import Backdrop, Disc, Rectangle
from heed.worlds.oracle import Oracle, on_states
from heed.worlds.point_hazard.geometry import (
    CATASTROPHE_REWARD,
    GOAL_REWARD,
    STEP_COST,
    Array,
    Hazards,
    advance,
    at_goal,
    brake,
    braking_clearance,
    braking_hits,
    careless,
    doomed,
    hits,
)
from heed.worlds.point_hazard.picture import MARGIN, push_in_frame, shares


def oracle(**settings: Any) -> Oracle:
    """What is known of ``heed/PointHazard-v0`` with these settings; what is not of `Hazards` changes nothing.

    >>> oracle(disc=0.9, render_mode="rgb_array").is_catastrophe(np.array([0.8, 0.25, 0.0, 0.0])).item()
    True
    """
    numbers = {name: value for name, value in settings.items() if name in Hazards.__dataclass_fields__}
    return replace(oracle_for(Hazards(**numbers)), kwargs=settings)


def oracle_for(world: Hazards) -> Oracle:
    """What is known of point hazard with these numbers.

    Args:
        world: the numbers.
    """
    return Oracle(
        about="a point mass with momentum; the round hazard and the walls are catastrophes",
        reports_catastrophe=True,
        danger=on_states(partial(careless, world=world)),
        safe_action=lambda observations: brake(observations, world).astype(np.float32),
        is_catastrophe=partial(hits, world=world),
        is_doomed=partial(doomed, world=world),
        brake_fails=partial(braking_hits, world=world),
        spare=lambda states: braking_clearance(states, world) / (world.speed * world.dt),
        at_goal=partial(at_goal, world=world),
        peek=lambda env, action: env.peek(action),
        dynamics=partial(dynamics, world=world),
        dt=world.dt,
        label_keys=(0, 1),
        variable_names=("x", "y", "x velocity", "y velocity"),
        action_names=(("left", "right"), ("down", "up")),
        in_frame=partial(shares, world=world),
        action_in_frame=partial(push_in_frame, world=world),
        backdrop=backdrop(world),
    )


def dynamics(states: ArrayLike, actions: ArrayLike, world: Hazards) -> tuple[Array, Array]:
    """The true next states [..., 4] and rewards [...].

    Args:
        states: [..., 4], (x, y, vx, vy).
        actions: [..., 2], clipped to +-1.
        world: the numbers.

    >>> following, rewards = dynamics([[0.0, 1.0, 0.0, 0.0]], [[1.0, 0.0]], Hazards())
    >>> following.round(2).tolist(), rewards.round(4).tolist()
    ([[0.01, 1.0, 0.1, 0.0]], [-0.0005])
    """
    now, goal = np.asarray(states, np.float64), np.array(world.goal)
    following = advance(now, actions, world)
    progress = np.linalg.norm(now[..., :2] - goal, axis=-1) - np.linalg.norm(following[..., :2] - goal, axis=-1)
    ends = GOAL_REWARD * at_goal(following, world) + CATASTROPHE_REWARD * hits(following, world)
    return following, np.asarray(progress - STEP_COST + ends)


def backdrop(world: Hazards) -> Backdrop:
    """The arena from above.

    Args:
        world: the numbers.

    >>> arena = backdrop(Hazards())
    >>> arena.place(np.array([-4.25, 3.25, 0.0, 0.0])).tolist(), (arena.width, arena.height)
    ([0.0, 0.0], (8.5, 6.5))
    """
    half = np.array([world.half_width, world.half_height]) + MARGIN

    def place(states: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(states[..., :2] * (1, -1) + half)

    def box(left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
        x, y = place(np.array([left, top]))
        return float(x), float(y), right - left, top - bottom

    def disc(centre: tuple[float, float], radius: float) -> tuple[float, float, float]:
        x, y = place(np.array(centre))
        return float(x), float(y), radius

    width, height = (float(length) for length in 2 * half)
    floor = -world.half_width, -world.half_height, world.half_width, world.half_height
    return Backdrop(
        width,
        height,
        place,
        (
            Rectangle("hazard", 0, 0, width, height),
            Rectangle("floor", *box(*floor)),
            Disc("goal", *disc(world.goal, world.goal_radius)),
            *(Rectangle("hazard", *box(*sides)) for sides in world.boxes),
            Disc("hazard", *disc(world.centre, world.disc)),
        ),
        about="The arena from above: hazards and walls are red, the goal is green.",
    )
