"""A guarded run as one declares it: where, which learner, judged by whom, guarded how."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

import heed
from heed.errors import HeedError, RunFailed, Stopped
from heed.guard.agent import Learner, controller, state_values
from heed.guard.blockers import KnownBlockers
from heed.guard.decisions import DecisionLog, Step
from heed.guard.diagnostics import diagnosed
from heed.guard.dynamics import KnownDynamics
from heed.guard.environment import Surroundings, known_point_hazard, need_on_point_hazard, surroundings
from heed.guard.faults import StopsOnFaults, reason_of
from heed.guard.guard import Guard
from heed.guard.learners import imagining, learner_of
from heed.guard.methods import method_from_name
from heed.guard.moments import BlockedMoments
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.guard.recall import recalled_from
from heed.guard.settings import GuardJob, flat
from heed.guard.summary import evaluated, latest_return, summarise, told_of
from heed.oversight.browser import BrowserOverseer
from heed.oversight.guarded import guarded
from heed.oversight.judgements import Store, open_store
from heed.oversight.overseers import Moment
from heed.oversight.recorded import Recorded
from heed.oversight.specs import BROWSER, base_of, is_scripted, overseer_from_spec
from heed.runs.config import config_hash
from heed.runs.files import replacing
from heed.runs.folder import RunFolder

logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]
DECISIONS = "decisions.parquet"
LOGGED = 100
"""Steps between two lines of metrics."""
FIRST_WRITTEN, GROWTH = 200, 1.5
"""Steps after which all decisions are written for who looks at a run in progress, and how many times as many until they
are again: what that takes stays in proportion to the run."""
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
    moments: BlockedMoments | None
    overseer: Recorded | None
    store: Store | None


def prepare(job: GuardJob, person: BrowserOverseer | None = None) -> GuardRun:
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
        judge = person or guarded(overseer_from_spec(job.overseer, place.env), job.overseer_timeout)
        overseer = Recorded(judge, every=TOGETHER if person is None and is_scripted(job.overseer) else 1)
        overseer.reset(job.seed)
    env = StopsOnFaults(place.env, place.name)
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
    judged_by = job.overseer if person is None else BROWSER
    config = method.configure(fitting(judged_by, job.phases, place.label_keys))
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
        person.retract = overseer.retract
        person.about = lambda: {"phase": phases.phase.value, "counts": {"judged": phases.memory.judgements}}
    if job.judgements is not None:
        phases.memory.recall(recalled_from(job.judgements, place.env, place.name))
    moments = BlockedMoments(seed=job.seed, picture=guard.render if guard.render_mode == "rgb_array" else None)

    late: list[str] = []
    """Taken back before the step that they judged brought its label."""

    def watch(step: Step) -> None:
        moments(step)
        if person is not None:  # before the step may end in a fit; a label that this step brings is there by the next
            for key in late:
                phases.memory.take_back(key)
            late[:] = [key for key in person.taken_back() if not phases.memory.take_back(key)]
        before = phases.phase
        phases(step)
        if person is not None and phases.phase is not before:
            person.alone()
        if person is not None and phases.phase is Phase.AUTONOMY:
            person.glance(_seen_after(step, guard))
            person.rest()

    guard.observer = watch
    store = None if job.store is None else open_store(job.store, "--store")
    return GuardRun(job, place, guard, learner, phases, log, moments, overseer, store)


def _seen_after(step: Step, guard: Guard) -> Moment:
    """What is to be seen after a step: where it led, and what was done."""
    return Moment(step.next_state, step.decision.executed, step.info, guard.env, guard.moment, step.episode)


def fitting(overseer: str, config: PhasesConfig, label_keys: tuple[int, ...] | None) -> PhasesConfig:
    """The configuration with what fits the overseer wherever nothing was chosen.

    A last-moment overseer judges whether the next state is a catastrophe: so do its blockers, by the parts of the state
    that catastrophes depend on, and what came to no harm needed no block. A far-sighted one judges the next state by
    all of it, and one that follows a rule judges the present state; to both, what came to no harm may still have been
    worth a block. What noise is laid over its verdicts changes none of this.

    >>> fitting("local,miss=0.05", PhasesConfig(), (0, 1)).judges.label_keys
    (0, 1)
    >>> fitting("rule", PhasesConfig(), (0, 1)).judges.inputs
    'state'
    """
    base, judges = base_of(overseer), config.judges
    local = base == "local"
    changes: dict[str, Any] = {}
    if judges.inputs is None:
        changes["inputs"] = "state" if base == "rule" else "next_state"
    if judges.label_keys is None and local:
        changes["label_keys"] = label_keys
    grace = (1 if local else 0) if config.grace is None else config.grace
    return dataclasses.replace(config, grace=grace, judges=dataclasses.replace(judges, **changes))


class _Tell(BaseCallback):
    """Calls back after every step of the learner's loop; ends it where it would otherwise fill a rollout.

    Args:
        tell: called back.
        last: step after which an on-policy learner stops; None leaves that to the learner.
    """

    def __init__(self, tell: Callable[[], None], last: int | None) -> None:
        super().__init__()
        self.tell, self.last = tell, last

    def _on_step(self) -> bool:
        self.tell()
        return self.last is None or self.num_timesteps < self.last


class _DecisionsSoFar:
    """All decisions in a file for who looks at a run in progress; a run does without where it cannot be written.

    Args:
        log: every decision.
        path: of the file.
    """

    def __init__(self, log: DecisionLog, path: Path) -> None:
        self._log, self._path = log, path
        self._due, self._failed = float(FIRST_WRITTEN), False

    def keep_up(self) -> None:
        """Write them if that is due; that it failed is logged once, and the end of the run tells if it still does."""
        taken = len(self._log.rows)
        if taken < self._due:
            return
        self._due = GROWTH * taken
        try:
            self._log.write(self._path)
        except OSError as error:
            if not self._failed:
                logger.warning("%s cannot be written now: %s", self._path, error.strerror or error)
            self._failed = True


def train_guard(
    job: GuardJob, out: Path, on_step: OnStep | None = None, person: BrowserOverseer | None = None
) -> dict[str, Any]:
    """Train, judge with the guard on and off, and write the run folder.

    However it ends, the decisions, judgements, transitions, labels and the learner so far are in the folder; what the
    training came to is in the summary before the evaluation begins, though not as completed.

    Args:
        job: what to train.
        out: the run folder.
        on_step: called after every step with its number and what moves, and again after each of the evaluation's; may
            raise `Stopped`.
        person: at a page, in place of the job's overseer.

    Returns:
        The summary, also in ``summary.json``.

    Raises:
        HeedError: what no run can be begun with, or gone on with.
        RunFailed: the environment, the learner or the disk failed; names what did, and at which step.
        Stopped: as ``on_step`` asked.
    """
    torch.set_num_threads(1)  # small products: more threads only wait for each other
    run = prepare(job, person)
    began = time.perf_counter()
    with RunFolder.create(out, flat(job), kind="guard") as folder, _recorded(run, out) as name:

        def told() -> tuple[int, dict[str, float]]:
            recent = run.log.rows[-1000:]
            return len(run.log.rows), {
                "catastrophes": float(sum(row["catastrophe"] for row in recent)),
                "blocks": float(sum(row["decision"] == "block" for row in recent)),
                "goals": float(sum(row["goal"] for row in recent)),
            }

        def hear() -> None:
            if on_step is not None:
                on_step(*told())

        decisions = _DecisionsSoFar(run.log, out / DECISIONS)

        def tell() -> None:
            taken = len(run.log.rows)
            if taken % LOGGED == 0:
                folder.log(taken, told()[1] | {"return": latest_return(run.log.rows)})
            decisions.keep_up()
            hear()

        with _kept(run, out):
            last = job.steps if isinstance(run.learner, PPO) else None
            run.learner.learn(job.steps, callback=[_Tell(tell, last), *imagining(job, run.phases)])
        if run.phases is not None:
            folder.write_json("judges.json", diagnosed(run.phases), indent=1)
        summary = {"method": job.method, "seed": job.seed, "steps": job.steps, "run": name}
        summary |= summarise(run.log) | told_of(run.phases)
        summary |= {"faults": dict(run.guard.faults), "completed": False}
        summary |= {"version": heed.__version__, "config_hash": config_hash(flat(job))}
        folder.write_summary(summary | {"seconds": time.perf_counter() - began})  # before what may be stopped, or fail
        if job.evaluation_episodes:
            if run.overseer is not None:
                version = run.overseer.where()[1]
                run.overseer.where = lambda: ("evaluation", version)
            scripted = not run.phases or (person is None and is_scripted(job.overseer))
            summary |= evaluated(run.guard, run.learner, job.evaluation_episodes, scripted, hear)
        if run.overseer is not None:
            run.overseer.flush()
        summary |= {"seconds": time.perf_counter() - began, "completed": True}
        folder.write_summary(summary)
    return summary


@contextmanager
def _recorded(run: GuardRun, out: Path) -> Iterator[str]:
    """Within: what the overseer says is written down, under the run's id, which no other run has."""
    name, phases, overseer = f"{out.resolve().name}-{uuid.uuid4().hex[:8]}", run.phases, run.overseer
    if phases is None or overseer is None:
        yield name
        return

    def where() -> tuple[str, int]:
        return phases.phase.value, len(phases.reports) if phases.phase is Phase.AUTONOMY else 0

    with closing(run.store or open_store(str(out / "judgements.db"), "--out")) as store:
        overseer.begin(store, name, run.place.name, where)
        try:
            yield name
        finally:
            overseer.flush()


@contextmanager
def _kept(run: GuardRun, out: Path) -> Iterator[None]:
    """Within: however learning ends, what was gathered is written, and what stopped it is told in words."""
    so_far = f"what was gathered so far is in {out}"
    try:
        yield
    except Stopped:
        raise
    except HeedError as error:
        fix = f"{error.fix}; {so_far}" if error.fix else so_far
        raise HeedError(error.what, error.where, fix) from error
    except RunFailed as fault:
        raise RunFailed(f"{fault.reason}; {so_far}") from fault
    except Exception as problem:  # a learner or a library may raise anything
        raise RunFailed(f"step {len(run.log.rows)} failed: {reason_of(problem)}; {so_far}") from problem
    finally:
        _write(run, out)


def _write(run: GuardRun, out: Path) -> None:
    """Write what was gathered; what one file cannot take, the others still may."""
    try:
        with ExitStack() as each:
            if run.log.rows:
                each.callback(_save_learner, run.learner, out / "learner.zip")
                each.callback(run.log.write, out / DECISIONS)
            if run.phases is not None:
                each.callback(run.phases.memory.save, out)
            if run.moments is not None:
                each.callback(run.moments.save, out / "moments.npz")
    except OSError as error:
        raise RunFailed(f"{out} could not be written: {error.strerror or error}") from error


def _save_learner(learner: Learner, path: Path) -> None:
    """Write a learner in the format of Stable-Baselines3, whole or not at all."""
    with replacing(path) as file:
        learner.save(file)
