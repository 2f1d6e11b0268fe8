"""Who makes several runs: processes of this machine, or Ray's workers on one machine or many."""

from heed.compare.crews.base import Crew, DiedError, Started, Workers
from heed.compare.crews.choosing import crew_of
from heed.compare.crews.settings import RayWorkers

__all__ = ["Crew", "DiedError", "RayWorkers", "Started", "Workers", "crew_of"]
