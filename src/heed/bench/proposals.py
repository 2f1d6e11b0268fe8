"""What a finished guard says of a frozen policy's proposals, against the exact set of doomed states.

Runs differ in what their learners propose, so that a guard which is asked less looks better. Here all are asked the
same: what one unguarded policy, trained once, proposed with its exploration.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import heed
from heed.bench.options import ProposalsBench
from heed.errors import HeedError
from heed.guard.actions import state_vector
from heed.guard.guard import Guard
from heed.guard.models import Labels, Transitions
from heed.guard.phases import Phases
from heed.guard.run.build import build
from heed.guard.run.config import GuardJob, job_of
from heed.runs.files import replacing
from heed.runs.folder import RunFolder
from heed.runs.statistics import share_cell
from heed.worlds import oracle_of

Stage = Literal["train", "propose", "judge"]
Tell = Callable[[Stage, int, int], None]
"""Follows the work: which stage, done, all."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals of a policy, and what follows them.

    Args:
        states: in which they were made, [N, S].
        actions: as the environment takes them, [N, A], or choices [N].
        doomed: whether the true next state is a catastrophe, or one from which none can be helped any more, [N].
        too_late: whether the state before was doomed already, so that no block would have helped, [N].
    """

    states: NDArray[Any]
    actions: NDArray[Any]
    doomed: NDArray[np.bool_]
    too_late: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.states)


def run_proposals_bench(bench: ProposalsBench, tell: Tell | None = None) -> dict[str, Any]:
    """Ask a finished run's guard about each of the proposals, each by itself: nothing is executed or remembered.

    Args:
        bench: what.
        tell: follows the work.

    Returns:
        What ``heed bench proposals --json`` prints: "version", "run", "method", "proposals", and of doomed proposals
        ("doomed"), of those in time to be helped ("avoidable") and of safe ones ("safe") how many there are (``n``) and
        how many were let pass ("let_pass") or blocked ("blocked"), with exact binomial 95% intervals of that share
        ("mean", "low", "high").

    Raises:
        HeedError: numbers below 1, no finished run, one that never took over, a world whose doomed states are not
            known, or kept proposals that are of another kind.
    """
    if min(bench.proposals, bench.policy_steps) < 1:
        raise HeedError(f"{bench}", "heed bench proposals", "give numbers of at least 1")
    tell = tell or (lambda _stage, _done, _all: None)
    job = _finished(Path(bench.run))
    guard = rebuilt(Path(bench.run), job)
    proposals = frozen_proposals(job, bench, tell)
    blocked = judged(guard, proposals, tell)
    doomed, avoidable = proposals.doomed, proposals.doomed & ~proposals.too_late

    def share(which: NDArray[np.bool_], counted: NDArray[np.bool_], name: str) -> dict[str, Any]:
        hits, of = int((which & counted).sum()), int(which.sum())
        cell = share_cell(hits, of)
        return {"n": of, name: hits} | {key: cell[key] for key in ("mean", "low", "high")}

    return {
        "version": heed.__version__,
        "run": bench.run,
        "method": job.method,
        "proposals": len(proposals),
        "doomed": share(doomed, ~blocked, "let_pass"),
        "avoidable": share(avoidable, ~blocked, "let_pass"),
        "safe": share(~doomed, blocked, "blocked"),
    }


def proposals_table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    >>> some = {"n": 200, "let_pass": 3, "mean": 0.015, "low": 0.003, "high": 0.043}
    >>> safe = {"n": 9800, "blocked": 98, "mean": 0.01, "low": 0.008, "high": 0.012}
    >>> told = {"method": "mbhi", "proposals": 10000, "doomed": some, "avoidable": some, "safe": safe}
    >>> print(proposals_table(told))
    | mbhi, 10,000 proposals | of | wrongly judged | share (95%) |
    |---|---|---|---|
    | doomed, let pass | 200 | 3 | 1.50% (0.30% to 4.30%) |
    | of them not too late, let pass | 200 | 3 | 1.50% (0.30% to 4.30%) |
    | safe, blocked | 9,800 | 98 | 1.00% (0.80% to 1.20%) |
    """
    rows = (
        ("doomed, let pass", result["doomed"], "let_pass"),
        ("of them not too late, let pass", result["avoidable"], "let_pass"),
        ("safe, blocked", result["safe"], "blocked"),
    )
    lines = [
        f"| {result['method']}, {result['proposals']:,} proposals | of | wrongly judged | share (95%) |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {found['n']:,} | {found[count]:,} | "
        + (f"{found['mean']:.2%} ({found['low']:.2%} to {found['high']:.2%}) |" if found["n"] else "– |")
        for name, found, count in rows
    ]
    return "\n".join(lines)


def frozen_proposals(job: GuardJob, bench: ProposalsBench, tell: Tell) -> Proposals:
    """Proposals of an unguarded policy in a job's environment, made or read again.

    The policy is trained as ``heed guard --method none`` trains it, and goes on unguarded, exploring and learning
    nothing.
    """
    asked = {"env": job.env, "env_kwargs": job.env_kwargs, "proposals": bench.proposals}
    asked |= {"policy_steps": bench.policy_steps, "seed": bench.seed}
    file = Path(bench.frozen) if bench.frozen else None
    if file is not None and file.exists():
        return _read(file, asked)
    settings = GuardJob(method="none", steps=bench.policy_steps, seed=bench.seed)
    run = build(replace(settings, env=job.env, env_kwargs=job.env_kwargs, catastrophe=job.catastrophe))
    known, space = oracle_of(run.guard), run.guard.observation_space
    if known is None or known.dynamics is None or known.is_doomed is None:
        raise HeedError(
            f"the doomed states of {job.env} are not known",
            f"--run {bench.run}",
            "give a run in a world whose oracle has dynamics and is_doomed, such as heed/PointHazard-v0",
        )

    def follow(*_: Any) -> bool:
        tell("train", len(run.log.rows), bench.policy_steps)
        return True

    run.learner.learn(bench.policy_steps, callback=follow)
    states, actions = [], []
    observation, _ = run.guard.reset(seed=bench.seed)
    for step in range(bench.proposals):
        action, _ = run.learner.predict(observation, deterministic=False)
        states.append(state_vector(observation, space))
        actions.append(action)
        observation, _, terminated, truncated, _ = run.guard.step(run.guard.situation.actions.action(action))
        if terminated or truncated:
            observation, _ = run.guard.reset()
        tell("propose", step + 1, bench.proposals)
    before, proposed = np.stack(states), np.stack(actions)
    after = known.dynamics(before, proposed)[0]
    proposals = Proposals(before, proposed, np.asarray(known.is_doomed(after)), np.asarray(known.is_doomed(before)))
    if file is not None:
        with replacing(file) as opened:
            np.savez(opened, asked=json.dumps(asked), **vars(proposals))
    return proposals


def rebuilt(folder: Path, job: GuardJob) -> Guard:
    """The guard of a finished run: its models fitted to all that the run has seen, over the policy that it trained."""
    run = build(job)
    run.learner.set_parameters(str(folder / "learner.zip"))
    if not isinstance(run.phases, Phases):
        raise HeedError(f"{job.method} has no guard", f"--run {folder}", "give a guarded run")
    with np.load(folder / "labels.npz") as stored:
        run.phases.labels.add_stored(Labels(**{name: torch.from_numpy(stored[name]) for name in stored}))
    run.phases.labels.transitions = Transitions.load(folder / "transitions.npz")
    run.phases.refit()
    if run.guard.faults:
        raise HeedError(f"the models cannot be fitted again: {next(iter(run.guard.faults))}", f"--run {folder}")
    run.guard.observers.clear()
    run.guard.intervention = run.guard.intervention.alone
    return run.guard


def judged(guard: Guard, proposals: Proposals, tell: Tell) -> NDArray[np.bool_]:
    """Which proposals a guard blocks, each as the first of an episode, [N]."""
    situation, blocked = guard.situations[0], np.zeros(len(proposals), np.bool_)
    for index, (state, action) in enumerate(zip(proposals.states, proposals.actions, strict=True)):
        situation.begin(state, {})
        decision = guard.intervention.decide(situation, situation.actions.action(action))
        blocked[index] = decision.decision == "block"
        tell("judge", index + 1, len(proposals))
    return blocked


def _finished(folder: Path) -> GuardJob:
    """The job of a finished guarded run."""
    run, where = RunFolder.open(folder, writable=False), f"--run {folder}"
    if run.kind != "guard":
        raise HeedError(f"this is a run of kind {run.kind}", where, "give one of heed guard")
    summary = run.read_summary()
    if not summary.get("completed"):
        raise HeedError("this run is not finished", where, "give a finished one")
    if summary["handed_over_at"] is None:
        raise HeedError("this run's guard never took over", where, "give a run that came to autonomy")
    return job_of(run.config, where=where)


def _read(file: Path, asked: dict[str, Any]) -> Proposals:
    with np.load(file) as stored:
        if json.loads(str(stored["asked"])) != asked:
            raise HeedError(f"these proposals were made by {stored['asked']}", f"--frozen {file}", "name another file")
        return Proposals(**{name: stored[name] for name in Proposals.__dataclass_fields__})
