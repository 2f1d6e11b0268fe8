"""LunarLander-v3 and BipedalWalker-v3, of Box2D: crashes and falls are catastrophes.

Box2D's worlds cannot be copied. A twin is built on the same ground, from the chance that the other one began with, and
its bodies are then put where the other one's are; what joints and contacts remember is lost, which is little in a step.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Self

import numpy as np
from gymnasium.envs.box2d.bipedal_walker import BipedalWalker
from gymnasium.envs.box2d.lunar_lander import LunarLander

from foreign.episodes import Limited
from foreign.overseers import InTime, LastMoment
from heed.worlds import Oracle

CRASH = -100.0
"""The reward by which both environments say it."""


class Rebuilt(Limited):
    """A twin of a Box2D environment is built on its ground, and its bodies are put where they are."""

    limit = 400
    begun_with: Any = None
    episode = 0
    built = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode; what chance it begins with is remembered."""
        self.begun_with = copy.deepcopy(self.np_random) if seed is None else seed
        self.episode += 1
        return super().reset(seed=seed, options=options)

    def mirror(self, other: Self) -> None:
        """Stand where the other one does."""
        if self.built != other.episode:
            self.built, chance = other.episode, other.begun_with
            if not isinstance(chance, int):
                self.np_random = copy.deepcopy(chance)
            self.reset(seed=chance if isinstance(chance, int) else None)
        for mine, theirs in zip(self.bodies(), other.bodies(), strict=True):
            mine.position, mine.angle, mine.awake = theirs.position, theirs.angle, True
            mine.linearVelocity, mine.angularVelocity = theirs.linearVelocity, theirs.angularVelocity
            if hasattr(theirs, "ground_contact"):
                mine.ground_contact = theirs.ground_contact
        self.game_over, self.prev_shaping = other.game_over, other.prev_shaping


def crashed(_observation: Any, info: Any) -> bool:
    """The catastrophe of both."""
    return bool(info["terminated"]) and float(info["reward"]) == CRASH


def nearly_crashed(observation: Any, info: Any) -> bool:
    """What one keeps out of in time: the edge of the screen, and a tilt near the ground; the engines scatter."""
    x, y, angle = observation[0], observation[1], observation[4]
    return crashed(observation, info) or abs(x) > 0.85 or bool(y < 0.3 and abs(angle) > 0.4)


def hover(observations: Any) -> Any:
    """Actions [..., 2] that land the lander: the controller that Gymnasium has for it, on arrays."""
    x, y, sideways, rising, angle, turns, left, right = np.moveaxis(np.asarray(observations, np.float64), -1, 0)
    landed = (left + right) > 0
    lean = np.clip(0.5 * x + sideways, -0.4, 0.4)
    turn = np.where(landed, 0.0, 0.5 * (lean - angle) - turns)
    lift = np.where(landed, 0.0, 0.5 * (0.55 * np.abs(x) - y)) - 0.5 * rising
    return np.clip(np.stack([20.0 * lift - 1.0, -20.0 * turn], -1), -1.0, 1.0).astype(np.float32)


def squat(observations: Any) -> Any:
    """Actions [..., 4] of the walker that hold its legs apart and its hull level."""
    seen = np.asarray(observations, np.float64)
    hips = [1.5 * (goal - seen[..., i]) - 0.25 * seen[..., i + 1] for goal, i in ((0.4, 4), (-0.2, 9))]
    knees = [4.0 * (0.5 - seen[..., i]) - 0.25 * seen[..., i + 1] for i in (6, 11)]
    level = 0.9 * seen[..., 0] + 1.5 * seen[..., 1]
    return np.clip(np.stack([hips[0] + level, knees[0], hips[1] + level, knees[1]], -1), -1.0, 1.0).astype(np.float32)


class Lander(Rebuilt, LunarLander):
    """LunarLander-v3 with continuous engines, for at most 400 steps."""

    oracle = Oracle(about="a lander; a crash is a catastrophe", safe_action=hover)

    def __init__(self) -> None:
        super().__init__(continuous=True)

    def twin(self) -> Self:
        """Another one."""
        return type(self)()

    def bodies(self) -> list[Any]:
        """What moves."""
        return [self.lander, *self.legs]


class Biped(Rebuilt, BipedalWalker):
    """BipedalWalker-v3, for at most 400 steps."""

    oracle = Oracle(about="a walker on two legs; a fall is a catastrophe", safe_action=squat)

    def twin(self) -> Self:
        """Another one."""
        return type(self)()

    def bodies(self) -> list[Any]:
        """What moves."""
        return [self.hull, *self.legs]


last_moment = partial(LastMoment, catastrophe=crashed)
lander_in_time = partial(InTime, catastrophe=nearly_crashed, recovery=hover, steps=150)
biped_in_time = partial(InTime, catastrophe=crashed, recovery=squat, steps=100)
