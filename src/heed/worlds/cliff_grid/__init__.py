"""Cliff grid: a grid with momentum and cliffs, whose doomed states are known exactly."""

from heed.worlds.cliff_grid.env import CliffGridEnv
from heed.worlds.cliff_grid.grid import ACTIONS, LAYOUT, PUSHES, State, observation, state_of

__all__ = ["ACTIONS", "LAYOUT", "PUSHES", "CliffGridEnv", "State", "observation", "state_of"]
