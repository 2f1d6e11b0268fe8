"""The learnt models of a guard, fitted together: dynamics, blockers, their threshold, and the range of known states."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heed.guard.models.blockers import Blockers, DangerJudge
from heed.guard.models.calibration import (
    Judged,
    RefitDecision,
    Threshold,
    accept_refit,
    hirl_threshold,
    met_threshold,
    smallest_eps,
)
from heed.guard.models.config import ModelsConfig
from heed.guard.models.cross_conformal import CalibratedBlockers, FirstSteps
from heed.guard.models.dynamics import Dynamics, EnsembleDynamics, FitReport
from heed.guard.models.labels import Experience, Labels
from heed.guard.models.relevance import relevant_columns
from heed.guard.models.rewards import Reward, WithReward
from heed.guard.models.safety_value import HELD, SWEEPS, SafetyValue
from heed.guard.models.support import Range, known_range
from heed.guard.models.survival import survivors_agree
from heed.guard.models.termination import LearntTermination, choose_termination
from heed.guard.models.transitions import Transitions
from heed.guard.models.unseen import folds_of
from heed.runs.state import State

logger = logging.getLogger(__name__)


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

    Every episode is kept from one of the blockers, and the threshold is calibrated on what each says of the blocks that
    it has not seen. That what all say together keeps this promise is not proved; of single steps `heed bench coverage`
    counts it.

    Args:
        state_size: S.
        action_size: A.
        config: how.
        seed: of weights, held-out rows and batches.
        known_dynamics: in place of learnt ones: what perfect knowledge is worth.
        known_danger: in place of learnt blockers.
        reward: in place of what the dynamics tell steps to earn.
        termination: batched, which states end an episode harmlessly; a learnt one is fitted each time.

    Attributes:
        late: whether the overseer blocks at the last moment, as the labels tell; None as long as nothing is known.
        met: risks of the blocks that were met since the first fit, as the guard saw them before it learnt from them, by
            the run of blocks on end that they are part of.
        constants: action vectors [n, A] to hold as ways out, from which the value beyond the horizon is learnt; None
            learns none.
        controllers: further ways out: states [N, S] to action vectors [N, A].
        look: how a look judges its first step, by which the threshold is calibrated; None imagines one future.
        refuted: whether the overseer's verdicts have shown that what is in force is not worth keeping; until a fit is.
        belief: how far each imagined step ahead is believed (`belief_by_step`), [H]; None believes all.
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
        config.check(state_size)
        self.generator = torch.Generator().manual_seed(seed)
        self.learnt = EnsembleDynamics(state_size, action_size, config.members, config.dynamics_hidden, seed=seed)
        self.known_dynamics, self.known_danger, self.reward = known_dynamics, known_danger, reward
        self.termination = termination
        self.sizes, self.seed, self.fits, self.fitted = (state_size, action_size), seed, 0, False
        self.blockers = self._fresh(config.label_keys)
        self.judge: Blockers | CalibratedBlockers = self.blockers
        self.keys, self.chosen_from = config.label_keys, 0
        self.late: bool | None = None
        self.met: dict[tuple[int, int, int], list[float]] = {}
        self.threshold, self.refuted, self.unseen = 0.5, False, torch.zeros(0)
        self.reach: Range | None = None
        self.value: SafetyValue | None = None
        self.constants: Tensor | None = None
        self.controllers: list[Callable[[Tensor], Tensor]] = []
        self.look: FirstSteps | None = None
        self.belief: Tensor | None = None

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
        chosen = choose_termination(config.termination, termination, state_size, config.members, seed)
        return cls(state_size, action_size, config, seed, termination=chosen, **known)

    @property
    def dynamics(self) -> Dynamics:
        """The dynamics in force."""
        model: Dynamics = self.learnt if self.known_dynamics is None else self.known_dynamics
        return model if self.reward is None else WithReward(model, self.reward)

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of steps, by the models in force, [...]."""
        judge = self.judge if self.known_danger is None else self.known_danger
        return judge.danger(states, actions, next_states)

    def most_alarmed(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of steps as the most alarmed blocker tells it, [...]; as it is where danger is known."""
        if self.known_danger is not None:
            return self.known_danger.danger(states, actions, next_states)
        return self.judge.most_alarmed(self.blockers.inputs_of(states, actions, next_states))

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
        self.become(fitted)
        return report

    def become(self, fitted: Models) -> None:
        """Put into force what a copy of these models has learnt; what was met meanwhile stays."""
        met = self.met
        vars(self).update(vars(fitted))
        self.met = met

    def _fit(self, experience: Experience, dynamics: bool) -> ModelsReport:
        """Fit a copy of the models in force: whatever is part of them is replaced here, never changed."""
        labels = experience.labels()
        report = None
        if self.known_dynamics is None and dynamics:
            self.learnt = copy.deepcopy(self.learnt)
            report = self.learnt.fit(experience.transitions, self.config.dynamics, self.generator)
        if isinstance(self.termination, LearntTermination):  # after a catastrophe too: no end may hide it
            self.termination = copy.deepcopy(self.termination)
            self.termination.fit(experience.transitions, self.generator, self.config.blockers)
        self.fits += 1
        if self.known_danger is not None:
            self._look_beyond(experience.transitions)
            return ModelsReport(report, None, Threshold(self.threshold), None, experience.blocks, len(labels.blocked))
        inputs, blocked = self.inputs_of(labels), labels.blocked
        folds = folds_of(labels, self.config.members)
        self.late = self._last_moment(inputs, labels, folds)
        if not self.late:  # what came to no harm may still have been worth a block
            inputs = torch.where(labels.survived[:, None], torch.nan, inputs)
        keys = self._relevant(inputs, blocked, folds)
        fresh = self._fresh(keys)
        unseen = fresh.fit(inputs, blocked, self.generator, self.config.blockers, folds).unseen
        usable = unseen.isfinite()
        judge: Blockers | CalibratedBlockers
        if self.config.threshold == "hirl":  # its rule, whatever it flags
            judge, calibrated = fresh, hirl_threshold()
            decision = RefitDecision(True, calibrated.value, 0.0, 0.0, "HIRL believes every fit")
        else:
            known = labels.rows(usable)
            judge = self._seen_ahead(CalibratedBlockers.from_folds(fresh, inputs, blocked, folds), known, folds[usable])
            calibrated = self._calibrated(judge)
            new = self._judged(judge, known, calibrated.value)
            old = (
                self._judged(self.judge, known, self.threshold) if isinstance(self.judge, CalibratedBlockers) else None
            )
            promise = 0.0 if calibrated.eps is None else calibrated.eps
            decision = accept_refit(None if self.refuted else old, new, cap=self.config.cap / 2, promise=promise)
        if decision.accepted:
            self.blockers, self.judge, self.unseen, self.keys, self.refuted = fresh, judge, unseen, keys, False
        else:  # what came since the fit in force is unseen by all of it
            since = self.blockers.probability(inputs[len(self.unseen) :]).mean(0).detach()
            self.unseen = torch.cat([self.unseen, since])
        self.threshold, self.fitted = decision.threshold, True
        in_force = calibrated
        if isinstance(self.judge, CalibratedBlockers) and self.threshold != calibrated.value:
            in_force = self.judge.promised(self.threshold)
        learnt = self.learnt if self.known_dynamics is None else None
        self.reach = known_range(experience.transitions, self.keys, self.config.range_margin, learnt, self.generator)
        self._look_beyond(experience.transitions)
        logger.info("fit %d: %s; %s", self.fits, in_force, decision.reason)
        return ModelsReport(report, calibrated, in_force, decision, experience.blocks, len(blocked))

    def inputs_of(self, labels: Labels) -> Tensor:
        """The blockers' inputs [N, D]: each action's next state as the dynamics imagine it, drawn as a look draws it.

        What an action leads to is imagined for all labels alike, though of those let pass it is known. Were it not,
        blockers would learn to tell the imagined from the real: sensors of pure noise stand at their mean in what is
        expected of a blocked action, flags between 0 and 1, and every imagined future looks blocked then.
        """
        return self.blockers.inputs_of(labels.states, labels.actions, self._drawn(labels.states, labels.actions))

    def _drawn(self, states: Tensor, actions: Tensor) -> Tensor:
        """A next state of each row [N, S], each drawn from one of the dynamics' members in turn."""
        members = self.dynamics.members
        rows = torch.arange(-(-len(states) // members) * members).remainder(max(1, len(states))).view(-1, members).T
        generator = torch.Generator().manual_seed(self.seed + self.fits)
        following = self.dynamics.step(states[rows], actions[rows], generator)[0]
        return following.transpose(0, 1).flatten(0, 1)[: len(states)]

    def _seen_ahead(self, judge: CalibratedBlockers, known: Labels, folds: Tensor) -> CalibratedBlockers:
        """The judge with a threshold for what a look tells of its first step, where there is one."""
        if self.look is None:
            return judge
        danger = self._as_seen(known, lambda inputs, rows: judge.unseen_danger(inputs, folds[rows]))
        return judge.as_seen(danger[known.blocked], danger[~known.blocked])

    def _as_seen(self, labels: Labels, tell: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """What is told of the inputs [K, n, D] of labels, [K, n], as a look judges its first step: [N]."""
        if self.look is None:
            return tell(self.inputs_of(labels)[None], slice(None))[0]
        generator = torch.Generator().manual_seed(self.seed + self.fits)
        inputs = self.blockers.inputs_of
        return self.look.told(labels, self.dynamics, lambda s, a, n, rows: tell(inputs(s, a, n), rows), generator)

    def _judged(self, judge: CalibratedBlockers, known: Labels, threshold: float) -> Judged:
        danger = self._as_seen(known, lambda inputs, _: judge.danger_of(inputs))
        blocks, passed, catastrophes = (
            danger[of].numpy() for of in (known.blocked, ~known.blocked, known.catastrophes)
        )
        return Judged(blocks, passed, threshold, catastrophes)

    def state(self) -> State:
        """All that fits change; what is known, and the configuration, is not among it."""
        ends, judge, value = self.termination, self.judge, self.value
        return {
            "dynamics": self.learnt.state(),
            "blockers": dict(self.blockers.state_dict()),
            "keys": self.keys,
            "chosen_from": self.chosen_from,
            "late": self.late,
            "met": list(self.met.items()),
            "judge": judge.state() if isinstance(judge, CalibratedBlockers) else None,
            "termination": ends.state() if isinstance(ends, LearntTermination) else None,
            "value": None if value is None else {"weights": dict(value.state_dict()), "bar": value.bar},
            "unseen": self.unseen,
            "threshold": self.threshold,
            "reach": self.reach,
            "belief": self.belief,
            "refuted": self.refuted,
            "fits": self.fits,
            "fitted": self.fitted,
            "generator": self.generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Become as the models were that gave this state; these know the same, and have the same configuration."""
        self.learnt.restore(state["dynamics"])
        self.keys, self.chosen_from, self.late = state["keys"], state["chosen_from"], state["late"]
        self.blockers = self._fresh(self.keys)
        self.blockers.load_state_dict(state["blockers"])
        known = state["judge"]
        self.judge = self.blockers if known is None else CalibratedBlockers(self.blockers, **known)
        if isinstance(self.termination, LearntTermination):
            self.termination.restore(state["termination"])
        self.value = None if state["value"] is None else SafetyValue(self.sizes[0], seed=self.seed)
        if self.value is not None:
            self.value.load_state_dict(state["value"]["weights"])
            self.value.bar = state["value"]["bar"]
        self.met = {tuple(blocks): list(risks) for blocks, risks in state["met"]}
        self.unseen, self.threshold, self.reach = state["unseen"], state["threshold"], state["reach"]
        self.fits, self.fitted = state["fits"], state["fitted"]
        self.belief, self.refuted = state.get("belief"), state.get("refuted", False)
        self.generator.set_state(state["generator"])

    def _look_beyond(self, transitions: Transitions) -> None:
        """Learn from which states danger cannot be avoided any more, in the dynamics and by the blockers in force."""
        self.value = None
        if not self.config.beyond or self.constants is None:
            return

        def unsafe(states: Tensor, actions: Tensor, following: Tensor) -> Tensor:
            return ~(self.danger(states, actions, following) < self.threshold)

        seen = transitions.tensors()
        finite = seen.states.isfinite().all(1)
        lost = unsafe(seen.states, seen.actions, seen.next_states) | seen.catastrophe
        safe = transitions.survived(lost, HELD * SWEEPS) & finite
        if not bool(safe.any()):
            return
        self.value = SafetyValue(self.sizes[0], seed=self.seed)
        ways = (self.constants, self.controllers, self.generator)
        self.value.fit(seen.states[finite], seen.states[safe], self.dynamics, unsafe, *ways)

    def danger_beyond(self, states: Tensor) -> Tensor:
        """Danger in [0, 1] of what follows after states [..., S], whatever is done: [...]; 0 where nothing is known."""
        return torch.zeros(states.shape[:-1]) if self.value is None else self.value.danger(states, self.threshold)

    def _last_moment(self, inputs: Tensor, labels: Labels, folds: Tensor) -> bool | None:
        """Whether the overseer blocks at the last moment; asked anew where a tenth more blocks are known."""
        if self.config.survival is not None:
            return self.config.survival
        if not bool(labels.survived.any()) or (self.late is not None and not self._grown(int(labels.blocked.sum()))):
            return self.late
        late = survivors_agree(inputs, labels, folds, self.generator)
        if late is not None:
            logger.info(
                "as far as the labels tell, the overseer blocks %s", "at the last moment" if late else "in time"
            )
        return late

    def _calibrated(self, judge: CalibratedBlockers) -> Threshold:
        """The threshold by the blocks that were met, where they are enough for the promise, else by held-out ones.

        What was met is what a guard meets, told as a guard tells it: with all that is known, and looking ahead.
        Held-out blocks are told by members that lack a fifth of it, often the only one of its kind: not to miss those
        takes a threshold that flags nearly everything; where what was met would take a lower one still, as blocks that
        look like nothing at all do, nothing would be let pass, so that theirs stays.
        """
        held_out = judge.threshold(self.config.eps, self.config.cap)
        if self.refuted or smallest_eps(len(self.met)) > self.config.eps:
            return held_out
        enough = round(2 / self.config.eps) - 1  # of which one may be missed; those before them met poorer fits
        met = met_threshold(list(self.met.values())[-enough:], self.config.eps)
        return met if met.value > held_out.value else held_out

    def _grown(self, blocks: int) -> bool:
        """Whether so many blocks are a tenth more than when it was last asked what the labels depend on."""
        return self.chosen_from == 0 or blocks >= 1.1 * self.chosen_from

    def _relevant(self, inputs: Tensor, blocked: Tensor, folds: Tensor) -> tuple[int, ...] | None:
        """Parts of the state that blockers judge by; learnt anew where a tenth more blocks are known."""
        if self.config.label_keys is not None or not self.config.relevance:
            return self.config.label_keys
        blocks = int(blocked.sum())
        if self.keys is not None and not self._grown(blocks):
            return self.keys
        self.chosen_from = blocks
        return relevant_columns(inputs, blocked, folds, self.generator, self.sizes[0])

    def _fresh(self, keys: tuple[int, ...] | None = None) -> Blockers:
        return Blockers(
            *self.sizes,
            self.config.members,
            inputs=self.config.inputs or "next_state",
            label_keys=keys,
            votes=2 if self.config.threshold == "hirl" else None,
            seed=self.seed + self.fits,
        )
