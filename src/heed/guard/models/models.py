"""The learnt models of a guard, fitted together: dynamics, blockers, their threshold, and the range of known states."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.models.blockers import BLOCKERS_FIT, Blockers, DangerJudge
from heed.guard.models.calibration import (
    Judged,
    RefitDecision,
    Threshold,
    accept_refit,
    conformal_threshold,
    hirl_threshold,
    promised,
    smallest_eps,
)
from heed.guard.models.dynamics import Dynamics, EnsembleDynamics, FitReport
from heed.guard.models.ensemble import BatchConfig, FitConfig
from heed.guard.models.labels import Experience, Labels
from heed.guard.models.rewards import Reward, WithReward
from heed.guard.models.support import Range
from heed.guard.models.termination import LearntTermination, TerminationChoice, choose_termination
from heed.runs.state import State

logger = logging.getLogger(__name__)

STRETCH = 100
"""Labels of one episode that are taken to be alike where episodes are too few."""


@dataclass(frozen=True)
class ModelsConfig:
    """How the models are fitted.

    Args:
        members: E of the dynamics and M of the blockers.
        dynamics_hidden: units of each of the dynamics' two hidden layers.
        inputs: what blockers judge: next_state, state or state_action; None takes what the overseer judges.
        label_keys: indices of the state that the labels depend on; all if None.
        threshold: conformal, or hirl: more than half, two of the members.
        eps: miss rate that the conformal threshold promises.
        cap: share of the known steps let pass that blockers may flag; most members have learnt from each of them,
            so that of fresh ones it may be more (see `accept_refit`).
        range_margin: how far beyond the states seen the models are trusted, in widths of what was seen.
        termination: which states end an imagined future harmlessly: given (the environment is known to), learnt (from
            the ends that happened) or none; auto takes what is given, and learns where nothing is.
        dynamics: the dynamics' fit.
        blockers: the blockers' fit.
    """

    members: int = 5
    dynamics_hidden: int = 200
    inputs: str | None = None
    label_keys: tuple[int, ...] | None = None
    threshold: str = "conformal"
    eps: float = 0.1
    cap: float = 0.03
    range_margin: float = 0.02
    termination: TerminationChoice = "auto"
    dynamics: FitConfig = field(default_factory=FitConfig)
    blockers: BatchConfig = BLOCKERS_FIT


@dataclass(frozen=True)
class ModelsReport:
    """How a fit of the models went.

    Args:
        dynamics: the dynamics' fit; None where they are known or were left as they are.
        calibrated: the threshold as held-out blocks calibrated it, with its promise; None where danger is known.
        in_force: the threshold in force from now on, with what the held-out blocks promise of it.
        decision: whether the blockers' refit was accepted, and why.
        blocks: labels that say block.
        labels: all.
    """

    dynamics: FitReport | None
    calibrated: Threshold | None
    in_force: Threshold
    decision: RefitDecision | None
    blocks: int
    labels: int


class Models:
    """Dynamics and blockers that are fitted again as experience grows.

    Every episode is kept from one of the blockers, and the threshold is calibrated on what each says of the blocks
    that it has not seen. What the members say together is surer than what one says alone, and nothing proves that
    the promise carries over: `heed bench coverage` counts.

    Whether a refit is accepted is judged on all that is known, each label of which all members but one have learnt
    from: that compares fits and meets their collapse, and is no measure of what they flag or miss of fresh steps
    (`accept_refit`).

    Args:
        state_size: S.
        action_size: A.
        config: how.
        seed: of weights, held-out rows and batches.
        known_dynamics: in place of learnt ones: what perfect knowledge is worth.
        known_danger: in place of learnt blockers.
        reward: in place of what the dynamics tell steps to earn.
        termination: batched, which states end an episode harmlessly; a learnt one is fitted each time.
    """

    def __init__(
        self,
        state_size: int,
        action_size: int,
        config: ModelsConfig | None = None,
        seed: int = 0,
        known_dynamics: Dynamics | None = None,
        known_danger: DangerJudge | None = None,
        reward: Reward | None = None,
        termination: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.config = config = ModelsConfig() if config is None else config
        if config.threshold not in ("conformal", "hirl"):
            raise HeedError(f"'{config.threshold}' sets no threshold", "--threshold", "take conformal or hirl")
        if not 0 < config.eps < 1:
            raise HeedError(f"eps is {config.eps}", "--eps", "give a miss rate between 0 and 1")
        self.generator = torch.Generator().manual_seed(seed)
        self.learnt = EnsembleDynamics(state_size, action_size, config.members, config.dynamics_hidden, seed=seed)
        self.known_dynamics, self.known_danger = known_dynamics, known_danger
        self.reward, self.termination = reward, termination
        self.sizes, self.seed, self.fits, self.fitted = (state_size, action_size), seed, 0, False
        self.blockers = self._fresh()
        self.unseen = torch.zeros(0)
        self.threshold = 0.5
        self.reach: Range | None = None

    @classmethod
    def from_config(
        cls,
        config: ModelsConfig,
        state_size: int,
        action_size: int,
        seed: int = 0,
        termination: Callable[[Tensor], Tensor] | None = None,
        **known: Any,
    ) -> Models:
        """Models that end imagined futures as the configuration chooses.

        Args:
            config: how all is fitted.
            state_size: S.
            action_size: A.
            seed: see the class.
            termination: batched, which states end an episode harmlessly, where that is known.
            known: further arguments of the class: ``known_dynamics``, ``known_danger``, ``reward``.

        Raises:
            HeedError: an unknown choice, or one that needs what is not given.
        """
        chosen = choose_termination(
            config.termination, termination, state_size, config.members, config.range_margin, seed
        )
        return cls(state_size, action_size, config, seed, termination=chosen, **known)

    @property
    def dynamics(self) -> Dynamics:
        """The dynamics in force."""
        model: Dynamics = self.learnt if self.known_dynamics is None else self.known_dynamics
        return model if self.reward is None else WithReward(model, self.reward)

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of steps, by the models in force, [...]."""
        judge: DangerJudge = self.blockers if self.known_danger is None else self.known_danger
        return judge.danger(states, actions, next_states)

    def disagreement(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Standard deviation of the blockers' probabilities of steps, [...]; 0 where danger is known."""
        blockers = self.blockers
        if self.known_danger is not None:
            return torch.zeros(states.shape[:-1])
        return blockers.disagreement(blockers.inputs_of(states, actions, next_states))

    def fit(self, experience: Experience, dynamics: bool = True) -> ModelsReport:
        """Fit what is not known to all that is remembered; ``dynamics=False`` leaves the dynamics as they are.

        Blockers that would flag less of the known blocks, or nearly everything, are not accepted (`accept_refit`).
        Where anything cannot be fitted, all that is in force stays as it was.

        Raises:
            HeedError: no blocks, or too few for the promise.
        """
        fitted = copy.copy(self)
        report = fitted._fit(experience, dynamics)
        vars(self).update(vars(fitted))
        return report

    def _fit(self, experience: Experience, dynamics: bool) -> ModelsReport:
        """Fit a copy of the models in force: whatever is part of them is replaced here, never changed."""
        labels = experience.labels()
        if self.known_danger is None:
            self._check_enough(int(labels.blocked.sum()))
        report = None
        if self.known_dynamics is None and dynamics:
            self.learnt = copy.deepcopy(self.learnt)
            report = self.learnt.fit(experience.transitions, self.config.dynamics, self.generator)
            seen = experience.transitions.tensors()
            states = torch.cat([seen.states, seen.next_states])
            self.reach = Range.around(states[states.isfinite().all(1)], self.config.range_margin)
        if isinstance(self.termination, LearntTermination):  # after a catastrophe too: no end may hide it
            self.termination = copy.deepcopy(self.termination)
            self.termination.fit(experience.transitions, self.generator, self.config.blockers)
        self.fits += 1
        if self.known_danger is not None:
            return ModelsReport(report, None, Threshold(self.threshold), None, experience.blocks, len(labels.blocked))
        inputs, blocked, catastrophes = self.inputs_of(labels), labels.blocked, labels.catastrophes
        fresh = self._fresh()
        unseen = fresh.fit(
            inputs, blocked, self.generator, self.config.blockers, folds_of(labels, self.config.members)
        ).unseen
        usable = unseen.isfinite()
        if self.config.threshold == "hirl":  # its rule, whatever it flags
            calibrated = hirl_threshold()
            decision = RefitDecision(True, calibrated.value, 0.0, 0.0, "HIRL believes every fit")
        else:
            calibrated = conformal_threshold(unseen[usable & blocked].numpy(), self.config.eps)
            parts = (inputs[usable], blocked[usable], catastrophes[usable])
            new = _judged(fresh, *parts, calibrated.value)
            old = _judged(self.blockers, *parts, self.threshold) if self.fitted else None
            decision = accept_refit(old, new, cap=self.config.cap)
        if decision.accepted:
            self.blockers, self.unseen = fresh, unseen
        else:  # what came since the fit in force is unseen by all of it
            since = self.blockers.danger_of(inputs[len(self.unseen) :])
            self.unseen = torch.cat([self.unseen, since])
        self.threshold, self.fitted = decision.threshold, True
        in_force = promised(decision.threshold, self.unseen[self.unseen.isfinite() & blocked].numpy())
        logger.info("fit %d: %s; %s", self.fits, in_force, decision.reason)
        return ModelsReport(report, calibrated, in_force, decision, experience.blocks, len(blocked))

    def inputs_of(self, labels: Labels) -> Tensor:
        """The blockers' inputs [N, D]; the next state of a blocked action is what the dynamics expects."""
        expected = self.dynamics.mean(labels.states, labels.actions)
        following = torch.where(labels.next_states.isnan(), expected, labels.next_states)
        return self.blockers.inputs_of(labels.states, labels.actions, following)

    def state(self) -> State:
        """All that fits change; what is known, and the configuration, is not among it."""
        ends = self.termination
        return {
            "dynamics": self.learnt.state(),
            "blockers": dict(self.blockers.state_dict()),
            "termination": ends.state() if isinstance(ends, LearntTermination) else None,
            "unseen": self.unseen,
            "threshold": self.threshold,
            "reach": self.reach,
            "fits": self.fits,
            "fitted": self.fitted,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Become as the models were that gave this state; these know the same, and have the same configuration."""
        self.learnt.restore(state["dynamics"])
        self.blockers.load_state_dict(state["blockers"])
        if isinstance(self.termination, LearntTermination):
            self.termination.restore(state["termination"])
        self.unseen, self.threshold, self.reach = state["unseen"], state["threshold"], state["reach"]
        self.fits, self.fitted = state["fits"], state["fitted"]
        self.generator.set_state(state["generator"])

    def _check_enough(self, blocks: int) -> None:
        """Refuse, before anything is fitted, a promise that so many blocks cannot bear."""
        needed = math.ceil(1 / self.config.eps) - 1
        if self.config.threshold == "conformal" and blocks < needed:
            raise HeedError(
                f"{blocks} blocks cannot promise a miss rate of {self.config.eps:g}",
                "--eps",
                f"the smallest possible from them is {smallest_eps(blocks):.3g}; {self.config.eps:g} needs {needed}",
            )

    def _fresh(self) -> Blockers:
        config = self.config
        return Blockers(
            *self.sizes,
            config.members,
            inputs=config.inputs or "next_state",
            label_keys=config.label_keys,
            votes=2 if config.threshold == "hirl" else None,
            seed=self.seed + self.fits,
        )


def folds_of(labels: Labels, members: int) -> Tensor:
    """Which member does without each label, [N]: those of an episode stay together, episodes with blocks are dealt out.

    Steps that follow one another are too alike to be split: whoever has seen one knows the next. Where fewer episodes
    than members have blocks, as with episodes that hardly ever end, stretches of an episode are dealt out instead.

    >>> blocked = torch.tensor([False, True, True, False, True])
    >>> nothing = torch.zeros(5, 1)
    >>> episodes = torch.tensor([0, 0, 0, 1, 2])
    >>> folds_of(Labels(nothing, nothing, nothing, blocked, episodes, blocked), members=2).tolist()
    [0, 0, 0, 1, 1]
    """
    order = labels.episodes.argsort(stable=True)
    sorted_episodes = labels.episodes[order]
    first = torch.searchsorted(sorted_episodes, sorted_episodes)
    few = len(labels.episodes[labels.blocked].unique()) < members
    parts = (torch.arange(len(order)) - first) // STRETCH if few else torch.zeros_like(first)
    stretches = torch.empty_like(order)
    stretches[order] = torch.unique(torch.stack([sorted_episodes, parts], 1), dim=0, return_inverse=True)[1]
    with_blocks = stretches[labels.blocked].unique()
    return torch.searchsorted(with_blocks, stretches) % members


def _judged(blockers: Blockers, inputs: Tensor, blocked: Tensor, catastrophes: Tensor, threshold: float) -> Judged:
    danger = blockers.danger_of(inputs)
    return Judged(danger[blocked].numpy(), danger[~blocked].numpy(), threshold, danger[catastrophes].numpy())
