"""Recovery RL: where the risk critic thinks a proposal too risky, a recovery policy acts (Thananjeyan et al. 2021)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.decisions import Decision, Step
from heed.guard.guard import Guarding
from heed.guard.intervention import Intervention, Overseen, Shadow
from heed.guard.labels import LabelCollector
from heed.guard.learners.attached import check_imagined
from heed.guard.learners.config import LearnsFrom
from heed.guard.learners.cost_critics import CostSAC
from heed.guard.learners.replay import ExecutedStep
from heed.guard.models.models import ModelsReport
from heed.guard.phases import Phase
from heed.guard.phases_config import PhasesConfig
from heed.guard.situations import Situation

logger = logging.getLogger(__name__)


class RecoverySAC(CostSAC):
    """The task policy of Recovery RL, with the risk critic and the recovery policy beside it.

    The task policy is SAC that stores what it proposed with what came of what was executed, as the paper relabels it.
    The risk critic Q_risk is the cost that `CostSAC` learns: 1 at a catastrophe, and at what a person blocked; what the
    recovery policy replaced says nothing. The recovery policy descends Q_risk at the states that were met.

    Args:
        arguments: as `stable_baselines3.SAC` takes them.
        settings: as `CostSAC` takes them; ``cost_gamma`` is gamma_risk.
    """

    learns_from: LearnsFrom = "proposed"

    def _setup_model(self) -> None:
        super()._setup_model()
        self.recovery = self.policy.make_actor()
        self.recovery.optimizer = self._optimizer_of(self.recovery)

    def _learn_of(self, taken: ExecutedStep) -> None:
        asked = np.array([bool(info.get("guard", {}).get("asked", False)) for info in taken.infos])
        super()._learn_of(replace(taken, blocked=taken.blocked & asked))

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """SAC's own steps, then as many of the risk critic and the recovery policy."""
        super().train(gradient_steps, batch_size)
        self.learn_risk(gradient_steps, batch_size)

    def learn_risk(self, gradient_steps: int, batch_size: int) -> None:
        """Steps of the risk critic and the recovery policy alone, on all that was kept."""
        self._update_learning_rate([self.safety_critic.optimizer, self.recovery.optimizer])
        for _ in range(gradient_steps):
            batch = self.safety_buffer.sample(batch_size, env=self._vec_normalize_env)
            self._learn_safety(batch)
            actions, _ = self.recovery.action_log_prob(batch.observations)
            self.recovery.optimizer.zero_grad()
            self.costs(batch.observations, actions).mean().backward()
            self.recovery.optimizer.step()

    @torch.no_grad()
    def risk(self, states: Tensor, actions: Tensor) -> Tensor:
        """Q_risk of states [N, S] and action vectors [N, A], [N]."""
        return self.costs(states, actions)

    @torch.no_grad()
    def recover(self, states: Tensor) -> Tensor:
        """The recovery policy's action vectors [N, A] in states [N, S], without its noise."""
        result: Tensor = self.recovery(states, deterministic=True)
        return result

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "recovery"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [*modules, "recovery", "recovery.optimizer"], variables


class Recovery(Intervention):
    """Lets a proposal pass where ``Q_risk(s, a) <= limit``; else the recovery policy acts.

    Args:
        learner: with the risk critic and the recovery policy, as they are at each step.
        limit: eps_risk.

    Raises:
        HeedError: a limit that is no probability, or a learner whose observations or actions are changed between it and
            the guard: what the critic thinks of a state is asked of what the guard sees.
    """

    def __init__(self, learner: RecoverySAC, limit: float) -> None:
        if not 0 <= limit <= 1:
            raise HeedError(f"the limit of risk is {limit}", "--risk-limit", "give a number in [0, 1]")
        check_imagined(learner)
        self.learner, self.limit = learner, limit

    def decide(self, situation: Situation, proposed: Any) -> Decision:
        """Let it pass, or recover."""
        state, action = situation.tensor[None], situation.actions.encode(proposed)[None]
        risk = float(self.learner.risk(state, action))
        if risk <= self.limit:  # a NaN is not
            return Decision(proposed, proposed, "allow", "policy", risk=risk)
        recovered = situation.actions.decode(self.learner.recover(state)[0])
        return Decision(proposed, recovered, "block", "recovery", risk=risk)


class RecoveryPhases:
    """Oversight, pretraining, recovery: who judges when, where there are no models; the guard's last observer.

    In oversight the overseer judges every proposal, and task policy and risk critic learn. After ``oversight_steps``
    (or once the judgements are spent) the risk critic and the recovery policy are trained on all of it, and take over,
    if there were at least ``least_blocks`` blocks and catastrophes; else oversight goes on for another tenth.

    Args:
        guard: in front of the environment, with an overseer.
        learner: behind it.
        config: when; ``oversight_steps``, ``least_blocks`` and ``most_judgements`` count.
        limit: see `Recovery`.
        updates: of the pretraining.
        labels: are filled, and written beside the run.
        shadow: whether `Recovery` only records.

    Attributes:
        phase: the present one.
        reports: of fits of models, none.
        handed_over_at: step at which autonomy began; None before.
    """

    def __init__(
        self,
        guard: Guarding,
        learner: RecoverySAC,
        config: PhasesConfig,
        limit: float,
        updates: int,
        labels: LabelCollector,
        shadow: bool = False,
    ) -> None:
        if guard.overseer is None:
            raise HeedError("there is nobody to learn from", "--overseer", "name an overseer")
        if updates < 0:
            raise HeedError(f"{updates} updates of the risk critic", "--risk-updates", "give at least 0")
        self.guard, self.learner, self.config, self.labels = guard, learner, config, labels
        self.recovery, self.updates, self.shadow = Recovery(learner, limit), updates, shadow
        self.phase, self.steps, self.next_try = Phase.OVERSIGHT, 0, config.oversight_steps
        self.reports: list[ModelsReport] = []
        self.handed_over_at: int | None = None
        self._decide_by(Overseen(guard.overseer))

    def __call__(self, step: Step) -> None:
        """Take in a step; hand over where it is time."""
        self.labels.add(step)
        self.steps += 1
        spent = 0 < self.config.most_judgements <= self.labels.judgements
        if self.phase is Phase.OVERSIGHT and (self.steps >= self.next_try or spent):
            self._hand_over(spent)

    def _hand_over(self, spent: bool) -> None:
        if self.labels.blocks < self.config.least_blocks or not self.learner.costs_seen:
            why = f"{self.labels.blocks} blocks so far, {self.config.least_blocks} are the least to learn from"
            if spent:
                raise HeedError(
                    f"the {self.config.most_judgements} judgements are spent and autonomy may not begin: {why}",
                    "--most-judgements",
                    "allow more judgements",
                )
            self.next_try = self.steps + max(1, self.config.oversight_steps // 10)
            logger.info("oversight goes on: %s", why)
            return
        self.learner.learn_risk(self.updates, self.learner.batch_size)
        self.phase, self.handed_over_at = Phase.AUTONOMY, self.steps
        logger.info("hand-over after %d steps and %d judgements", self.steps, self.labels.judgements)
        self._decide_by(self.recovery)

    def _decide_by(self, intervention: Intervention) -> None:
        self.guard.intervention = Shadow(intervention) if self.shadow else intervention
