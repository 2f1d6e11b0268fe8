"""Built-in tasks with exact answers, and what is catastrophic in environments that others made.

`apothecary` is for the half that compares, point hazard and cliff grid are for the half that blocks, and `presets`
holds the rules for others' environments.

Importing this package registers ``heed/PointHazard-v0`` and ``heed/CliffGrid-v0`` with Gymnasium, which has read no
entry points since 1.0; ``gym.make("heed.worlds:heed/PointHazard-v0")`` imports it by itself. The apothecary, which
stands on transformers, is imported by name only.
"""

from importlib.util import find_spec

POINT_HAZARD = "heed/PointHazard-v0"
CLIFF_GRID = "heed/CliffGrid-v0"


def _register() -> None:
    """Tell Gymnasium of the built-in environments, once: a reload would make it warn that the id is taken."""
    from gymnasium.envs.registration import register, registry

    for name, entry_point in (
        (POINT_HAZARD, "heed.worlds.point_hazard.env:PointHazardEnv"),
        (CLIFF_GRID, "heed.worlds.cliff_grid.env:CliffGridEnv"),
    ):
        if name not in registry:
            register(name, entry_point=entry_point)


if find_spec("gymnasium") is not None:  # whoever only aligns has the apothecary, and no Gymnasium
    _register()

__all__ = ["CLIFF_GRID", "POINT_HAZARD"]
