"""A guarded run as one declares it: where, which learner, judged by whom, guarded how."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

import heed
from heed.errors import HeedError
from heed.guard.agent import Learner, controller, learner_class, state_values
from heed.guard.blockers import KnownBlockers
from heed.guard.decisions import DecisionLog, Step
from heed.guard.dynamics import KnownDynamics
from heed.guard.environment import Surroundings, known_point_hazard, needless_on_point_hazard, surroundings
from heed.guard.guard import Guard
from heed.guard.methods import method_from_name
from heed.guard.phases import Phases, PhasesConfig
from heed.guard.settings import GuardJob, flat
from heed.guard.summary import evaluated, summarise, told_of
from heed.oversight.guarded import guarded
from heed.oversight.specs import overseer_from_spec
from heed.runs.config import config_hash
from heed.runs.folder import RunFolder

OnStep = Callable[[int, dict[str, float]], None]


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
    """

    job: GuardJob
    place: Surroundings
    guard: Guard
    learner: Learner
    phases: Phases | None
    log: DecisionLog


def prepare(job: GuardJob) -> GuardRun:
    """The environment, the guard and the learner of a job.

    Raises:
        HeedError: whatever no run can be begun with.
    """
    if job.steps < 1:
        raise HeedError(f"{job.steps} steps are none", "--steps", "give at least 1")
    method = method_from_name(job.method)
    set_random_seed(job.seed)
    place = surroundings(job.env, job.env_kwargs, job.catastrophe)
    overseer = guarded(overseer_from_spec(job.overseer, place.env), job.overseer_timeout)
    overseer.reset(job.seed)
    guard = Guard(place.env, overseer if method.guarded else None, safe_action=place.safe_action)
    kind = learner_class(job.learner, place.env.action_space)
    learner = kind(
        "MlpPolicy",
        guard,
        learning_rate=job.learning_rate,
        learning_starts=job.learning_starts,
        batch_size=job.batch_size,
        gamma=job.gamma,
        policy_kwargs={"net_arch": [job.hidden, job.hidden]},
        seed=job.seed,
        device="cpu",
    )
    learner.learns_from, learner.block_penalty = job.learns_from, job.block_penalty
    log, needless = DecisionLog(), needless_on_point_hazard(place.env)

    def truth(step: Step) -> dict[str, Any]:
        found: dict[str, Any] = {"goal": bool(step.info.get("goal", False))}
        if needless is not None and step.proposed is not None:
            found["needless"], found["needed"] = needless(step.state, step.decision.proposed)
        return found

    if not method.guarded:
        guard.mode = "off"

        def note(step: Step) -> None:
            phase = "oversight" if len(log.rows) < job.phases.oversight_steps else "autonomy"
            at = (len(log.rows), guard.episode, phase)
            log.add(step.decision, *at, step.reward, step.catastrophe, **truth(step))

        guard.observer = note
        return GuardRun(job, place, guard, learner, None, log)
    known = known_point_hazard(place.env) if method.true_dynamics or method.true_danger else None
    config = method.configure(fitting(job.overseer, job.phases, place.label_keys))
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
    return GuardRun(job, place, guard, learner, phases, log)


def fitting(overseer: str, config: PhasesConfig, label_keys: tuple[int, ...] | None) -> PhasesConfig:
    """The configuration with what fits the overseer wherever nothing was chosen.

    A last-moment overseer judges whether the next state is a catastrophe: so do its blockers, by the parts of the state
    that catastrophes depend on, and what came to no harm needed no block. A far-sighted one judges the next state by
    all of it, and one that follows a rule judges the present state; to both, what came to no harm may still have been
    worth a block.

    >>> fitting("local", PhasesConfig(), (0, 1)).judges.label_keys, fitting("rule", PhasesConfig(), None).judges.inputs
    ((0, 1), 'state')
    """
    local, judges = overseer == "local", config.judges
    changes: dict[str, Any] = {}
    if judges.inputs is None:
        changes["inputs"] = "state" if overseer == "rule" else "next_state"
    if judges.label_keys is None and local:
        changes["label_keys"] = label_keys
    grace = (1 if local else 0) if config.grace is None else config.grace
    return dataclasses.replace(config, grace=grace, judges=dataclasses.replace(judges, **changes))


class _Tell(BaseCallback):
    """Calls back after every step of the learner's loop."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self.tell = tell

    def _on_step(self) -> bool:
        self.tell()
        return True


def train_guard(job: GuardJob, out: Path, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train, judge with the guard on and off, and write the run folder.

    Args:
        job: what to train.
        out: the run folder.
        on_step: called after every step with its number and what moves; may raise `Stopped`.

    Returns:
        The summary, also in ``summary.json``.
    """
    torch.set_num_threads(1)  # small products: more threads only wait for each other
    run = prepare(job)
    began = time.perf_counter()
    with RunFolder.create(out, flat(job), kind="guard") as folder:

        def tell() -> None:
            rows = run.log.rows
            recent = rows[-1000:]
            metrics = {
                "catastrophes": float(sum(row["catastrophe"] for row in recent)),
                "blocks": float(sum(row["decision"] == "block" for row in recent)),
                "goals": float(sum(row["goal"] for row in recent)),
            }
            if len(rows) % 1000 == 0:
                folder.log(len(rows), metrics)
            if on_step is not None:
                on_step(len(rows), metrics)

        try:
            run.learner.learn(job.steps, callback=_Tell(tell))
        finally:
            if run.log.rows:
                run.log.write(out / "decisions.parquet")
        run.learner.save(out / "learner.zip")
        if run.phases is not None:
            run.phases.memory.save(out)
        summary = {"method": job.method, "seed": job.seed, "steps": job.steps}
        summary |= summarise(run.log) | told_of(run.phases)
        summary["faults"] = dict(run.guard.faults)
        if job.evaluation_episodes:
            summary |= evaluated(run.guard, run.learner, job.evaluation_episodes)
        summary |= {
            "seconds": time.perf_counter() - began,
            "version": heed.__version__,
            "config_hash": config_hash(flat(job)),
            "completed": True,
        }
        folder.write_summary(summary)
    return summary
