"""What a run asks of whoever moves it from one phase to the next."""

from __future__ import annotations

from typing import Protocol

from heed.guard.decisions import Step
from heed.guard.labels import LabelCollector
from heed.guard.models.models import ModelsReport
from heed.guard.phases import Phase


class RunPhases(Protocol):
    """`heed.guard.Phases`, or what a published baseline has in their place; the last observer of the guard.

    Attributes:
        phase: the present one.
        labels: what is kept beside the run.
        reports: of each fit of models.
        handed_over_at: step at which autonomy began; None before.
    """

    phase: Phase
    labels: LabelCollector
    reports: list[ModelsReport]
    handed_over_at: int | None

    def __call__(self, step: Step, /) -> None:
        """Take in a step."""
