"""From a job to a run that can begin: environment, guard, learner, phases and observers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Step
from heed.guard.guard import Guard
from heed.guard.intervention import Off, check_mode
from heed.guard.labels import LabelCollector
from heed.guard.learners.recovery import RecoveryPhases, RecoverySAC
from heed.guard.learners.replay import GuardAware
from heed.guard.learners.sb3 import Learner, controller, state_values
from heed.guard.learners.smbpo import UnaskedModels
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.config import ModelsConfig
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.models import Models
from heed.guard.phases import Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.building import Controllers
from heed.guard.planning.optimizers import search_from_name
from heed.guard.run.causes import Causes
from heed.guard.run.config import GuardJob
from heed.guard.run.env_checks import EnvironmentChecks
from heed.guard.run.environment import AtCatastrophe, Surroundings, need_of_blocking, surroundings, true_world
from heed.guard.run.feedback import Outcomes, Retractions, Spectator
from heed.guard.run.keeping.rewinding import Rewinding
from heed.guard.run.learner import imagining, learner_of
from heed.guard.run.methods import Method, method_from_name
from heed.guard.run.phases import RunPhases
from heed.guard.run.snapshots import BlockSnapshots
from heed.guard.stored_labels import recalled_from
from heed.oversight.overseers.base import Scope, scope_of
from heed.oversight.overseers.fail_closed import FailClosedOverseer
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.overseers.specs import overseer_from_spec
from heed.oversight.store.store import Store, open_store

logger = logging.getLogger(__name__)

NO_SAFE_ACTION = (
    "no safe action is declared: where an action is blocked and nothing better is found, the centre of the box or the "
    "first choice is executed, which may prevent nothing; give --safe-action module:function, or an overseer that says "
    "what to do instead"
)
TOGETHER = 100
"""Judgements of a script that wait for the disk together; a person's are each on disk before they are acted on."""


@dataclass
class GuardRun:
    """A guarded run in progress.

    Args:
        job: what was declared.
        place: the environment and what is known of it.
        episode: between the two, so that the environment can be put back.
        checks: above that.
        guard: in front of it.
        learner: behind it.
        phases: who judges, or only learns; None where nobody does.
        log: every decision.
        snapshots: what the guard saw where it blocked; None where there is no guard.
        overseer: whom the guard asks; writes down what it says. None where there is no guard.
        store: where to; None for the run folder's own.
        callbacks: of the learner.
    """

    job: GuardJob
    place: Surroundings
    episode: Rewinding
    checks: EnvironmentChecks
    guard: Guard
    learner: Learner
    phases: RunPhases | None
    log: DecisionLog
    snapshots: BlockSnapshots | None
    overseer: Recorded | None
    store: Store | None
    callbacks: list[BaseCallback]


def build(job: GuardJob, person: HumanOverseer | None = None) -> GuardRun:
    """The environment, the guard and the learner of a job, and what observes them.

    Args:
        job: what was declared.
        person: at a page, in place of the job's overseer. Nobody hurries them: as long as they do not answer, the agent
            waits.

    Raises:
        HeedError: whatever no run can be begun with.
    """
    job.check()
    check_mode(job.mode)
    method = method_from_name(job.method)
    set_random_seed(job.seed)
    cost = AtCatastrophe(job.catastrophe_reward, job.catastrophe_ends)
    place = surroundings(job.env, job.env_kwargs, job.catastrophe, job.safe_action, cost)
    logger.info("%s", place.at_catastrophe)
    episode, truth = Rewinding(place.env, place.name), _truth(place)
    env = EnvironmentChecks(episode, place.name)
    if not method.guarded:
        guard = Guard(env, intervention=Off(), safe_action=place.safe_action)
        learner = learner_of(job, guard)
        log = DecisionLog(lambda steps: _unguarded_phase(steps, job.phases.oversight_steps), truth)
        guard.observers.append(log)
        unasked = _unasked(job, place, guard) if method.brings == "absorbing" else None
        guard.observers += [] if unasked is None else [unasked]
        callbacks = [] if unasked is None else imagining(job, unasked)
        return GuardRun(job, place, episode, env, guard, learner, unasked, log, None, None, None, callbacks)
    if place.safe_action is None:
        logger.warning("%s", NO_SAFE_ACTION)
    overseer = _overseer(job, place, person)
    guard = Guard(env, overseer, safe_action=place.safe_action, penalty=job.penalty if job.mode == "penalty" else 0.0)
    learner = learner_of(job, guard)
    scope = scope_of(overseer)
    phases: Phases | RecoveryPhases
    if isinstance(learner, RecoverySAC):
        phases, callbacks = _recovery(job, guard, learner), []
    else:
        phases = _phases(job, method, place, guard, learner, scope)
        if job.phases.background is None:
            phases.refits.background = person is not None
        callbacks = imagining(job, phases)
    snapshots = BlockSnapshots(seed=job.seed, picture=guard.render if guard.render_mode == "rgb_array" else None)
    log = DecisionLog(lambda _: phases.phase.value, truth)
    guard.observers = [snapshots, log, Causes(), phases]
    if person is not None:
        person.bind(
            overseer,
            about=lambda: {"phase": phases.phase.value, "counts": {"judged": phases.labels.judgements}},
            learning=lambda: isinstance(phases, Phases) and phases.refits.running,
            task=place.about,
        )
        shown = [learner.demonstrations] if isinstance(learner, GuardAware) else []
        guard.observers[2:2] = [Outcomes(person, guard), Retractions(person, phases.labels, *shown)]
        guard.observers.append(Spectator(person, phases, guard))
    store = None if job.store is None else open_store(job.store, "--store")
    return GuardRun(job, place, episode, env, guard, learner, phases, log, snapshots, overseer, store, callbacks)


def _overseer(job: GuardJob, place: Surroundings, person: HumanOverseer | None) -> Recorded:
    """Who is asked, started; their verdicts are written down once a store is there."""
    make = partial(overseer_from_spec, job.overseer, place.env)
    judge = person or FailClosedOverseer.made_by(make, job.overseer_timeout)
    together = TOGETHER if scope_of(judge).scripted else 1
    overseer = Recorded(judge, together, listeners=[] if person is None else [person])
    overseer.reset(job.seed)
    return overseer


def _phases(
    job: GuardJob,
    method: Method,
    place: Surroundings,
    guard: Guard,
    learner: Learner,
    scope: Scope,
) -> Phases:
    """Who judges when, over models of what the method does not know."""
    known: dict[str, Any] = {}
    if method.true_dynamics or method.true_danger:
        dynamics, danger = true_world(place.env)
        known |= {"known_dynamics": KnownDynamics(dynamics, members=1)} if method.true_dynamics else {}
        known |= {"known_danger": KnownBlockers(danger)} if method.true_danger else {}
    planning, models = method.configure(job.planning, fitting(scope, job.models))
    here = guard.situations[0]
    sizes = (here.state_size, here.actions.size)
    if planning.planner != "none":  # a search that could not be made is refused now, not at the hand-over
        search_from_name(planning.planner, planning.longest, sizes[1], planning.plan_samples, here.actions.discrete)
    learnt = Models.from_config(models, *sizes, job.seed, termination=place.goal, **known)
    controllers = Controllers(controller(learner), place.brake, state_values(learner))
    made = Phases(guard, controllers, job.phases, planning, learnt, job.seed, job.mode)
    if job.judgements is not None:
        made.labels.add_stored(recalled_from(job.judgements, place.env, place.name))
    return made


def _recovery(job: GuardJob, guard: Guard, learner: RecoverySAC) -> RecoveryPhases:
    """Who judges when under Recovery RL, whose labels are kept beside the run."""
    labels = _labels(guard, job.phases)
    limits = (job.baselines.risk_limit, job.baselines.risk_updates)
    return RecoveryPhases(guard, learner, job.phases, *limits, labels, shadow=job.mode == "shadow")


def _unasked(job: GuardJob, place: Surroundings, guard: Guard) -> UnaskedModels:
    """Models for SMBPO, of catastrophes: those are known at the last moment, and say nothing of steps before them."""
    models = fitting(Scope(last_moment=True), job.models)
    here = guard.situations[0]
    sizes = (here.state_size, here.actions.size)
    learnt = Models.from_config(models, *sizes, job.seed, termination=place.goal)
    labels = _labels(guard, job.phases)
    if job.judgements is not None:
        labels.add_stored(recalled_from(job.judgements, place.env, place.name))
    return UnaskedModels(learnt, labels, job.phases, job.seed)


def _labels(guard: Guard, phases: PhasesConfig) -> LabelCollector:
    here = guard.situations[0]
    return LabelCollector(here.state_size, here.actions.size, phases.survives_after)


def _truth(place: Surroundings) -> Callable[[Step], dict[str, Any]]:
    """What an oracle knows of each step, for the log."""
    need = need_of_blocking(place.env)

    def truth(step: Step) -> dict[str, Any]:
        known: dict[str, Any] = {"goal": bool(step.info.get("goal", False))}
        if need is not None and step.proposed is not None:
            known |= vars(need(step.state, step.decision.proposed))
        return known

    return truth


def _unguarded_phase(steps: int, oversight_steps: int) -> str:
    """An unguarded run has no phases; its first steps count as oversight, so that the same steps are compared."""
    return "oversight" if steps < oversight_steps else "autonomy"


def fitting(scope: Scope, models: ModelsConfig) -> ModelsConfig:
    """The models' configuration with what fits the overseer wherever nothing was chosen.

    Blockers judge what the overseer judges: the next state, or the present one. What came to no harm needed no block
    where a block is about a catastrophe in the very next state; where nobody declares it, the labels tell.

    >>> fitting(Scope(last_moment=True), ModelsConfig()).survival, fitting(Scope(inputs="state"), ModelsConfig()).inputs
    (True, 'state')
    """
    inputs = scope.inputs if models.inputs is None else models.inputs
    survival = scope.last_moment if models.survival is None else models.survival
    return dataclasses.replace(models, inputs=inputs, survival=survival)
