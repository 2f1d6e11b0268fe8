"""From a job to a run that can begin: environment, guard, learner, phases and observers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.utils import set_random_seed

from heed.errors import HeedError
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Step
from heed.guard.guard import Guard
from heed.guard.learners.sb3 import Learner, controller, state_values
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.guard.run.config import GuardJob
from heed.guard.run.env_checks import EnvironmentChecks
from heed.guard.run.environment import Surroundings, known_point_hazard, need_on_point_hazard, surroundings
from heed.guard.run.learner import learner_of
from heed.guard.run.methods import method_from_name
from heed.guard.run.snapshots import BlockSnapshots
from heed.guard.stored_labels import recalled_from
from heed.oversight.overseers.base import Proposal, Scope, scope_of
from heed.oversight.overseers.fail_closed import fail_closed
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.overseers.specs import overseer_from_spec
from heed.oversight.store.store import Store, open_store

TOGETHER = 100
"""Judgements of a script that wait for the disk together; a person's are each on disk before they are acted on."""


@dataclass
class GuardRun:
    """A guarded run in progress.

    Args:
        job: what was declared.
        place: the environment and what is known of it.
        guard: in front of it.
        learner: behind it.
        phases: who judges; None where there is no guard.
        log: every decision.
        moments: what the guard saw where it blocked; None where there is no guard.
        overseer: whom the guard asks; writes down what it says. None where there is no guard.
        store: where to; None for the run folder's own.
    """

    job: GuardJob
    place: Surroundings
    guard: Guard
    learner: Learner
    phases: Phases | None
    log: DecisionLog
    moments: BlockSnapshots | None
    overseer: Recorded | None
    store: Store | None


def prepare(job: GuardJob, person: HumanOverseer | None = None) -> GuardRun:
    """The environment, the guard and the learner of a job.

    Args:
        job: what was declared.
        person: at a page, in place of the job's overseer. Nobody hurries them: as long as they do not answer, the agent
            waits.

    Raises:
        HeedError: whatever no run can be begun with.
    """
    if job.steps < 1:
        raise HeedError(f"{job.steps} steps are none", "--steps", "give at least 1")
    method = method_from_name(job.method)
    set_random_seed(job.seed)
    place = surroundings(job.env, job.env_kwargs, job.catastrophe)
    overseer = None
    if method.guarded:
        judge = person or fail_closed(overseer_from_spec(job.overseer, place.env), job.overseer_timeout)
        together = TOGETHER if scope_of(judge).scripted else 1
        overseer = Recorded(judge, together, listeners=[] if person is None else [person])
        overseer.reset(job.seed)
    env = EnvironmentChecks(place.env, place.name)
    guard = Guard(env, overseer, safe_action=place.safe_action, mode=job.mode, penalty=job.penalty)
    learner = learner_of(job, guard)
    log, need = DecisionLog(), need_on_point_hazard(place.env)

    def truth(step: Step) -> dict[str, Any]:
        found: dict[str, Any] = {"goal": bool(step.info.get("goal", False))}
        if need is not None and step.proposed is not None:
            found |= vars(need(step.state, step.decision.proposed))
        return found

    if not method.guarded:
        guard.mode = "off"

        def note(step: Step) -> None:
            phase = "oversight" if len(log.rows) < job.phases.oversight_steps else "autonomy"
            at = (len(log.rows), step.episode, phase)
            log.add(step.decision, *at, step.reward, step.catastrophe, **truth(step))

        guard.observer = note
        return GuardRun(job, place, guard, learner, None, log, None, None, None)
    known = known_point_hazard(place.env) if method.true_dynamics or method.true_danger else None
    scope = Scope() if overseer is None else scope_of(overseer)
    config = method.configure(fitting(scope, job.phases, place.label_keys))
    phases = Phases(
        guard,
        controller(learner),
        config,
        seed=job.seed,
        brake=place.brake,
        termination=place.goal,
        value=state_values(learner),
        known_dynamics=KnownDynamics(known[0], members=1) if known and method.true_dynamics else None,
        known_danger=KnownBlockers(known[1]) if known and method.true_danger else None,
        log=log,
        truth=truth,
    )
    if person is not None and overseer is not None:
        person.bind(overseer, lambda: {"phase": phases.phase.value, "counts": {"judged": phases.memory.judgements}})
    if job.judgements is not None:
        phases.memory.recall(recalled_from(job.judgements, place.env, place.name))
    moments = BlockSnapshots(seed=job.seed, picture=guard.render if guard.render_mode == "rgb_array" else None)

    late: list[str] = []
    """Retracted before the step that they judged brought its label."""

    def watch(step: Step) -> None:
        moments(step)
        if person is not None:  # before the step may end in a fit; a label that this step brings is there by the next
            for key in late:
                phases.memory.take_back(key)
            late[:] = [key for key in person.retractions() if not phases.memory.take_back(key)]
        before = phases.phase
        phases(step)
        if person is not None and phases.phase is not before:
            person.go_alone()
        if person is not None and phases.phase is Phase.AUTONOMY:
            person.show(_seen_after(step, guard))
            person.wait_while_paused()

    guard.observer = watch
    store = None if job.store is None else open_store(job.store, "--store")
    return GuardRun(job, place, guard, learner, phases, log, moments, overseer, store)


def _seen_after(step: Step, guard: Guard) -> Proposal:
    """What is to be seen after a step: where it led, and what was done."""
    return Proposal(step.next_state, step.decision.executed, step.info, guard.env, guard.moment, step.episode)


def fitting(scope: Scope, config: PhasesConfig, label_keys: tuple[int, ...] | None) -> PhasesConfig:
    """The configuration with what fits the overseer wherever nothing was chosen.

    A last-moment overseer judges whether the next state is a catastrophe: so do its blockers, by the parts of the state
    that catastrophes depend on, and what came to no harm needed no block. To any other, what came to no harm may still
    have been worth a block. Blockers judge what the overseer judges: the next state, or the present one.

    >>> fitting(Scope(last_moment=True), PhasesConfig(), (0, 1)).judges.label_keys
    (0, 1)
    >>> fitting(Scope(inputs="state"), PhasesConfig(), (0, 1)).judges.inputs
    'state'
    """
    judges, changes = config.judges, dict[str, Any]()
    if judges.inputs is None:
        changes["inputs"] = scope.inputs
    if judges.label_keys is None and scope.last_moment:
        changes["label_keys"] = label_keys
    grace = int(scope.last_moment) if config.grace is None else config.grace
    return dataclasses.replace(config, grace=grace, judges=dataclasses.replace(judges, **changes))
