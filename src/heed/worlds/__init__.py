"""Built-in tasks with exact answers, and what is known of environments that others made.

`apothecary` is a text world, for the half that compares; the others are physical, for the half that blocks. Each is one
folder, and each physical one a line of `registry`; what is known of it is its `Oracle`.

Importing this package registers ``heed/PointHazard-v0`` and ``heed/CliffGrid-v0`` with Gymnasium, which has read no
entry points since 1.0; ``gym.make("heed.worlds:heed/PointHazard-v0")`` imports it by itself. Nothing else of a world is
imported before it is asked for; the apothecary, which stands on transformers, is imported by name only.
"""

from heed.worlds.backdrop import Backdrop, Disc, Rectangle
from heed.worlds.catastrophe_info import CatastropheInfo
from heed.worlds.oracle import Oracle
from heed.worlds.overlay import Arrow, Flame
from heed.worlds.registry import CLIFF_GRID, POINT_HAZARD, oracle_of, register_environments, registered_oracle

register_environments()

__all__ = [
    "CLIFF_GRID",
    "POINT_HAZARD",
    "Arrow",
    "Backdrop",
    "CatastropheInfo",
    "Disc",
    "Flame",
    "Oracle",
    "Rectangle",
    "oracle_of",
    "registered_oracle",
]
