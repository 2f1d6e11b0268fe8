"""Built-in tasks with exact answers, and what is known of environments that others made.

`apothecary` is a text world, for the half that compares; the others are physical, for the half that blocks. Each is one
folder, and each physical one a line of `registry`; what is known of it is its `Oracle`.

Importing this package registers ``heed/PointHazard-v0`` and ``heed/CliffGrid-v0`` with Gymnasium, which has read no
entry points since 1.0; ``gym.make("heed.worlds:heed/PointHazard-v0")`` imports it by itself. Nothing else of a world is
imported before it is asked for, nor is Gymnasium where it is not installed: whoever only aligns has the apothecary,
which stands on transformers and is imported by name only.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from heed.runs.on_demand import on_demand

if TYPE_CHECKING:
    from heed.worlds.backdrop import Backdrop, Disc, Rectangle
    from heed.worlds.catastrophe_info import CatastropheInfo
    from heed.worlds.oracle import Oracle
    from heed.worlds.registry import CLIFF_GRID, POINT_HAZARD, oracle_of, registered_oracle

__all__ = [
    "CLIFF_GRID",
    "POINT_HAZARD",
    "Backdrop",
    "CatastropheInfo",
    "Disc",
    "Oracle",
    "Rectangle",
    "oracle_of",
    "registered_oracle",
]

__getattr__ = on_demand(
    __name__,
    {
        "backdrop": ["Backdrop", "Disc", "Rectangle"],
        "catastrophe_info": ["CatastropheInfo"],
        "oracle": ["Oracle"],
        "registry": ["CLIFF_GRID", "POINT_HAZARD", "oracle_of", "registered_oracle"],
    },
)


def _register() -> None:
    from heed.worlds.registry import register_environments

    register_environments()


if find_spec("gymnasium") is not None:
    _register()
