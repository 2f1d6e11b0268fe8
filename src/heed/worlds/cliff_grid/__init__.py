"""Cliff grid: a grid with momentum and cliffs, whose doomed states are known exactly."""

from heed.worlds.cliff_grid.env import CliffGridEnv

__all__ = ["CliffGridEnv"]
