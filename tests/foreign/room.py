"""A double integrator in a room with a wall across, and twenty sensors that have nothing to do with it."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import gymnasium as gym
import numpy as np

from foreign.overseers import InTime, LastMoment
from heed.worlds import Oracle

DT, DRAG = 0.1, 0.3
HALF, WALL, GAP = 2.5, 0.15, 0.0
"""Half the room's side, half the wall's thickness, and the height at which the wall ends."""
DOOR, GOAL, GOAL_RADIUS = np.array([0.0, 1.2]), np.array([1.4, -1.0]), 0.5
WHITE, SLOW, STAYS = 10, 10, 0.95
"""Sensors of white noise, and of noise that keeps this share of itself from step to step."""


def in_wall(states: Any) -> Any:
    """Which states [..., 24] are in a wall, bool [...]."""
    x, y = np.moveaxis(np.asarray(states)[..., :2], -1, 0)
    return (np.abs(x) > HALF) | (np.abs(y) > HALF) | ((np.abs(x) < WALL) & (y < GAP))


def collided(observation: Any, _info: Any) -> bool:
    """The catastrophe."""
    return bool(in_wall(observation))


def brake(observations: Any) -> Any:
    """Actions [..., 2] that stop it as hard as they can."""
    return np.clip(-np.asarray(observations)[..., 2:4] / DT, -1.0, 1.0).astype(np.float32)


def push(states: Any, actions: Any) -> Any:
    """The next places and velocities [..., 4]."""
    now, force = np.asarray(states, np.float64), np.clip(np.asarray(actions, np.float64), -1.0, 1.0)
    speed = now[..., 2:4] + DT * (force - DRAG * now[..., 2:4])
    return np.concatenate([now[..., :2] + DT * speed, speed], -1)


def way_left(states: Any) -> Any:
    """Length [...] of the way to the goal, through the door where that lies between."""
    place = np.asarray(states, np.float64)[..., :2]
    through = np.linalg.norm(place - DOOR, axis=-1) + np.linalg.norm(DOOR - GOAL)
    return np.where(place[..., 0] < 0, through, np.linalg.norm(place - GOAL, axis=-1))


def expected(states: Any, actions: Any) -> tuple[Any, Any]:
    """The next states and rewards, with what is to be expected of the sensors."""
    sensors = np.asarray(states, np.float64)[..., 4:] * np.repeat((0.0, STAYS), (WHITE, SLOW))
    following = np.concatenate([push(states, actions), sensors], -1)
    return following, earned(states, following)


def earned(states: Any, following: Any) -> Any:
    """Rewards [...]: the way made, and 5 at the goal."""
    there = np.linalg.norm(following[..., :2] - GOAL, axis=-1) < GOAL_RADIUS
    return way_left(states) - way_left(following) - 0.01 + 5.0 * there


class Room(gym.Env[Any, Any]):
    """From the left half of the room through the door into a corner of the right one.

    Observation: float32 [24], place, velocity, and twenty sensors. Action: force along both axes.
    """

    limit = 120
    observation_space = gym.spaces.Box(-np.inf, np.inf, (4 + WHITE + SLOW,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    oracle = Oracle(
        about="a mass in a room; meeting a wall is a catastrophe",
        safe_action=brake,
        is_catastrophe=in_wall,
        dynamics=expected,
    )

    def __init__(self) -> None:
        self.state, self.sensors, self.taken = np.zeros(4), np.zeros(WHITE + SLOW), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin at rest, low on the left."""
        super().reset(seed=seed)
        self.taken = 0
        self.state = np.concatenate([self.np_random.uniform((-1.5, -1.3), (-0.9, -0.7)), np.zeros(2)])
        self.sensors = self.np_random.standard_normal(WHITE + SLOW)
        return self._observed(), {"goal": False}

    def step(self, action: Any) -> Any:
        """Push for a tenth of a second."""
        before, self.state = self.state, push(self.state, action)
        noise = self.np_random.standard_normal(WHITE + SLOW)
        self.sensors = np.concatenate(
            [noise[:WHITE], STAYS * self.sensors[WHITE:] + np.sqrt(1 - STAYS**2) * noise[WHITE:]]
        )
        self.taken += 1
        goal = bool(np.linalg.norm(self.state[:2] - GOAL) < GOAL_RADIUS)
        reward, over = float(earned(before, self.state)), goal or bool(in_wall(self.state))
        return self._observed(), reward, over, self.taken >= self.limit and not over, {"goal": goal}

    def twin(self) -> Self:
        """A room like this one; its sensors say something else, and do not matter."""
        return type(self)()

    def mirror(self, other: Self) -> None:
        """Stand where the other one does."""
        self.state = other.state.copy()

    def _observed(self) -> Any:
        return np.concatenate([self.state, self.sensors]).astype(np.float32)


last_moment = partial(LastMoment, catastrophe=collided)
in_time = partial(InTime, catastrophe=collided, recovery=brake, steps=40)
