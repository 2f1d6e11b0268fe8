"""Cliff grid: a grid with momentum and cliffs; which states are doomed is known exactly (docs/methods.md)."""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from heed.errors import HeedError
from heed.worlds.cliff_grid.grid import (
    LAYOUT,
    PUSHES,
    State,
    cell_at,
    is_catastrophe,
    move,
    observation,
    transitions,
)
from heed.worlds.cliff_grid.oracle import ORACLE
from heed.worlds.cliff_grid.picture import draw

STEPS = 60
STEP_REWARD, GOAL_REWARD, CATASTROPHE_REWARD = -1.0, 20.0, -20.0
_ROWS, _COLUMNS = len(LAYOUT), len(LAYOUT[0])


class CliffGridEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Walk along a cliff with momentum: each action changes the velocity by one, then the walker moves by it.

    It moves cell by cell along the straightest line, and the first cliff or goal on the way ends the episode. At the
    fastest, two cells a step, stopping takes one step and one cell more, so that a catastrophe can be settled before it
    happens.

    Observation: float32 [4], row and column scaled to [-1, 1] over the grid, and velocity over its largest. Action: 0
    to 4, see `heed.worlds.cliff_grid.grid.ACTIONS`. Reward: -1 a step, 20 more at the goal, 20 less at a catastrophe;
    both end the episode, and so do 60 steps (truncated). ``info``: ``{"catastrophe": bool, "goal": bool}``.

    Args:
        render_mode: None or "rgb_array".

    Attributes:
        state: row, column, and the velocity in each, as integers; after a catastrophe the cliff's cell.

    Raises:
        HeedError: if the mode is unknown.

    >>> env = gym.make("heed/CliffGrid-v0")
    >>> _ = env.reset(options={"state": (6, 0, 0, 0)})
    >>> [env.step(4)[4]["catastrophe"] for _ in range(2)]  # right, and on
    [False, True]
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    oracle = ORACLE

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise HeedError(f"cannot render as {render_mode!r}", where="heed/CliffGrid-v0", fix="give rgb_array")
        self.render_mode = render_mode
        beyond = 1.0 + 2.0 / (np.array([_ROWS, _COLUMNS]) - 1)  # a catastrophe may end one cell beyond the edge
        bound = np.nextafter(np.array([*beyond, 1.0, 1.0], np.float32), np.float32(np.inf))
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = spaces.Discrete(len(PUSHES))
        self.state: State = (0, 0, 0, 0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start at rest on one of the starting cells, or in the state ``options["state"]``.

        Raises:
            HeedError: if the state asked for is none in which an episode can go on.
        """
        super().reset(seed=seed)
        self._steps = 0
        starts = [(row, column) for row in range(_ROWS) for column in range(_COLUMNS) if LAYOUT[row][column] == "S"]
        self.state = (*starts[int(self.np_random.integers(len(starts)))], 0, 0)
        if options and "state" in options:
            asked = tuple(options["state"])
            if asked not in transitions():
                raise HeedError(f"no episode starts at {asked}", where='options["state"]', fix="give a free cell")
            self.state = asked
        return observation(self.state), {"catastrophe": False, "goal": False}

    def peek(self, action: SupportsInt) -> State:
        """The state to which an action would lead; nothing moves.

        Raises:
            HeedError: if there is no such action.
        """
        number = int(action)
        if number not in range(len(PUSHES)) or number != action:
            raise HeedError(f"there is no action {action}", where="heed/CliffGrid-v0", fix="give 0 to 4")
        return move(self.state, number)

    def step(self, action: SupportsInt) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Change the velocity by one, and move by it.

        Raises:
            HeedError: if there is no such action.
        """
        self.state = self.peek(action)
        self._steps += 1
        catastrophe, goal = is_catastrophe(self.state), cell_at(self.state) == "G"
        reward = STEP_REWARD + GOAL_REWARD * goal + CATASTROPHE_REWARD * catastrophe
        ended = catastrophe or goal
        info = {"catastrophe": catastrophe, "goal": goal}
        return observation(self.state), reward, ended, self._steps >= STEPS and not ended, info

    def render(self) -> NDArray[np.uint8] | None:
        """The grid with the walker and its velocity, uint8 [rows x 32, columns x 32, 3], if the mode is "rgb_array"."""
        return draw(self.state) if self.render_mode == "rgb_array" else None
