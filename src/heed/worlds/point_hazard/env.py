"""Point hazard: a mass with momentum, a round hazard, walls, and a goal behind it (docs/methods.md)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from heed.errors import HeedError
from heed.worlds.oracle import Oracle
from heed.worlds.point_hazard.geometry import (
    CATASTROPHE_REWARD,
    GOAL_REWARD,
    STEP_COST,
    Array,
    Hazards,
    advance,
    at_goal,
    hits,
)
from heed.worlds.point_hazard.oracle import oracle_for
from heed.worlds.point_hazard.picture import draw

STEPS = 150
START = ((-3.6, -3.0), (-1.0, 1.0))
"""Where episodes start, at rest: the ranges of x and y."""


class PointHazardEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A point mass accelerates towards a goal behind a round hazard; walls and hazard are catastrophes.

    Whoever goes fast needs up to 15 steps to stop, so that a catastrophe is settled long before it happens:
    `heed.worlds.point_hazard.geometry` says exactly from which states.

    Observation: float32 [4], (x, y, vx, vy). Action: float32 [2] in [-1, 1], acceleration along x and y.
    Reward: progress towards the goal in units of length, less 0.01 a step; 10 at the goal and -2 at a catastrophe, and
    both end the episode, as do 150 steps (truncated). ``info``: ``{"catastrophe": bool, "goal": bool}``.

    Args:
        render_mode: None or "rgb_array".
        numbers: fields of `Hazards` that differ from its defaults, for instance ``disc=0.7``.

    Attributes:
        world: the numbers (`Hazards`).
        state: the exact state, float64 [4]; the observation is this in float32.

    Raises:
        HeedError: if ``numbers`` has a name or value that `Hazards` does not take, or the mode is unknown.

    >>> env = gym.make("heed/PointHazard-v0", disc=0.7)
    >>> state, info = env.reset(seed=0)
    >>> state[2:].tolist(), info
    ([0.0, 0.0], {'catastrophe': False, 'goal': False})
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, **numbers: Any) -> None:
        known = Hazards.__dataclass_fields__
        for name in numbers:
            if name not in known:
                raise HeedError(
                    f"there is no {name!r}", where="heed/PointHazard-v0", fix=f"its numbers are {', '.join(known)}"
                )
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise HeedError(f"cannot render as {render_mode!r}", where="heed/PointHazard-v0", fix="give rgb_array")
        self.world = Hazards(**numbers)
        self.render_mode = render_mode
        limit = np.array([self.world.half_width, self.world.half_height, 0.0, 0.0]) + self.world.speed * self.world.dt
        limit[2:] = self.world.speed
        # A catastrophe may end one step beyond a wall, and float32 rounds outward.
        bound = np.nextafter(limit.astype(np.float32), np.float32(np.inf))
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.state: Array = np.zeros(4)
        self._steps = 0

    @property
    def oracle(self) -> Oracle:
        """All that can be known of this arena."""
        return oracle_for(self.world)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode at rest on the left, or in the state ``options["state"]`` [4].

        Raises:
            HeedError: if the state asked for is not four finite numbers, or is a catastrophe or the goal.
        """
        super().reset(seed=seed)
        self._steps = 0
        if options and "state" in options:
            self.state = self._checked(options["state"])
        else:
            self.state = np.array([self.np_random.uniform(*START[0]), self.np_random.uniform(*START[1]), 0.0, 0.0])
        return self.state.astype(np.float32), {"catastrophe": False, "goal": False}

    def peek(self, action: ArrayLike) -> Array:
        """The state, float64 [4], to which an action [2] would lead; nothing moves."""
        return advance(self.state, action, self.world)

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Accelerate for one step of 0.1 s.

        Raises:
            HeedError: if the action is not two finite numbers.
        """
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise HeedError(f"the action is {action!r}", where="heed/PointHazard-v0", fix="give two finite numbers")
        before = self._distance()
        self.state = self.peek(action)
        self._steps += 1
        catastrophe = bool(hits(self.state, self.world))
        goal = bool(at_goal(self.state, self.world)) and not catastrophe
        reward = before - self._distance() - STEP_COST + CATASTROPHE_REWARD * catastrophe + GOAL_REWARD * goal
        ended = catastrophe or goal
        info = {"catastrophe": catastrophe, "goal": goal}
        return self.state.astype(np.float32), reward, ended, self._steps >= STEPS and not ended, info

    def render(self) -> NDArray[np.uint8] | None:
        """The arena as a picture, uint8 [325, 425, 3] by default, if the mode is "rgb_array"."""
        return draw(self.state, self.world) if self.render_mode == "rgb_array" else None

    def _distance(self) -> float:
        return float(np.hypot(self.state[0] - self.world.goal[0], self.state[1] - self.world.goal[1]))

    def _checked(self, asked: ArrayLike) -> Array:
        state = np.array(asked, np.float64)
        if state.shape != (4,) or not np.isfinite(state).all() or np.hypot(*state[2:]) > self.world.speed + 1e-9:
            raise HeedError(
                f"no episode starts at {asked!r}",
                where='options["state"]',
                fix="give x, y, vx, vy within the speed",
            )
        if hits(state, self.world) or at_goal(state, self.world):
            raise HeedError(f"an episode at {asked!r} is already over", where='options["state"]', fix="start elsewhere")
        return state
