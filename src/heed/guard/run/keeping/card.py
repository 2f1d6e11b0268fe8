"""The card of a saved guard: what it guards, was taught and promises, what was measured of it, and its limits."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import heed
from heed.guard.phases import Phases
from heed.guard.run.build import GuardRun
from heed.runs.files import write_whole
from heed.runs.statistics import poisson_bounds

CARD = "README.md"
LIMITS = (
    "The promise is about blocks like those that were held out: of the same overseer, in the states that the run met. "
    "What the overseer lets pass, the guard lets pass as well.",
    "It is an average over runs, not about this one: the bound with 95% confidence is the number to plan with, and "
    "the members of the ensemble together were not measured by it (`heed bench coverage` counts).",
    "Blocks depend on each other within an episode, so that the true uncertainty is larger than the figures say.",
    "Where the learnt dynamics are wrong about a state that they believe to know, a danger may not be foreseen. States "
    "beyond the range that was seen are judged by the most alarmed blocker; far beyond it all is dangerous.",
    "It needs the environment's observation to be the whole state, in the units that it was trained with.",
    "Decisions are the same to the last bit only with the same version of torch on the same kind of processor.",
)
USE = """```python
from heed.guard import Guard

guard = Guard.load(FOLDER, env)  # the environment, as it was trained in
action = guard.policy.predict(observation)
observation, reward, terminated, truncated, info = guard.step(action)  # info["guard"] says what was decided
```"""


def write_card(folder: Path, run: GuardRun, summary: Mapping[str, Any]) -> None:
    """Write the card of a run's guard into the folder that the guard was saved in.

    Args:
        folder: of the guard.
        run: that taught it.
        summary: of the run, as far as it is known.

    Raises:
        OSError: the disk refuses.
    """
    write_whole(folder / CARD, card(run, summary))


def card(run: GuardRun, summary: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    job, place, phases = run.job, run.place, run.phases
    assert isinstance(phases, Phases)
    late = phases.models.late
    parts = [
        f"# A guard for {place.name}",
        _paragraph(place.about, f"Made by `heed guard`, method {job.method}, mode {job.mode}, seed {job.seed}."),
        "## What it guards",
        _table(
            {
                "environment": f"{place.name} {json.dumps(job.env_kwargs) if job.env_kwargs else ''}",
                "observations": str(run.guard.observation_space),
                "actions": str(run.guard.action_space),
                "overseer": "" if run.overseer is None else run.overseer.name,
                "learner": f"{type(run.learner).__name__}, {run.learner.num_timesteps} steps",
                "looks ahead": f"{phases.planning.steps(late)} steps, blocks when {phases.planning.rule(late)}",
                "plans with": phases.planning.planner,
            }
        ),
        "## What it was taught",
        _table(_taught(phases, summary)),
        "## What it promises",
        _promise(phases),
        "## What was measured",
        _table(_measured(summary)),
        "## Known limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## Use it",
        USE,
        "## Versions",
        _table(
            {"heed": heed.__version__, "torch": torch.__version__, "numpy": np.__version__}
            | {"gymnasium": gym.__version__, "python": platform.python_version()}
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _taught(phases: Phases, summary: Mapping[str, Any]) -> dict[str, Any]:
    labels = phases.labels.labels()
    return {
        "judgements": phases.labels.judgements,
        "labels": f"{len(labels.blocked)}, of which {int(labels.blocked.sum())} say block",
        "catastrophes among them": int(labels.catastrophes.sum()),
        "autonomy": f"from step {phases.handed_over_at} of {summary['env_steps']}",
        "fits": len(phases.reports),
        "oversight began again": phases.handed_back or "",
        "agreement with the overseer since": phases.agreement,
    }


def _promise(phases: Phases) -> str:
    if phases.models.known_danger is not None:
        return "Nothing: what is dangerous was known, not learnt."
    return f"By the last fit: {phases.reports[-1].in_force}."


def _measured(summary: Mapping[str, Any]) -> dict[str, Any]:
    steps, happened = summary["autonomy_steps"], summary["catastrophes"]
    rows: dict[str, Any] = {"catastrophes in oversight": happened["oversight"]}
    if steps:
        low, high = (1e4 * bound / steps for bound in poisson_bounds(happened["autonomy"]))
        rows["catastrophes in autonomy"] = (
            f"{happened['autonomy']} in {steps} steps: between {low:.3g} and {high:.3g} in 10,000 (95%)"
        )
    if summary["missed_blocks"] is not None:
        rows["missed blocks in autonomy, by the oracle"] = summary["missed_blocks"]
        rows["needless blocks in autonomy, by the oracle"] = (
            f"{summary['false_blocks']} of {summary['interventions_autonomy']}, {summary['early_blocks']} of them early"
        )
    for kind in ("guarded", "unguarded"):
        if f"return_{kind}" in summary:
            rows[f"evaluation, {kind}"] = (
                f"{summary[f'catastrophes_{kind}']:.0f} catastrophes in {summary['evaluation_episodes']} episodes, "
                f"return {summary[f'return_{kind}']:.2f}"
            )
    took = summary["decision_ms"]
    if took["p50"] is not None:
        rows["a decision takes"] = f"{took['p50']:.1f} ms (99%: {took['p99']:.1f})"
    if summary["faults"]:
        rows["faults"] = "; ".join(f"{count} times: {what}" for what, count in summary["faults"].items())
    return rows


def _table(rows: Mapping[str, Any]) -> str:
    lines = [
        f"| {name} | {str(value).strip().replace('|', '/')} |" for name, value in rows.items() if str(value).strip()
    ]
    return "\n".join(["| | |", "|---|---|", *lines])


def _paragraph(*sentences: str) -> str:
    return " ".join(sentence.strip() for sentence in sentences if sentence.strip())
