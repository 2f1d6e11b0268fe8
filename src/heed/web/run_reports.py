"""Reports of a run while somebody looks at it: made when it has moved on, one at a time, and not too often."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heed.errors import HeedError, RunFailed
from heed.web.run_view import RunView

logger = logging.getLogger(__name__)

EVERY_S = 30.0
"""Seconds between two reports of one run, at least."""
PATIENCE_S = 120.0
"""Seconds that a request waits for a report that another one has asked for."""


@dataclass(frozen=True)
class Report:
    """A report, or why there is none.

    Args:
        page: one self-contained HTML page; "" where there is none.
        problem: why; "" where there is one.
        at: when it was made, in seconds since 1970.
    """

    page: str
    problem: str
    at: float


class Reports:
    """Makes them.

    Args:
        make: a run folder to a page.
        every: seconds between two of one run, at least.
        clock: seconds that never go back.
    """

    def __init__(
        self, make: Callable[[Path], str], every: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self._every, self._clock, self._lock = make, every, clock, threading.Lock()
        self._kept: dict[Path, tuple[Report, float, object]] = {}

    def of(self, run: RunView) -> Report:
        """The report of a run; the one before while another is being made, or while nothing has changed.

        Args:
            run: of whom.

        Returns:
            It, or what is wrong, in words: a run in progress may have anything half written.
        """
        kept = self._kept.get(run.folder)
        if kept is not None and (kept[2] == run.stamp() or self._clock() - kept[1] < self._every):
            return kept[0]
        if not self._lock.acquire(timeout=0 if kept is not None else PATIENCE_S):
            return Report("", "another report takes too long", time.time()) if kept is None else kept[0]
        try:
            if self._kept.get(run.folder) is not kept:  # made while this one waited
                return self._kept[run.folder][0]
            stamp = run.stamp()
            report = self._made(run.folder)
            self._kept[run.folder] = (report, self._clock(), stamp)
            return report
        finally:
            self._lock.release()

    def _made(self, folder: Path) -> Report:
        try:
            return Report(self._make(folder), "", time.time())
        except (HeedError, RunFailed) as error:
            return Report("", str(error), time.time())
        except Exception as error:  # noqa: BLE001 - files that are half written, or go meanwhile, fail in any way
            logger.warning("no report of %s: %s: %s", folder, type(error).__name__, error)
            return Report("", f"the run's files cannot be read now ({type(error).__name__})", time.time())
