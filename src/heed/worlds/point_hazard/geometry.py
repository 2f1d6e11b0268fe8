"""Point hazard's geometry and motion, on arrays: where a mass crashes, and from where it can no longer help it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import HeedError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

STEP_COST = 0.01
GOAL_REWARD = 10.0
CATASTROPHE_REWARD = -2.0
"""Of a catastrophe. At -5 an unguarded learner often does not learn the way in 10,000 steps."""
SWERVES = 64
"""Constant directions that `doomed` tries before it gives a state up."""
_CHUNK = 256
"""States whose swerves are rolled out at once: 256 x 64 directions x 15 steps of braking fit in a few caches' worth."""


@dataclass(frozen=True)
class Hazards:
    """The numbers of a point-hazard world; lengths and speeds in the arena's own units, time in seconds.

    Args:
        disc: radius of the round hazard; 0 for none.
        centre: its centre (x, y).
        boxes: further hazards, each (left, bottom, right, top).
        half_width: the walls stand at x = +-half_width.
        half_height: the walls stand at y = +-half_height.
        goal: centre (x, y) of the goal.
        goal_radius: the goal is reached within this distance.
        dt: seconds of one step.
        acceleration: largest acceleration along each axis.
        speed: largest speed; a faster velocity is shortened to it.

    Raises:
        HeedError: if a length of time, acceleration or speed is not above 0, or the goal is in a hazard.

    >>> Hazards().braking_steps  # from full speed: 1.5 / (1 x .1)
    15
    """

    disc: float = 0.5
    centre: tuple[float, float] = (0.0, 0.25)
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    half_width: float = 4.0
    half_height: float = 3.0
    goal: tuple[float, float] = (3.0, 0.0)
    goal_radius: float = 0.6
    dt: float = 0.1
    acceleration: float = 1.0
    speed: float = 1.5

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing moves or nothing can be won; lists, as YAML has them, become tuples."""
        for name in ("centre", "goal"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "boxes", tuple(tuple(box) for box in self.boxes))
        for name in ("dt", "acceleration", "speed", "half_width", "half_height", "goal_radius"):
            if not getattr(self, name) > 0:
                raise HeedError(f"{name} is {getattr(self, name)}", where="Hazards", fix="give a number above 0")
        if hits([*self.goal, 0.0, 0.0], self):
            raise HeedError(f"the goal {self.goal} is in a hazard", where="Hazards", fix="move the goal or the hazard")

    @property
    def braking_steps(self) -> int:
        """Steps that brake from full speed to rest."""
        return ceil(self.speed / (self.acceleration * self.dt) - 1e-9)


def advance(states: ArrayLike, actions: ArrayLike, world: Hazards) -> Array:
    """The next states: ``v' = cap(v + a dt)``, ``x' = x + v' dt``.

    Args:
        states: [..., 4], (x, y, vx, vy).
        actions: [..., 2], accelerations as a share of the largest; clipped to +-1.
        world: the numbers.

    Returns:
        States [..., 4], float64.

    >>> advance([0.0, 0.0, 1.0, 0.0], [1.0, 0.0], Hazards()).tolist()
    [0.11000000000000001, 0.0, 1.1, 0.0]
    """
    now = np.asarray(states, np.float64)
    push = np.clip(np.asarray(actions, np.float64), -1.0, 1.0) * (world.acceleration * world.dt)
    velocity = now[..., 2:] + push
    speed = np.sqrt((velocity * velocity).sum(-1, keepdims=True))
    velocity = velocity * (world.speed / np.maximum(speed, world.speed))
    return np.concatenate([now[..., :2] + velocity * world.dt, velocity], axis=-1)


def _inside(positions: Array, world: Hazards) -> Bools:
    x, y = positions[..., 0], positions[..., 1]
    inside: Bools = (np.abs(x) > world.half_width) | (np.abs(y) > world.half_height)
    inside |= (x - world.centre[0]) ** 2 + (y - world.centre[1]) ** 2 < world.disc**2
    for left, bottom, right, top in world.boxes:
        inside |= (x > left) & (x < right) & (y > bottom) & (y < top)
    return inside


def hits(states: ArrayLike, world: Hazards) -> Bools:
    """Which states [..., 4] are catastrophes, bool [...]: in a hazard or beyond a wall.

    The middle of the step that led to a state (half a step back along its velocity) counts too, so that no corner is
    cut: at full speed a step is 0.15 long, and the deepest cut that goes unseen is 0.0015.

    >>> hits([[0.0, 0.7, 0.0, 0.0], [0.0, 0.8, 0.0, 0.0], [4.1, 0.0, 0.0, 0.0]], Hazards()).tolist()
    [True, False, True]
    """
    now = np.asarray(states, np.float64)
    here, velocity = now[..., :2], now[..., 2:]
    return _inside(here, world) | _inside(here - velocity * (0.5 * world.dt), world)


def clearance(states: ArrayLike, world: Hazards) -> Array:
    """The distance [...] from the positions of states [..., 4] to the nearest hazard or wall; not above 0 inside one.

    >>> clearance([[0.0, 1.0, 0.0, 0.0], [3.9, 0.0, 0.0, 0.0], [4.1, 0.0, 0.0, 0.0]], Hazards()).round(9).tolist()
    [0.25, 0.1, -0.1]
    """
    now = np.asarray(states, np.float64)
    x, y = now[..., 0], now[..., 1]
    nearest = np.minimum(world.half_width - np.abs(x), world.half_height - np.abs(y))
    if world.disc > 0:
        nearest = np.minimum(nearest, np.hypot(x - world.centre[0], y - world.centre[1]) - world.disc)
    for left, bottom, right, top in world.boxes:
        beside, above = np.maximum(left - x, x - right), np.maximum(bottom - y, y - top)
        outside = np.hypot(np.maximum(beside, 0.0), np.maximum(above, 0.0))
        nearest = np.minimum(nearest, np.where(outside > 0, outside, np.maximum(beside, above)))
    return np.asarray(nearest)


def at_goal(states: ArrayLike, world: Hazards) -> Bools:
    """Which states [..., 4] are within the goal, bool [...].

    >>> at_goal([[3.0, 0.5, 0.0, 0.0], [3.0, 0.7, 0.0, 0.0]], Hazards()).tolist()
    [True, False]
    """
    now = np.asarray(states, np.float64)
    reached: Bools = (now[..., 0] - world.goal[0]) ** 2 + (now[..., 1] - world.goal[1]) ** 2 <= world.goal_radius**2
    return reached


def brake(states: ArrayLike, world: Hazards) -> Array:
    """Actions [..., 2] that slow each axis as hard as allowed and stop it without reversing.

    >>> brake([0.0, 0.0, 1.0, -0.05], Hazards()).tolist()
    [-1.0, 0.5]
    """
    velocity = np.asarray(states, np.float64)[..., 2:]
    return np.clip(-velocity / (world.acceleration * world.dt), -1.0, 1.0)


def braking_path(states: ArrayLike, world: Hazards) -> Array:
    """The states [..., 1 + braking_steps, 4] that braking runs through, the present one first, in closed form.

    >>> braking_path([0.0, 0.0, 0.2, 0.0], Hazards())[:3, [0, 2]].tolist()
    [[0.0, 0.2], [0.010000000000000002, 0.1], [0.010000000000000002, 0.0]]
    """
    now = np.asarray(states, np.float64)
    slowing = np.arange(world.braking_steps + 1)[:, None] * (world.acceleration * world.dt)
    start = now[..., None, 2:]
    velocity = np.sign(start) * np.maximum(np.abs(start) - slowing, 0.0)
    moved = np.cumsum(velocity[..., 1:, :], axis=-2) * world.dt
    position = np.concatenate([now[..., None, :2], now[..., None, :2] + moved], axis=-2)
    return np.concatenate([position, velocity], axis=-1)


def braking_hits(states: ArrayLike, world: Hazards) -> Bools:
    """From which states [..., 4] braking at once still meets a hazard before rest or the goal, bool [...].

    This is what a far-sighted person blocks at. Catastrophes themselves are among these states; the goal ends an
    episode, so what would come after it does not count.

    >>> world = Hazards()  # the disc's left edge at this height is x = -0.5
    >>> braking_hits([[-1.7, 0.25, 1.5, 0.0], [-1.4, 0.25, 1.5, 0.0]], world).tolist()
    [False, True]
    """
    path = braking_path(states, world)
    hit, reached = hits(path, world), at_goal(path, world)
    ended = np.logical_or.accumulate(reached, axis=-1)
    before_goal = np.concatenate([np.ones_like(ended[..., :1]), ~ended[..., :-1]], axis=-1)
    return np.asarray((hit & before_goal).any(-1))


def braking_clearance(states: ArrayLike, world: Hazards) -> Array:
    """How far braking at once from states [..., 4] stays from every hazard until rest or the goal, [...].

    >>> braking_clearance([[-1.7, 0.25, 1.5, 0.0], [-1.4, 0.25, 1.5, 0.0]], Hazards()).round(2).tolist()
    [0.15, -0.15]
    """
    path = braking_path(states, world)
    reached = np.logical_or.accumulate(at_goal(path, world), axis=-1)
    return np.asarray(np.where(reached, np.inf, clearance(path, world)).min(-1))


def careless(states: ArrayLike, world: Hazards) -> Bools:
    """From which states [..., 4] some action leads into `braking_hits`, bool [...]: where a person watches closely.

    Whoever brakes in all of them stays out of the braking set. Tried are the 64 pushes of `swerves`, and coasting.

    >>> world = Hazards()
    >>> states = [[-1.4, 0.25, 1.3, 0.0], [-1.6, 0.25, 1.3, 0.0]]
    >>> careless(states, world).tolist(), braking_hits(states, world).tolist()
    ([True, False], [False, False])
    """
    pushes = np.concatenate([swerves(), np.zeros((1, 2))])
    after = advance(np.asarray(states, np.float64)[..., None, :], pushes, world)
    return np.asarray(braking_hits(after, world).any(-1) | hits(states, world))


def doomed(states: ArrayLike, world: Hazards) -> Bools:
    """From which states [..., 4] there is no escape left, bool [...].

    A state is given up if braking meets a hazard, and so does every one of 64 constant directions at full
    acceleration, held for any number of steps and followed by braking. An escape that is found is real; one that needs
    several turns is missed, so the set is the true one or slightly larger. A doomed state is one of `braking_hits`.

    >>> doomed([[-0.6, 0.25, 1.5, 0.0], [-1.4, 0.25, 1.5, 0.0]], Hazards()).tolist()  # the second can swerve
    [True, False]
    """
    now = np.asarray(states, np.float64)
    flat = now.reshape(-1, 4)
    lost = braking_hits(flat, world)
    worried = np.flatnonzero(lost)
    for first in range(0, len(worried), _CHUNK):
        chosen = worried[first : first + _CHUNK]
        lost[chosen] = ~_swerves_free(flat[chosen], world)
    return lost.reshape(now.shape[:-1])


def swerves(count: int = SWERVES) -> Array:
    """Actions [count, 2] that push with all that the axes allow, in directions evenly around the circle.

    >>> swerves(4).round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.0, -1.0]]
    """
    angle = 2 * np.pi * np.arange(count) / count
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(directions / np.abs(directions).max(-1, keepdims=True))


def _swerves_free(states: Array, world: Hazards) -> Bools:
    """For which states [N, 4] some swerve, then braking, stays clear, bool [N]."""
    free = np.zeros(len(states), bool)
    owner = np.repeat(np.flatnonzero(~hits(states, world)), SWERVES)
    moving, actions = states[owner], np.tile(swerves(), (len(owner) // SWERVES, 1))
    for _ in range(2 * world.braking_steps):
        moving = advance(moving, actions, world)
        alive = ~hits(moving, world)
        safe = alive & ~braking_hits(moving, world)
        free[owner[safe]] = True
        going = alive & ~free[owner]
        owner, moving, actions = owner[going], moving[going], actions[going]
    return free
