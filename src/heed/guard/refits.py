"""Fits of the models in place or beside the decisions: what is in force changes between two steps, never in one."""

from __future__ import annotations

import copy
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from heed.errors import HeedError
from heed.guard.evaluation import dynamics_error
from heed.guard.models.labels import Experience
from heed.guard.models.models import Models, ModelsReport
from heed.guard.planning.building import find_belief
from heed.guard.planning.config import PlanningConfig


@dataclass(frozen=True)
class Fit:
    """What came of fitting.

    Args:
        models: fitted, and not in force yet; None where nothing could be fitted.
        report: how it went; None where it could not.
        problem: why it could not; "" where it could.
        dynamics_error: of the dynamics before it, on what they had not learnt from; None where there is none to tell.
    """

    models: Models | None = None
    report: ModelsReport | None = None
    problem: str = ""
    dynamics_error: dict[str, Any] | None = None


class Refits:
    """One fit after the other, of a copy of the models in force.

    In the background a fit takes a thread beside the run: no decision waits for it, the models decide as they were, and
    the run takes the new ones over at its first step after that. Which step that is depends on the machine, so two runs
    of one seed are then alike no more.

    Args:
        models: in force.
        planning: how far ahead the guard looks.
        background: fit in a thread.

    Attributes:
        fitting: whether the fit that runs, or waits to be taken, fits the dynamics too; None where there is none.
    """

    def __init__(self, models: Models, planning: PlanningConfig, background: bool = False) -> None:
        self.models, self.planning, self.background = models, planning, background
        self.fitting: bool | None = None
        self._future: Future[Fit] = Future()
        self._beside = ThreadPoolExecutor(1, "heed-refit")  # its thread begins with the first fit

    @property
    def running(self) -> bool:
        """Whether a fit was started whose outcome nobody has taken."""
        return self.fitting is not None

    def start(self, experience: Experience, dynamics: bool = True) -> None:
        """Begin a fit to what is known now; what comes later is left for the next.

        Args:
            experience: all that is remembered.
            dynamics: whether the dynamics are fitted too.
        """
        assert not self.running
        self.fitting = dynamics
        models = copy.copy(self.models)
        models.met = copy.deepcopy(self.models.met)  # which goes on growing
        task = (models, experience.snapshot(), dynamics, self.planning)
        if self.background:
            self._future = self._beside.submit(fit, *task)
        else:
            self._future = Future()
            self._future.set_result(fit(*task))

    def join(self) -> None:
        """Wait until the fit that was started is done; its outcome is still to be taken."""
        if self.running:
            wait([self._future])

    def outcome(self, wait: bool = False) -> Fit | None:
        """What came of the fit that was started, once; None while it still runs.

        Args:
            wait: until it is done.
        """
        if not self.running or not (wait or self._future.done()):
            return None
        self.fitting = None
        return self._future.result()


def fit(models: Models, experience: Experience, dynamics: bool, planning: PlanningConfig) -> Fit:
    """Fit models; a fit that fails says why.

    Args:
        models: a copy of those in force, which stay as they are.
        experience: to fit to.
        dynamics: whether the dynamics are fitted too.
        planning: how far ahead the guard looks.
    """
    error = dynamics_error(models, experience.transitions, planning.longest) if dynamics else None
    try:
        report = models.fit(experience, dynamics)
        find_belief(planning, models, experience)
    except (HeedError, ValueError) as problem:
        return Fit(problem=str(problem))
    return Fit(models, report, dynamics_error=error if isinstance(error, dict) else None)
