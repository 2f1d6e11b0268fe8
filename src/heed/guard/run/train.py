"""A guarded run as one declares it: where, which learner, judged by whom, guarded how."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO

import heed
from heed.errors import HeedError, RunFailed, Stopped
from heed.guard.learners.sb3 import Learner
from heed.guard.phases import Phase, Phases
from heed.guard.run.build import GuardRun, build
from heed.guard.run.config import GuardJob, complete, job_of
from heed.guard.run.diagnostics import diagnosed
from heed.guard.run.env_checks import reason_of
from heed.guard.run.keeping.card import write_card
from heed.guard.run.keeping.resumption import Checkpointing, name_in
from heed.guard.run.methods import method_from_name
from heed.guard.run.progress import OnStep, Progress
from heed.guard.run.summary import evaluated, report_of_phases, summarise
from heed.oversight.overseers.base import scope_of
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.store.store import open_store
from heed.runs.config import config_hash, refuse_other_settings
from heed.runs.files import replacing
from heed.runs.folder import RunFolder

logger = logging.getLogger(__name__)


DECISIONS, GUARD = "decisions.parquet", "guard"


def train_guard(
    job: GuardJob, out: Path, on_step: OnStep | None = None, person: HumanOverseer | None = None
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
    run = build(job, person)
    with RunFolder.create(out, job, kind="guard") as folder:
        return _trained(run, folder, on_step, None)


def resume_guard(
    out: Path,
    on_step: OnStep | None = None,
    person: HumanOverseer | None = None,
    wanted: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Go on with a run from its newest checkpoint; with a scripted overseer as if it had never been interrupted.

    What was written after the checkpoint is written again: the same, where the overseer is a script. Its judgements
    that are in the store already are not given twice.

    Args:
        out: the run folder.
        on_step: see `train_guard`.
        person: see `train_guard`; their judgements after the checkpoint stay in the store.
        wanted: settings that were asked for, by full name; they must be the run's own.

    Returns:
        The summary, also in ``summary.json``.

    Raises:
        HeedError: no guarded run or no checkpoint there, one that is finished, other settings than the run's, or an
            environment that does not come back to where it stood.
        RunFailed: as `train_guard`.
        Stopped: as ``on_step`` asked.
    """
    torch.set_num_threads(1)
    where = f"--resume {out}"
    with RunFolder.open(out) as folder:
        if folder.kind != "guard":
            raise HeedError(f"this is a run of kind {folder.kind}", where, "give one of kind guard")
        refuse_other_settings(complete(folder.config), wanted or {}, where)
        if folder.read_summary().get("completed"):
            raise HeedError("this run is finished", where, "start another, with more --steps")
        job = job_of(folder.config, where=where)
        if method_from_name(job.method).brings is not None:
            raise HeedError(f"a run of {job.method} is not gone on with", where, "start the run anew")
        checkpoint = folder.latest_checkpoint()
        if checkpoint is None:
            raise HeedError("there is no checkpoint to go on from", where, "start the run anew")
        run = build(job, person)
        return _trained(run, folder, on_step, checkpoint)


def _trained(run: GuardRun, folder: RunFolder, on_step: OnStep | None, checkpoint: Path | None) -> dict[str, Any]:
    job, out = run.job, folder.path
    name = f"{out.resolve().name}-{uuid.uuid4().hex[:8]}" if checkpoint is None else name_in(checkpoint)
    on_policy = isinstance(run.learner, PPO)
    with _recorded(run, out, name):
        last = job.steps if on_policy else None
        progress = Progress(run.log, folder, out / DECISIONS, on_step, last, waits=not on_policy)
        keeping = Checkpointing(run, folder, name, progress)
        callbacks = [progress, *run.callbacks, keeping]
        if checkpoint is not None:
            keeping.restore(checkpoint)
        left = job.steps - run.learner.num_timesteps
        with _kept(run, out):
            run.learner.learn(left, callback=callbacks, reset_num_timesteps=checkpoint is None)
        if isinstance(run.phases, Phases):
            folder.write_json("judges.json", diagnosed(run.phases), indent=1)
        summary = {"method": job.method, "seed": job.seed, "steps": job.steps, "run": name}
        summary |= summarise(run.log) | report_of_phases(run.phases)
        summary |= {"faults": dict(run.guard.faults), "completed": False}
        summary |= {"version": heed.__version__, "config_hash": config_hash(job)}
        folder.write_summary(summary | {"seconds": keeping.seconds})  # before what may be stopped, or fail
        _carded(run, out, summary)
        if job.evaluation_episodes:
            scripted = run.overseer is None or scope_of(run.overseer).scripted
            with nullcontext() if run.overseer is None else run.overseer.during("evaluation"):
                summary |= evaluated(run.guard, run.learner, job.evaluation_episodes, scripted, progress.report)
        if run.overseer is not None:
            run.overseer.flush()
        summary |= {"seconds": keeping.seconds, "completed": True}
        _carded(run, out, summary)
        folder.write_summary(summary)
    return summary


@contextmanager
def _recorded(run: GuardRun, out: Path, name: str) -> Iterator[None]:
    """Within: what the overseer says is written down, under the run's id, which no other run has."""
    phases, overseer = run.phases, run.overseer
    if phases is None or overseer is None:
        yield
        return

    def where() -> tuple[str, int]:
        return phases.phase.value, len(phases.reports) if phases.phase is Phase.AUTONOMY else 0

    with closing(run.store or open_store(str(out / "judgements.db"), "--out")) as store:
        overseer.begin(store, name, run.place.name, where, given=0)
        try:
            yield
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
                each.callback(run.phases.labels.save, out)
            if looks_ahead(run):
                each.callback(run.guard.save, out / GUARD)
            if run.snapshots is not None:
                each.callback(run.snapshots.save, out / "moments.npz")
    except OSError as error:
        raise RunFailed(f"{out} could not be written: {error.strerror or error}") from error


def looks_ahead(run: GuardRun) -> bool:
    """Whether the guard of a run has come to look ahead, so that it can be saved."""
    return isinstance(run.phases, Phases) and run.phases.phase is Phase.AUTONOMY


def _carded(run: GuardRun, out: Path, summary: Mapping[str, Any]) -> None:
    """Lay a card beside a guard that was saved."""
    if looks_ahead(run):
        try:
            write_card(out / GUARD, run, summary)
        except OSError as error:
            raise RunFailed(f"{out / GUARD} could not be written: {error.strerror or error}") from error


def _save_learner(learner: Learner, path: Path) -> None:
    """Write a learner in the format of Stable-Baselines3, whole or not at all."""
    with replacing(path) as file:
        learner.save(file)
