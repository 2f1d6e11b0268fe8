"""A picture of point hazard, drawn with numpy alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.worlds.overlay import Shape, arrow
from heed.worlds.point_hazard.geometry import Array, Hazards, braking_path

Picture = NDArray[np.uint8]

SCALE = 50
"""Pixels of one unit of length."""
MARGIN = 0.25
"""Length that is shown beyond the walls."""
FLOOR, WALL, HAZARD, GOAL = (247, 246, 242), (90, 90, 96), (203, 75, 62), (104, 168, 112)
RADIUS = 0.11
"""Of the mass, in units of length."""
MASS, VELOCITY, BRAKING = (38, 70, 120), (38, 70, 120), (222, 150, 60)


def draw(state: Array, world: Hazards) -> Picture:
    """The arena with the mass, its velocity as a line of one second's way, and dots where braking would take it.

    Args:
        state: [4], (x, y, vx, vy).
        world: the numbers.

    Returns:
        uint8 [height, width, 3], y upwards.

    >>> picture = draw(np.array([-3.0, 0.0, 1.5, 0.0]), Hazards())
    >>> picture.shape, picture[150, 50 * 4 + 12].tolist() == list(HAZARD)
    ((325, 425, 3), True)
    """
    picture = _arena(world).copy()
    for dot in braking_path(state, world)[1:, :2]:
        _paint(picture, world, dot, 0.05, BRAKING)
    for share in np.linspace(0.0, 1.0, 40):
        _paint(picture, world, state[:2] + share * state[2:], 0.025, VELOCITY)
    _paint(picture, world, state[:2], RADIUS, MASS)
    return np.asarray(np.rint(picture), dtype=np.uint8)


def shares(states: ArrayLike, world: Hazards) -> Array:
    """Where in the picture states [..., 4] are: [..., 2], shares of width and height from the upper left corner.

    >>> shares([0.0, 0.0, 1.0, 0.0], Hazards()).tolist()
    [0.5, 0.5]
    """
    x, y = np.moveaxis(np.asarray(states, np.float64)[..., :2], -1, 0)
    width, height = world.half_width + MARGIN, world.half_height + MARGIN
    return np.stack([(x + width) / (2 * width), (height - y) / (2 * height)], axis=-1)


def push_in_frame(_env: Any, observation: ArrayLike, action: ArrayLike, world: Hazards) -> list[Shape]:
    """The push of an action [2] as an arrow at the mass: along each axis a unit of length long at its strongest.

    >>> push_in_frame(None, [0.0, 0.0, 1.0, 0.0], [0.5, 0.0], Hazards(half_width=4.75, half_height=2.25))
    [Arrow(start=(0.511, 0.5), end=(0.561, 0.5))]
    """
    x, y = (float(value) for value in np.asarray(observation, np.float64)[:2])
    across, up = (float(value) for value in np.clip(np.asarray(action, np.float64), -1.0, 1.0))
    width, height = world.half_width + MARGIN, world.half_height + MARGIN
    return arrow((2 * width, 2 * height), (x + width, height - y), (across, -up), RADIUS)


def _grid(world: Hazards) -> tuple[Array, Array]:
    """Where the pixels' middles are: x of the columns [1, width], y of the rows [height, 1]."""
    width, height = world.half_width + MARGIN, world.half_height + MARGIN
    columns = (np.arange(round(2 * width * SCALE)) + 0.5) / SCALE - width
    rows = height - (np.arange(round(2 * height * SCALE)) + 0.5) / SCALE
    return columns[None, :], rows[:, None]


def _paint(picture: Array, world: Hazards, centre: ArrayLike, radius: float, colour: tuple[int, int, int]) -> None:
    """Colour a disc, whose edge is shaded over one pixel; only the pixels near it are looked at."""
    x, y = np.asarray(centre, np.float64)
    reach = radius + 1 / SCALE
    left = int(max((x - reach + world.half_width + MARGIN) * SCALE, 0))
    top = int(max((world.half_height + MARGIN - y - reach) * SCALE, 0))
    side = int(2 * reach * SCALE) + 2
    across, down = slice(left, left + side), slice(top, top + side)
    columns, rows = _grid(world)
    distance = np.hypot(columns[:, across] - x, rows[down] - y)
    cover = np.clip((radius - distance) * SCALE + 0.5, 0.0, 1.0)[..., None]
    part = picture[down, across]
    part += cover * (np.array(colour, np.float64) - part)


@lru_cache(maxsize=4)
def _arena(world: Hazards) -> Array:
    x, y = _grid(world)
    picture = np.empty((y.size, x.size, 3))
    picture[:] = WALL
    picture[(np.abs(x) <= world.half_width) & (np.abs(y) <= world.half_height)] = FLOOR
    _paint(picture, world, world.goal, world.goal_radius, GOAL)
    for left, bottom, right, top in world.boxes:
        picture[(x > left) & (x < right) & (y > bottom) & (y < top)] = HAZARD
    _paint(picture, world, world.centre, world.disc, HAZARD)
    return picture
