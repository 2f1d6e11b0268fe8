"""Oversight, fit, autonomy: who judges when, as one explicit state machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Step
from heed.guard.intervention import Decider
from heed.guard.labels import LabelCollector
from heed.guard.models.dynamics import Dynamics
from heed.guard.models.evaluation import dynamics_error
from heed.guard.models.models import Models, ModelsConfig, ModelsReport
from heed.guard.models.rewards import Reward
from heed.guard.models.termination import LearntTermination
from heed.guard.planning.imagination import Controller, DangerJudge, Imagination
from heed.guard.planning.lookahead import Look, Lookout, check_block_when
from heed.guard.planning.optimizers import search_from_name
from heed.guard.planning.planner import SafePlanner
from heed.guard.planning.risk import risk_strategy

logger = logging.getLogger(__name__)

Termination = Literal["auto", "given", "learnt", "none"]
"""Who says which states end an imagined future harmlessly."""


class Phase(Enum):
    """Where a run stands."""

    OVERSIGHT = "oversight"
    AUTONOMY = "autonomy"


@dataclass(frozen=True)
class PhasesConfig:
    """When who judges, and how far ahead the guard looks.

    Args:
        oversight_steps: steps under the overseer's eyes before the first fit.
        refit_every: steps of autonomy between refits.
        refit_on_catastrophe: refit also at once after a catastrophe in autonomy.
        most_judgements: the overseer's budget; 0 is no bound.
        least_blocks: blocks without which no hand-over is tried.
        gate: miss bound, with 95% confidence on the unseen blocks, above which autonomy does not begin; 1 lets all
            pass.
        ask_above: disagreement of the blockers about any step of a look (standard deviation of their probabilities)
            from which the overseer is asked in autonomy; above .5, the largest there is, nobody is asked.
        horizon: steps to look ahead; 0 is HIRL, without a model.
        particles: of each member.
        block_when: policy_fails, no_way_out or no_plan (as no_way_out, and the planner finds none either).
        release: share of the threshold below which the risk must be for an action to be let pass after a block.
        risk: how the futures' risks are combined: max, mean, cvar:SHARE.
        grace: steps after which a step that nobody judged has survived and counts as one that needed no block; 0 learns
            nothing from survival; None takes what fits the overseer.
        planner: icem, cem or mppi; none takes the safe action.
        plan_samples: plans of the first iteration.
        plan_iterations: at most.
        plan_particles: of each member, for each plan.
        plan_horizon: steps; 0 takes the look's.
        deadline: seconds of a plan, for acting in real time: how far a search gets then depends on the machine; 0 sets
            none.
        plan_margin: share of the threshold below which plans compete by what they are worth; above it by their risk.
        plan_gamma: discount of what a plan is worth.
        termination: which states end an imagined future harmlessly: given (the environment is known to), learnt (from
            the ends that happened) or none; auto takes what is given, and learns where nothing is.
        judges: the fits.
    """

    oversight_steps: int = 3000
    refit_every: int = 1000
    refit_on_catastrophe: bool = True
    most_judgements: int = 0
    least_blocks: int = 5
    gate: float = 0.35
    ask_above: float = 1.0
    horizon: int = 20
    particles: int = 4
    block_when: str = "no_way_out"
    release: float = 0.5
    risk: str = "max"
    grace: int | None = None
    planner: str = "icem"
    plan_samples: int = 64
    plan_iterations: int = 3
    plan_particles: int = 1
    plan_horizon: int = 0
    deadline: float = 0.0
    plan_margin: float = 0.5
    plan_gamma: float = 0.98
    termination: Termination = "auto"
    judges: ModelsConfig = field(default_factory=ModelsConfig)


class Phases:
    """Moves a guard from oversight to autonomy; is the guard's observer.

    In oversight the overseer judges every proposed action. After ``oversight_steps`` dynamics and blockers are fitted;
    where the held-out blocks bear the promise (the gate), the lookout and the planner take over, else oversight goes
    on for another tenth of it and is tried again. In autonomy the judges are refitted on schedule and after every
    catastrophe, and the overseer is asked where the blockers disagree.

    Args:
        guard: in front of the environment, or of several.
        policy: the learner's, batched: states [N, S] to action vectors [N, A].
        config: when and how.
        seed: of fits and imagination.
        brake: batched, what slows the agent down, for ways out and as the planner's seed.
        termination: batched, which states end an episode harmlessly, where that is known; see the configuration.
        value: batched, what states are worth beyond a plan's horizon: states [N, S] to [N].
        known_dynamics: in place of learnt ones: what perfect knowledge is worth.
        known_danger: in place of learnt blockers.
        reward: batched, what steps earn, in place of what the dynamics learn of it.
        log: keeps every decision.
        truth: what an oracle knows of a step, for the log: called with it before the phase moves.

    Attributes:
        foretold: `foresight` as it was before the dynamics' last refit, None where there was none to tell.
    """

    def __init__(
        self,
        guard: Decider,
        policy: Controller,
        config: PhasesConfig,
        seed: int = 0,
        brake: Controller | None = None,
        termination: Callable[[Tensor], Tensor] | None = None,
        value: Callable[[Tensor], Tensor] | None = None,
        known_dynamics: Dynamics | None = None,
        known_danger: DangerJudge | None = None,
        reward: Reward | None = None,
        log: DecisionLog | None = None,
        truth: Callable[[Step], dict[str, Any]] | None = None,
    ) -> None:
        if guard.overseer is None:
            raise HeedError("there is nobody to learn from", "--overseer", "name an overseer")
        check_block_when(config.block_when, config.horizon, config.planner != "none")
        self.guard, self.policy, self.config, self.seed = guard, policy, config, seed
        self.brake, self.value, self.truth = brake, value, truth
        self.coder: ActionCoder = guard.coder
        size = guard.state_size
        self.memory = LabelCollector(size, self.coder.size, 1 if config.grace is None else config.grace)
        ends = self._ends(termination)
        self.judges = Models(size, self.coder.size, config.judges, seed, known_dynamics, known_danger, reward, ends)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.log = DecisionLog() if log is None else log
        self.phase, self.steps, self.next_fit = Phase.OVERSIGHT, 0, config.oversight_steps
        self.handed_over_at: int | None = None
        self.reports: list[ModelsReport] = []
        self.foretold: dict[str, Any] | None = None
        self.overseer = guard.overseer
        guard.policy, guard.brake, guard.observer = policy, brake, self

    def _ends(self, given: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor] | None:
        """What ends an imagined future, as the configuration chooses."""
        choice, judges = self.config.termination, self.config.judges
        if choice not in get_args(Termination):
            raise HeedError(f"'{choice}' ends no future", "--termination", f"take {', '.join(get_args(Termination))}")
        if choice == "given" and given is None:
            raise HeedError(
                "nothing is known of which states end an episode harmlessly", "--termination", "take learnt or none"
            )
        if choice == "none":
            return None
        if given is not None and choice != "learnt":
            return given
        return LearntTermination(self.guard.state_size, judges.members, margin=judges.range_margin, seed=self.seed)

    def __call__(self, step: Step) -> None:
        """Take in a step; move on where it is time."""
        truth = {} if self.truth is None else self.truth(step)
        at = (self.steps, step.episode, self.phase.value)
        struck = step.catastrophe or step.decision.struck
        self.log.add(step.decision, *at, step.reward, struck, **truth)
        self.memory.add(step)
        self.steps += 1
        if self.phase is Phase.OVERSIGHT and (self.steps >= self.next_fit or not self.may_ask):
            self._hand_over()
        elif self.phase is Phase.AUTONOMY and self.steps >= self.next_fit:
            self.next_fit = self.steps + self.config.refit_every
            self._refit()
        elif self.phase is Phase.AUTONOMY and struck and self.config.refit_on_catastrophe:
            self._refit(dynamics=False)  # where actions lead is known as well as before; what is dangerous is not

    @property
    def may_ask(self) -> bool:
        """Whether the budget of judgements leaves one."""
        return self.config.most_judgements == 0 or self.memory.judgements < self.config.most_judgements

    def _hand_over(self) -> None:
        """Fit for the first time and let the guard look for itself, where what was learnt bears it."""
        later = max(1, self.config.oversight_steps // 10)
        needed = 0 if self.judges.known_danger is not None else self.config.least_blocks
        if self.memory.blocks < needed:
            self._wait(later, f"{self.memory.blocks} blocks so far, {needed} are the least to learn from")
            return
        try:
            report = self.judges.fit(self.memory)
        except (HeedError, ValueError) as problem:
            self._wait(later, str(problem))
            return
        self.reports.append(report)
        if (bound := self._bound(report)) > self.config.gate:
            self._wait(later, f"of blocks like those held out up to {bound:.0%} may be missed")
            return
        if report.decision is not None and report.decision.flagged > self.config.judges.cap:
            self._wait(later, f"the blockers flag {report.decision.flagged:.0%} of the steps that were let pass")
            return
        self.phase, self.next_fit = Phase.AUTONOMY, self.steps + self.config.refit_every
        self.handed_over_at = self.steps
        logger.info("hand-over after %d steps and %d judgements", self.steps, self.memory.judgements)
        self._equip()

    def _bound(self, report: ModelsReport) -> float:
        """The share of blocks that may be missed, with 95% confidence; 1 if a fit misses all that it has not seen."""
        if self.judges.known_danger is not None or self.config.judges.threshold == "hirl":
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

    def foresight(self) -> dict[str, Any] | str:
        """How far the dynamics drift on the steps that they have not learnt from yet (see `dynamics_error`)."""
        horizon = self.config.horizon or self.config.plan_horizon or 1
        return dynamics_error(self.judges, self.memory.transitions, horizon)

    def _refit(self, dynamics: bool = True) -> None:
        foretold = self.foresight() if dynamics else None
        try:
            self.reports.append(self.judges.fit(self.memory, dynamics))
        except (HeedError, ValueError) as problem:
            self.guard.fault(f"a refit failed ({problem}): the judges stay as they were")
            return
        if isinstance(foretold, dict):
            self.foretold = foretold
        self._equip()

    def _equip(self) -> None:
        """Give the guard eyes and hands that stand on the judges as they are now."""
        config, judges = self.config, self.judges
        parts = (judges.dynamics, judges, self.policy)
        where = (judges.reach, judges.termination, self.generator)
        risk = risk_strategy(config.risk)
        self.guard.lookout = Lookout(
            Imagination(*parts, config.particles, *where),
            config.horizon,
            judges.threshold,
            config.block_when,
            risk,
            self.brake,
            self.coder.swerves(),
            config.release,
        )
        if config.planner != "none":
            horizon = config.plan_horizon or max(1, config.horizon)
            search = search_from_name(
                config.planner, horizon, self.coder.size, config.plan_samples, self.coder.discrete
            )
            self.guard.planner = SafePlanner(
                search,
                Imagination(*parts, config.plan_particles, *where),
                judges.threshold,
                risk,
                config.plan_iterations,
                enough=max(1, config.plan_samples // 4),
                deadline=config.deadline or math.inf,
                gamma=config.plan_gamma,
                terminal_value=self.value,
                margin=config.plan_margin,
            )
        asks = config.ask_above <= 0.5  # the deviation of numbers in [0, 1] is no larger
        self.guard.overseer = self.overseer if asks else None
        self.guard.ask = self._unsure if asks else None

    def _unsure(self, look: Look) -> bool:
        futures = look.futures
        told = self.judges.disagreement(futures.states[:-1], futures.actions, futures.states[1:])
        return self.may_ask and float(told.nan_to_num(1.0).max()) >= self.config.ask_above
