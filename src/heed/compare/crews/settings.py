"""Where Ray's workers are, and what each may take."""

from __future__ import annotations

from dataclasses import dataclass

from heed.errors import HeedError

HERE = "here"
"""In place of a cluster's address: Ray is started on this machine, and ended with the command."""


@dataclass(frozen=True)
class RayWorkers:
    """Runs as Ray tasks; on a cluster all machines have heed, and share the file system of the run folder.

    Args:
        address: `HERE`, or a cluster's as `ray.init` takes it: ``auto``, ``HOST:6379``.
        count: runs at once on this machine; on a cluster its resources decide.
        cpus: of each run, and so its threads.
        gpus: of each run; a half lets two share one.

    Raises:
        HeedError: an amount that is none.
    """

    address: str = HERE
    count: int = 2
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        """Refuse amounts that nobody can work with."""
        amounts = ((self.count, 1, "--workers"), (self.cpus, 1, "--cpus-each"), (self.gpus, 0, "--gpus-each"))
        for value, least, flag in amounts:
            if value < least:
                raise HeedError(f"{value} is too few", flag, f"give at least {least}")
        if not self.address:
            raise HeedError("where is the cluster?", "--ray", f"give its address, or {HERE}")
