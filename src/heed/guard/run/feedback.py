"""A person at the page of a guarded run: what they retract is unlearnt, and what the agent does alone they see."""

from __future__ import annotations

from heed.guard.decisions import Step
from heed.guard.guard import Guard
from heed.guard.labels import LabelCollector
from heed.guard.phases import Phase
from heed.guard.run.phases import RunPhases
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer


class Retractions:
    """Unlearns what a person has retracted; an observer that stands before the phases, whose step may end in a fit.

    Args:
        person: at a page.
        labels: what is learnt from.
    """

    def __init__(self, person: HumanOverseer, labels: LabelCollector) -> None:
        self._person, self._labels = person, labels
        self._early: list[str] = []  # retracted before the step that they judged brought its label

    def __call__(self, step: Step) -> None:  # noqa: ARG002 - what a person does is not about the step
        """Unlearn what was retracted since the last step; a label that this step brings is there by the next."""
        for key in self._early:
            self._labels.retract(key)
        self._early = [key for key in self._person.retractions() if not self._labels.retract(key)]


class Spectator:
    """Shows a person an agent that acts by itself, and lets it wait while they pause it; an observer behind the phases.

    Args:
        person: at a page.
        phases: of the run.
        guard: in front of the environment.
    """

    def __init__(self, person: HumanOverseer, phases: RunPhases, guard: Guard) -> None:
        self._person, self._phases, self._guard = person, phases, guard
        self._phase = phases.phase

    def __call__(self, step: Step) -> None:
        """Show where the step led; wait as long as the agent is paused."""
        if self._phases.phase is not self._phase:
            self._phase = self._phases.phase
            self._person.go_alone()
        if self._phase is Phase.AUTONOMY:
            executed = step.decision.executed
            proposal = Proposal(step.next_state, executed, step.info, self._guard.env, step.timestep, step.episode)
            self._person.show(proposal)
            self._person.wait_while_paused()
