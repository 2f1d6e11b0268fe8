"""The learnt judges of a guard, fitted together: dynamics, blockers, the threshold and the range of what is known."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.blockers import Blockers
from heed.guard.dynamics import EnsembleDynamics, FitReport
from heed.guard.ensemble import FitConfig
from heed.guard.imagination import Range
from heed.guard.memory import Labels, Memory
from heed.guard.thresholds import (
    Judged,
    RefitDecision,
    Threshold,
    accept_refit,
    conformal_threshold,
    hirl_threshold,
    smallest_eps,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgesConfig:
    """How the judges are fitted.

    Args:
        members: E of the dynamics and M of the blockers.
        dynamics_hidden: units of each of the dynamics' two hidden layers.
        inputs: what blockers judge: next_state, state or state_action.
        label_keys: indices of the state that the labels depend on; all if None.
        threshold: conformal, or hirl: more than half, two of the members.
        eps: miss rate that the conformal threshold promises.
        range_margin: how far beyond the states seen is still believed, in widths of what was seen.
        dynamics: the dynamics' fit.
        blockers: the blockers' fit.
    """

    members: int = 5
    dynamics_hidden: int = 200
    inputs: str = "next_state"
    label_keys: tuple[int, ...] | None = None
    threshold: str = "conformal"
    eps: float = 0.05
    range_margin: float = 0.5
    dynamics: FitConfig = field(default_factory=FitConfig)
    blockers: FitConfig = field(default_factory=lambda: FitConfig(held_out=0.25))


@dataclass(frozen=True)
class JudgesReport:
    """How a fit of the judges went.

    Args:
        dynamics: the dynamics' fit.
        threshold: as calibrated on held-out blocks; its promise.
        decision: whether the blockers' refit was believed, and the threshold in force.
        blocks: labels that say block.
        labels: all.
    """

    dynamics: FitReport
    threshold: Threshold
    decision: RefitDecision
    blocks: int
    labels: int


class Judges:
    """Dynamics and blockers that are fitted again as the memory grows.

    Args:
        state_size: S.
        action_size: A.
        config: how.
        seed: of weights, held-out rows and batches.
    """

    def __init__(self, state_size: int, action_size: int, config: JudgesConfig | None = None, seed: int = 0) -> None:
        self.config = JudgesConfig() if config is None else config
        self.generator = torch.Generator().manual_seed(seed)
        self.dynamics = EnsembleDynamics(
            state_size, action_size, self.config.members, self.config.dynamics_hidden, seed=seed
        )
        if self.config.threshold not in ("conformal", "hirl"):
            raise HeedError(f"'{self.config.threshold}' sets no threshold", "--threshold", "take conformal or hirl")
        self.blockers = self._fresh(state_size, action_size, seed)
        self.sizes, self.seed, self.fits = (state_size, action_size), seed, 0
        self.threshold = 0.5
        self.reach: Range | None = None

    def fit(self, memory: Memory) -> JudgesReport:
        """Fit to all that is remembered; blockers that would flag less of the known blocks are not believed.

        Raises:
            HeedError: no blocks, or too few for the promise (from `Blockers.fit` and `conformal_threshold`).
        """
        self._check_enough(memory.blocks)
        seen = memory.transitions.tensors()
        report = self.dynamics.fit(memory.transitions, self.config.dynamics, self.generator)
        self.reach = Range.around(torch.cat([seen.states, seen.next_states]), self.config.range_margin)
        labels = memory.labels()
        inputs = self.inputs_of(labels)
        fresh = self._fresh(*self.sizes, self.seed + self.fits)
        fitted = fresh.fit(inputs, labels.blocked, self.generator, self.config.blockers)
        danger = fresh.danger_of(inputs)
        held_blocks = fitted.held_out & labels.blocked
        if self.config.threshold == "hirl":
            threshold = hirl_threshold()
        else:
            threshold = conformal_threshold(danger[held_blocks].numpy(), self.config.eps)
        new = self._judged(danger, labels, threshold.value)
        old = self._judged(self.blockers.danger_of(inputs), labels, self.threshold) if self.fits else None
        decision = accept_refit(old, new)
        if decision.accepted:
            self.blockers = fresh
        self.threshold, self.fits = decision.threshold, self.fits + 1
        logger.info("fit %d: %s; %s", self.fits, threshold, decision.reason)
        return JudgesReport(report, threshold, decision, int(labels.blocked.sum()), len(labels.blocked))

    def _check_enough(self, blocks: int) -> None:
        """Refuse, before anything is fitted, a promise that so many blocks cannot bear."""
        held_out = round(self.config.blockers.held_out * blocks)
        needed = math.ceil(1 / self.config.eps) - 1
        if self.config.threshold == "conformal" and held_out < needed:
            raise HeedError(
                f"{blocks} blocks, of which {held_out} are held out, cannot promise a miss rate of {self.config.eps:g}",
                "--eps",
                f"the smallest possible from them is {smallest_eps(held_out):.3g}; {self.config.eps:g} needs "
                f"{math.ceil(needed / self.config.blockers.held_out)} blocks",
            )

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of steps, as the blockers in force see it, [...]."""
        return self.blockers.danger(states, actions, next_states)

    def inputs_of(self, labels: Labels) -> Tensor:
        """The blockers' inputs [N, D]; the next state of a blocked action is what the dynamics expects."""
        expected = self.dynamics.mean(labels.states, labels.actions)
        following = torch.where(labels.next_states.isnan(), expected, labels.next_states)
        return self.blockers.inputs_of(labels.states, labels.actions, following)

    def _fresh(self, state_size: int, action_size: int, seed: int) -> Blockers:
        config = self.config
        votes = 2 if config.threshold == "hirl" else None
        return Blockers(
            state_size,
            action_size,
            config.members,
            inputs=config.inputs,
            label_keys=config.label_keys,
            votes=votes,
            seed=seed,
        )

    @staticmethod
    def _judged(danger: Tensor, labels: Labels, threshold: float) -> Judged:
        return Judged(danger[labels.blocked].numpy(), danger[~labels.blocked].numpy(), threshold)
