"""Oversight, fit, autonomy: who judges when, as one explicit state machine."""

from __future__ import annotations

import logging
import math
import random
from enum import Enum
from typing import Any

import torch

from heed.errors import HeedError
from heed.guard.agreement import Agreement
from heed.guard.decisions import Step
from heed.guard.guard import Guarding
from heed.guard.intervention import (
    AskWhenUnsure,
    Beside,
    Intervention,
    Lookahead,
    Mode,
    Overseen,
    Shadow,
    check_mode,
)
from heed.guard.keeping.parts import Disagreement, LookaheadParts, Replaces
from heed.guard.labels import LabelCollector
from heed.guard.models.config import ModelsConfig
from heed.guard.models.models import Models, ModelsReport
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.building import Controllers
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Controller
from heed.guard.refits import Fit, Refits
from heed.guard.situations import Situation
from heed.runs.state import State

logger = logging.getLogger(__name__)

ENOUGH = 5
"""Blocks in autonomy that were contradicted, after which the models are fitted again."""


class Phase(Enum):
    """Where a run stands."""

    OVERSIGHT = "oversight"
    AUTONOMY = "autonomy"


_KEPT = (
    "steps", "next_fit", "until", "again", "contradicted", "fitted_at", "agreement", "handed_over_at", "handed_back",
    "reports", "dynamics_error",
)  # fmt: skip
"""What says where a run stands, beside what was learnt."""


class Phases:
    """Moves a guard from oversight to autonomy; is one of the guard's observers, the last.

    In oversight the overseer judges every proposed action. After half of ``oversight_steps`` the models are fitted,
    and from then on the guard forms an opinion of each proposal beside the overseer; they are fitted again after three
    quarters. From ``oversight_steps`` on, as they were last fitted and compared, lookahead and planner take over where
    misses and needless blocks are known to be within their bounds; else the models are fitted again, and it is tried
    again a tenth of the oversight later. Where half as long again has not shown it, because danger has become rare,
    they take over with what can be promised of misses (see `Agreement.seems`). In autonomy the models are
    refitted on schedule, after every catastrophe and where blocks are contradicted; the overseer is asked by chance,
    where the blockers disagree, and where the guard blocks on and on; where audits show too many misses, oversight
    begins again. Each move swaps the guard's one intervention.

    Args:
        guard: in front of the environment, or of several; its overseer is asked, and these phases observe it.
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
        agreement: of the guard with the overseer, in oversight since the first fit; in autonomy by the audits.
        handed_over_at: step at which autonomy began first; None before.
        handed_back: times that oversight began again.
        dynamics_error: of the dynamics before their last refit, on what they had not learnt from; None if untold.

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
        self.config.check()
        self.planning.check()
        self.guard, self.overseer, self.mode, self.seed = guard, guard.overseer, mode, seed
        self.controllers = controllers if isinstance(controllers, Controllers) else Controllers(controllers)
        here = guard.situations[0]
        self.actions, state_size = here.actions, here.state_size
        sizes = (state_size, self.actions.size)
        self.models = Models.from_config(ModelsConfig(), *sizes, seed) if models is None else models
        self.models.constants = torch.stack([self.actions.nothing(), *self.actions.swerves(64)])
        self.models.controllers = self.controllers.seeds
        self.models.look = self.planning.first_steps
        self.labels = LabelCollector(*sizes, self.config.survives_after)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.phase, self.steps, self.next_fit = Phase.OVERSIGHT, 0, max(1, self.config.oversight_steps // 2)
        self.until = self.config.oversight_steps
        self.refits = Refits(self.models, self.planning, bool(self.config.background))
        self.again = False  # a catastrophe came while the models were being fitted
        self.contradicted, self.fitted_at = 0, 0  # blocks that were contradicted since this last refit began
        self.chance = random.Random(seed)
        self.agreement = Agreement(self._horizon)
        self.handed_over_at: int | None = None
        self.handed_back = 0
        self.reports: list[ModelsReport] = []
        self.dynamics_error: dict[str, Any] | None = None
        guard.observers.append(self)
        self._decide_by(Overseen(self.overseer))

    def __call__(self, step: Step) -> None:
        """Take in a step; move on where it is time."""
        self.labels.add(step)
        blocks = self.agreement.add(step)
        if blocks is not None and math.isfinite(step.decision.beside_risk):
            self.models.met.setdefault(blocks, []).append(step.decision.beside_risk)
        self.steps += 1
        self.contradicted += self._contradictions(step) if self.phase is Phase.AUTONOMY else 0
        catastrophe = step.catastrophe_reported and self.config.refit_on_catastrophe
        rested = self.steps - self.fitted_at >= self.config.refit_every // 20  # no more fits between two that are due
        if self.refits.running:
            self.again |= catastrophe and self.phase is Phase.AUTONOMY
            self._take_in(wait=not self.may_ask and self.phase is Phase.OVERSIGHT)
        elif self.phase is Phase.OVERSIGHT and (self.steps >= self.next_fit or not self.may_ask):
            self._hand_over()
        elif self.phase is Phase.AUTONOMY and self.steps >= self.next_fit:
            self.next_fit = self.steps + self.config.refit_every
            self.refit()
        elif self.phase is Phase.AUTONOMY and (catastrophe or self.again or (self.contradicted >= ENOUGH and rested)):
            self.again = False
            self.refit(dynamics=False)  # where actions lead is known as well as before; what is dangerous is not
        if self.phase is Phase.AUTONOMY and self.agreement.refutes(self.config.gate, 1.0) and self.may_ask:
            self._hand_back()

    @property
    def may_ask(self) -> bool:
        """Whether the budget of judgements leaves one."""
        return self.config.most_judgements == 0 or self.labels.judgements < self.config.most_judgements

    def refit(self, dynamics: bool = True) -> None:
        """Fit again; a fit that fails leaves all as it was, and is counted among the guard's faults."""
        self._take_in(wait=True)
        self.contradicted, self.fitted_at = 0, self.steps
        self.refits.start(self.labels, dynamics)
        if (fit := self.refits.outcome()) is not None:
            self._put_into_force(fit)

    def state(self) -> State:
        """Where the run stands, and all that was learnt."""
        return {name: getattr(self, name) for name in _KEPT} | {
            "phase": self.phase.value,
            "fitting": self.refits.fitting,
            "chance": self.chance.getstate(),
            "models": self.models.state(),
            "labels": self.labels.state(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Go on from where this state was given; these phases were made in the same way."""
        for name in _KEPT:
            setattr(self, name, state[name])
        self.phase = Phase(state["phase"])
        self.chance.setstate(state["chance"])
        self.models.restore(state["models"])
        self.labels.restore(state["labels"])
        self.generator.set_state(state["generator"])
        if self.reports:  # since the first fit it looks, beside the overseer or alone
            self._look_ahead()
        if state["fitting"] is not None:
            self.refits.start(self.labels, state["fitting"])

    def _hand_over(self) -> None:
        """Let the guard look for itself where what was learnt bears it; else fit, and see how that does beside them."""
        bounds = (self.config.gate, self.config.needless)
        if self.agreement.refutes(*bounds) and not self.agreement.allows(*bounds):
            self.models.refuted, self.models.met = True, {}  # it has seen too much or too little in each
        if self.reports and not self._promises_nothing and (self.steps >= self.until or not self.may_ask):
            why = self._objection()
            if not why:
                self._take_over()
                return
            self._wait(why)
        needed = 0 if self.models.known_danger is not None else self.config.least_blocks
        if self.labels.blocks < needed:
            self._wait(f"{self.labels.blocks} blocks so far, {needed} are the least to learn from")
            return
        self.refits.start(self.labels)
        self._take_in(wait=not self.may_ask)

    def _take_in(self, wait: bool = False) -> None:
        """Put what was fitted into force, once it is; without ``wait`` the models decide as they were until then."""
        fit = self.refits.outcome(wait)
        if fit is None:
            return
        if self.phase is Phase.OVERSIGHT and fit.models is None:
            self._wait(fit.problem)
            return
        self._put_into_force(fit)
        if self.phase is Phase.OVERSIGHT:
            self._fitted_beside()

    def _put_into_force(self, fit: Fit) -> None:
        """Look ahead by what was fitted; what could not be is a fault, and leaves all as it was."""
        if fit.models is None or fit.report is None:
            self.guard.faults.report(f"a refit failed ({fit.problem}): the models stay as they were")
            return
        before = self._horizon
        self.models.become(fit.models)
        if self._horizon != before:  # what was seen by another look says nothing of this one
            self.agreement, self.models.met = Agreement(self._horizon, refuted=self.agreement.refuted), {}
        self.reports.append(fit.report)
        self.dynamics_error = fit.dynamics_error or self.dynamics_error
        self._look_ahead()

    def _fitted_beside(self) -> None:
        """Go on beside the overseer until the next fit, or take over where there is nothing to be compared."""
        if not self.may_ask or (self._promises_nothing and self.steps >= self.until):
            self._take_over()
            return
        decision = self.reports[-1].decision
        if len(self.reports) == 2 and (decision is None or decision.accepted):  # the first fit knew half as much
            self.agreement.mark()
        later = self.steps + max(1, self.config.oversight_steps // (4 if self.steps < self.until else 10))
        self.next_fit = min(self.until, later) if self.steps < self.until else later

    def _take_over(self) -> None:
        self.phase, self.next_fit = Phase.AUTONOMY, self.steps + self.config.refit_every
        self.handed_over_at = self.steps if self.handed_over_at is None else self.handed_over_at
        logger.info("hand-over after %d steps, %d judgements: %s", self.steps, self.labels.judgements, self.agreement)
        self.agreement = Agreement(self._horizon)
        self._look_ahead()

    def _objection(self) -> str:
        """Why the guard may not take over yet; "" where it may."""
        config = self.config
        bounds = (config.gate, config.needless)
        if self.agreement.allows(*bounds):
            return ""
        if self.agreement.refutes(*bounds):
            why = f"the guard disagrees with the overseer: {self.agreement}"
            self.agreement.forget_refuted(*bounds)
            return why
        late = self.steps >= self.until + config.oversight_steps // 2
        if self.may_ask and not (late and self.agreement.seems(*bounds, config.least_blocks)):
            return f"too few judgements beside the guard so far: {self.agreement}"
        promised = (100 * config.gate, 100 * config.needless, self.agreement, 100 * self.agreement.missed_steps_bound)
        logger.warning(
            "too little was met to bound misses at %.0f%% and needless blocks at %.0f%%: the guard takes over with "
            "what can be promised, %s; of all steps at most %.2g%% may be missed blocks",
            *promised,
        )
        return ""

    @property
    def _promises_nothing(self) -> bool:
        """Whether what is dangerous is known, or flagged by a rule that promises nothing."""
        return self.models.known_danger is not None or self.models.config.threshold == "hirl"

    @property
    def _horizon(self) -> int:
        """Steps that the guard looks ahead, at least 1."""
        return max(1, self.planning.steps(self.models.late))

    def _wait(self, why: str) -> None:
        if not self.may_ask:
            raise HeedError(
                f"the {self.config.most_judgements} judgements are spent and autonomy may not begin: {why}",
                "--most-judgements",
                "allow more judgements, a larger --gate or a larger --needless",
            )
        self.next_fit = self.steps + max(1, self.config.oversight_steps // 10)
        logger.info("oversight goes on until step %d: %s", self.next_fit, why)

    def _hand_back(self) -> None:
        """Let the overseer judge every action again, until guard and overseer agree."""
        logger.warning("the guard missed what the overseer blocked, oversight begins again: %s", self.agreement)
        self.phase, self.handed_back = Phase.OVERSIGHT, self.handed_back + 1
        self.next_fit = self.steps + max(1, self.config.oversight_steps // 10)
        self.until = self.next_fit
        self.agreement, self.models.met, self.models.refuted = Agreement(self._horizon, refuted=True), {}, True
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Rebuild lookahead and planner from the current models, and let them decide."""
        replaces: Replaces = "declared" if self.mode == "block" else "plan"
        parts = (self.planning, self.models, self.controllers, self.actions, self.generator, replaces)
        lookahead = Lookahead.of(LookaheadParts(*parts))
        if self.phase is Phase.OVERSIGHT:
            self._decide_by(Beside(self.overseer, lookahead))
        elif max(self.config.audit, self.config.ask_after) > 0 or self.config.ask_above <= 0.5:  # the largest there is
            unsure = Disagreement(self.models, self.config.ask_above, lambda: self.may_ask)
            self._decide_by(AskWhenUnsure(lookahead, self.overseer, unsure, self._audited, self._stuck))
        else:
            self._decide_by(lookahead)

    def _decide_by(self, intervention: Intervention) -> None:
        self.guard.intervention = Shadow(intervention) if self.mode == "shadow" else intervention

    def _audited(self) -> bool:
        return self.chance.random() < self.config.audit and self.may_ask

    def _stuck(self, situation: Situation) -> bool:
        after = self.config.ask_after * self.planning.steps(self.models.late)
        return 0 < after <= situation.unconfirmed and self.models.late is False and self.may_ask

    def _contradictions(self, step: Step) -> int:
        """Blocks contradicted: by the overseer, or, at the last moment, by a whole look in which nothing happened."""
        if self.models.late is not True:
            return int(step.decision.contradicted and self.models.late is False)
        on_end = self.guard.situations[step.stream].unconfirmed
        after = self.config.ask_after * self.planning.steps(True)
        judged = step.decision.decision == "block" and step.decision.judged and not step.decision.asked
        return ENOUGH if judged and 0 < after <= on_end and on_end % math.ceil(after) == 0 else 0
