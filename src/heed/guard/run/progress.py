"""A guarded run in progress: metrics, decisions so far, and whoever follows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from heed.errors import Stopped
from heed.guard.decision_log import DecisionLog
from heed.guard.learners.replay import GuardAware
from heed.guard.run.counts import latest_counts, latest_return
from heed.runs.folder import RunFolder

logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]
"""Called with the number of steps so far and what moves in a run."""

LOGGED = 100
"""Steps between two lines of metrics."""
FIRST_WRITTEN, GROWTH = 200, 1.5
"""Steps after which all decisions are written for who looks at a run in progress, and how many times as many until they
are again: what that takes stays in proportion to the run."""


class Progress(BaseCallback):
    """Logs metrics, keeps a file of all decisions so far, and reports every step of a learner's loop.

    Args:
        log: every decision.
        folder: takes the metrics.
        decisions: file of the decisions; a run does without where it cannot be written.
        on_step: follows the run; may raise `Stopped`.
        last: step after which an on-policy learner stops, where it would otherwise fill a rollout; None leaves that to
            the learner.
        waits: a wish to stop waits until what learns of a step has done so, between two rollouts; else it is heard at
            once.

    Attributes:
        due: step at which all decisions are written again.
        stopping: whether a wish to stop waits.
    """

    def __init__(
        self,
        log: DecisionLog,
        folder: RunFolder,
        decisions: Path,
        on_step: OnStep | None,
        last: int | None,
        waits: bool = False,
    ) -> None:
        super().__init__()
        self._log, self._folder, self._decisions, self._follow, self._last = log, folder, decisions, on_step, last
        self.due, self._failed = float(FIRST_WRITTEN), False
        self._waits, self.stopping = waits, False

    def metrics(self) -> dict[str, float]:
        """What moves: counts of the latest steps."""
        return {name: float(count) for name, count in latest_counts(self._log.rows).items()}

    def report(self) -> None:
        """Report to whoever follows the run."""
        if self._follow is not None:
            self._follow(len(self._log.rows), self.metrics())

    def _on_step(self) -> bool:
        steps = len(self._log.rows)
        if steps % LOGGED == 0:
            own = self.model.figures() if isinstance(self.model, GuardAware) else {}
            self._folder.log(steps, self.metrics() | {"return": latest_return(self._log.rows)} | own)
        if steps >= self.due:
            self.due = GROWTH * steps
            self._write()
        try:
            self.report()
        except Stopped:
            if not self._waits:
                raise
            self.stopping = True
        return self._last is None or self.num_timesteps < self._last

    def _write(self) -> None:
        try:
            self._log.write(self._decisions)
        except OSError as error:
            if not self._failed:  # logged once; the end of the run reports it if it still cannot be written
                logger.warning("%s cannot be written now: %s", self._decisions, error.strerror or error)
            self._failed = True
