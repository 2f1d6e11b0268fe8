"""Oversight, fit, autonomy: who judges when, as one explicit state machine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch

from heed.errors import HeedError
from heed.guard.decisions import Step
from heed.guard.guard import Guarding
from heed.guard.intervention import (
    AskWhenUnsure,
    Disagreement,
    Intervention,
    Lookahead,
    Mode,
    Overseen,
    Shadow,
    check_mode,
)
from heed.guard.keeping.parts import LookaheadParts, Replaces
from heed.guard.labels import LabelCollector
from heed.guard.models.evaluation import dynamics_error
from heed.guard.models.models import Models, ModelsConfig, ModelsReport
from heed.guard.planning.config import Controllers, PlanningConfig
from heed.guard.planning.imagination import Controller
from heed.runs.state import State

logger = logging.getLogger(__name__)


class Phase(Enum):
    """Where a run stands."""

    OVERSIGHT = "oversight"
    AUTONOMY = "autonomy"


@dataclass(frozen=True)
class PhasesConfig:
    """When who judges.

    Args:
        oversight_steps: steps that the overseer judges before the first fit.
        refit_every: steps of autonomy between refits.
        refit_on_catastrophe: refit also at once after a catastrophe in autonomy.
        most_judgements: the overseer's budget; 0 is no bound.
        least_blocks: blocks without which no hand-over is tried.
        gate: miss bound, with 95% confidence on the unseen blocks, above which autonomy does not begin; 1 lets all
            pass.
        ask_above: disagreement of the blockers about any step of a look (standard deviation of their probabilities)
            from which the overseer is asked in autonomy; above .5, the largest there is, nobody is asked.
        grace: steps after which a step that nobody judged has survived and counts as one that needed no block; 0 learns
            nothing from survival; None takes what fits the overseer.
    """

    oversight_steps: int = 3000
    refit_every: int = 1000
    refit_on_catastrophe: bool = True
    most_judgements: int = 0
    least_blocks: int = 5
    gate: float = 0.35
    ask_above: float = 1.0
    grace: int | None = None


class Phases:
    """Moves a guard from oversight to autonomy; is one of the guard's observers, the last.

    In oversight the overseer judges every proposed action. After ``oversight_steps`` the models are fitted; where the
    held-out blocks bear the promise (the gate), lookahead and planner take over, else oversight goes on for another
    tenth of it and is tried again. In autonomy the models are refitted on schedule and after every catastrophe, and the
    overseer is asked where the blockers disagree. Each move swaps the guard's one intervention.

    Args:
        guard: in front of the environment, or of several; its overseer is asked. It is given these phases as an
            observer.
        controllers: the learner's policy, batched (states [N, S] to action vectors [N, A]), or with it a brake and what
            states are worth.
        config: when.
        planning: how far ahead the guard looks, and how it plans.
        models: what is fitted; None takes `Models` as they are by default.
        seed: of models by default, and of imagination.
        mode: what a block does: ``replace`` and ``penalty`` execute the planner's action (the price of a block is the
            guard's), ``block`` the declared safe one, ``shadow`` what was proposed.

    Attributes:
        phase: the present one.
        labels: transitions and labels, all that the models are fitted to.
        reports: of each fit.
        handed_over_at: step at which autonomy began; None before.
        dynamics_error: of the dynamics before their last refit, on what they had not learnt from; None where there was
            none to tell.

    Raises:
        HeedError: nobody oversees, an unknown mode, or a rule of blocking that nothing could follow.
    """

    def __init__(
        self,
        guard: Guarding,
        controllers: Controllers | Controller,
        config: PhasesConfig | None = None,
        planning: PlanningConfig | None = None,
        models: Models | None = None,
        seed: int = 0,
        mode: Mode = "replace",
    ) -> None:
        if guard.overseer is None:
            raise HeedError("there is nobody to learn from", "--overseer", "name an overseer")
        check_mode(mode)
        self.config, self.planning = config or PhasesConfig(), planning or PlanningConfig()
        self.planning.check()
        self.guard, self.overseer, self.mode, self.seed = guard, guard.overseer, mode, seed
        self.controllers = controllers if isinstance(controllers, Controllers) else Controllers(controllers)
        here = guard.situations[0]
        self.actions, state_size = here.actions, here.state_size
        sizes = (state_size, self.actions.size)
        self.models = Models.from_config(ModelsConfig(), *sizes, seed) if models is None else models
        grace = 1 if self.config.grace is None else self.config.grace
        self.labels = LabelCollector(*sizes, grace)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.phase, self.steps, self.next_fit = Phase.OVERSIGHT, 0, self.config.oversight_steps
        self.handed_over_at: int | None = None
        self.reports: list[ModelsReport] = []
        self.dynamics_error: dict[str, Any] | None = None
        guard.observers.append(self)
        self._decide_by(Overseen(self.overseer))

    def __call__(self, step: Step) -> None:
        """Take in a step; move on where it is time."""
        self.labels.add(step)
        self.steps += 1
        if self.phase is Phase.OVERSIGHT and (self.steps >= self.next_fit or not self.may_ask):
            self._hand_over()
        elif self.phase is Phase.AUTONOMY and self.steps >= self.next_fit:
            self.next_fit = self.steps + self.config.refit_every
            self.refit()
        elif self.phase is Phase.AUTONOMY and step.catastrophe_reported and self.config.refit_on_catastrophe:
            self.refit(dynamics=False)  # where actions lead is known as well as before; what is dangerous is not

    @property
    def may_ask(self) -> bool:
        """Whether the budget of judgements leaves one."""
        return self.config.most_judgements == 0 or self.labels.judgements < self.config.most_judgements

    def refit(self, dynamics: bool = True) -> None:
        """Fit again; a fit that fails leaves all as it was, and is counted among the guard's faults."""
        error = self.present_dynamics_error() if dynamics else None
        try:
            self.reports.append(self.models.fit(self.labels, dynamics))
        except (HeedError, ValueError) as problem:
            self.guard.faults.report(f"a refit failed ({problem}): the models stay as they were")
            return
        if isinstance(error, dict):
            self.dynamics_error = error
        self._look_ahead()

    def present_dynamics_error(self) -> dict[str, Any] | str:
        """How far the dynamics drift on the steps that they have not learnt from yet (see `dynamics_error`)."""
        return dynamics_error(self.models, self.labels.transitions, self.planning.longest)

    def state(self) -> State:
        """Where the run stands, and all that was learnt."""
        names = ("steps", "next_fit", "handed_over_at", "reports", "dynamics_error")
        return {name: getattr(self, name) for name in names} | {
            "phase": self.phase.value,
            "models": self.models.state(),
            "labels": self.labels.state(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Go on from where this state was given; these phases were made in the same way."""
        for name in ("steps", "next_fit", "handed_over_at", "reports", "dynamics_error"):
            setattr(self, name, state[name])
        self.phase = Phase(state["phase"])
        self.models.restore(state["models"])
        self.labels.restore(state["labels"])
        self.generator.set_state(state["generator"])
        if self.phase is Phase.AUTONOMY:
            self._look_ahead()

    def _hand_over(self) -> None:
        """Fit for the first time and let the guard look for itself, where what was learnt bears it."""
        later = max(1, self.config.oversight_steps // 10)
        needed = 0 if self.models.known_danger is not None else self.config.least_blocks
        if self.labels.blocks < needed:
            self._wait(later, f"{self.labels.blocks} blocks so far, {needed} are the least to learn from")
            return
        try:
            report = self.models.fit(self.labels)
        except (HeedError, ValueError) as problem:
            self._wait(later, str(problem))
            return
        self.reports.append(report)
        if (bound := self._miss_bound(report)) > self.config.gate:
            self._wait(later, f"of blocks like those held out up to {bound:.0%} may be missed")
            return
        if report.decision is not None and report.decision.flagged > self.models.config.cap:
            self._wait(later, f"the blockers flag {report.decision.flagged:.0%} of the steps that were let pass")
            return
        self.phase, self.next_fit = Phase.AUTONOMY, self.steps + self.config.refit_every
        self.handed_over_at = self.steps
        logger.info("hand-over after %d steps and %d judgements", self.steps, self.labels.judgements)
        self._look_ahead()

    def _miss_bound(self, report: ModelsReport) -> float:
        """The share of blocks that may be missed, with 95% confidence; 1 if a fit misses all that it has not seen."""
        if self.models.known_danger is not None or self.models.config.threshold == "hirl":
            return 0.0  # known, or a rule that promises nothing
        return 1.0 if report.in_force.eps is None else report.in_force.miss_bound()

    def _wait(self, steps: int, why: str) -> None:
        if not self.may_ask:
            raise HeedError(
                f"the {self.config.most_judgements} judgements are spent and autonomy may not begin: {why}",
                "--most_judgements",
                "allow more judgements, a larger --eps or a larger --gate",
            )
        self.next_fit = self.steps + steps
        logger.info("oversight goes on for %d steps: %s", steps, why)

    def _look_ahead(self) -> None:
        """Rebuild lookahead and planner from the current models, and let them decide."""
        replaces: Replaces = "declared" if self.mode == "block" else "plan"
        parts = (self.planning, self.models, self.controllers, self.actions, self.generator, replaces)
        lookahead = Lookahead.of(LookaheadParts(*parts))
        unsure = Disagreement(self.models, self.config.ask_above, lambda: self.may_ask)
        asks = self.config.ask_above <= 0.5  # the deviation of numbers in [0, 1] is no larger
        self._decide_by(AskWhenUnsure(lookahead, self.overseer, unsure) if asks else lookahead)

    def _decide_by(self, intervention: Intervention) -> None:
        self.guard.intervention = Shadow(intervention) if self.mode == "shadow" else intervention
