"""From what a command was told to whoever makes its runs."""

from __future__ import annotations

from heed.compare.crews.base import Crew, Workers
from heed.compare.crews.settings import RayWorkers


def crew_of(workers: Workers) -> Crew:
    """Whoever makes the runs.

    Args:
        workers: how many processes here, or which of Ray's.

    Raises:
        HeedError: none at once, or Ray is not installed.
    """
    if isinstance(workers, RayWorkers):
        from heed.compare.crews.over_ray import RayCrew  # for those who installed it

        return RayCrew(workers)
    from heed.compare.crews.processes import Processes

    return Processes(workers)
