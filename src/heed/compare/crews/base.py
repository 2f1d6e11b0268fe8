"""What a comparison asks of whoever makes its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from heed.compare.crews.settings import RayWorkers
from heed.compare.tasks import Task

Report = tuple[str, int, tuple[str, Mapping[str, float]]]
"""A task's key, its round, and its label with the round's metrics."""
Workers = int | RayWorkers
"""Processes at once on this machine, or Ray's workers."""


class DiedError(Exception):
    """A worker is gone, with the run that it had."""


class Started(Protocol):
    """Runs that are under way."""

    @property
    def futures(self) -> Mapping[Future[None], Task]:
        """One for each task."""
        ...

    def result(self, future: Future[None]) -> None:
        """Return once it is done.

        Raises:
            RunFailed: the run failed.
            HeedError: a mistake of the user's.
            DiedError: its worker is gone.
        """
        ...

    def reports(self) -> Iterator[Report]:
        """What runs have told since."""
        ...

    def stop(self) -> None:
        """Let every run end with the round that it is in."""
        ...


class Crew(Protocol):
    """Makes runs, several at once."""

    def started(self, tasks: Sequence[Task]) -> AbstractContextManager[Started]:
        """Within: the tasks are under way, the first ones first."""
        ...
