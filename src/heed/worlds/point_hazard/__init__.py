"""Point hazard: a mass with momentum, a round hazard, walls, and a goal behind it."""

from heed.worlds.point_hazard.env import PointHazardEnv
from heed.worlds.point_hazard.geometry import Hazards

__all__ = ["Hazards", "PointHazardEnv"]
