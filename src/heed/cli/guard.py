"""heed guard: train an agent that looks before it leaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.cli.settings import Command, out_folder
from heed.errors import HeedError, Stopped
from heed.guard.job import GuardJob, train_guard
from heed.guard.judges import JudgesConfig
from heed.guard.phases import PhasesConfig
from heed.runs.config import read_yaml

GROUPS: dict[str, tuple[type, set[str]]] = {
    "Environment, overseer and learner": (GuardJob, {"phases"}),
    "Phases, look and plan": (PhasesConfig, {"judges"}),
    "Learnt judges": (JudgesConfig, {"dynamics", "blockers"}),
}
QUICK = {"steps": 600, "oversight_steps": 300, "learning_starts": 100, "evaluation_episodes": 2, "eps": 0.3}
"""What --quick changes: a run of seconds that touches everything and shows nothing."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train, tell."""
    quiet_libraries()
    command = Command("guard", "Train an agent under a guard that looks before it leaps (MBHI).")
    command.add("config", nargs="?", help="a YAML file of settings; flags go over it")
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--quick", action="store_true", help="a few hundred steps, to see that everything works")
    for title, (kind, left_out) in GROUPS.items():
        command.parser.add_argument_group(title).add_class_arguments(kind, as_group=False, skip=left_out)
    parsed = vars(command.parse(arguments))
    given = vars(command.parse(arguments, defaults=False))
    asked = {k: v for k, v in given.items() if v is not None and k not in ("config", "out", "quick")}
    if parsed["config"] is not None:
        asked = read_yaml(Path(parsed["config"])) | asked
    job = job_of((QUICK if parsed["quick"] else {}) | asked)
    out = out_folder(parsed["out"], "guard")
    with stopping_at_rounds() as wanted, Bar("guard") as bar:

        def show(step: int, metrics: dict[str, float]) -> None:
            if step % 20 == 0 or step == job.steps:
                told = f"of the last 1000: {metrics['catastrophes']:.0f} catastrophes, {metrics['blocks']:.0f} blocks"
                bar.show("guard", step, job.steps, told)
            if wanted:
                raise Stopped

        try:
            summary = train_guard(job, out, show)
        except Stopped:
            say(f"stopped; the decisions so far are in {out / 'decisions.parquet'}")
            raise SystemExit(130) from None
    for line in lines(summary):
        say(line)
    print(out)


def job_of(settings: dict[str, Any]) -> GuardJob:
    """A job from flat settings.

    Raises:
        HeedError: an unknown setting.

    >>> job_of({"horizon": 5, "eps": 0.1, "steps": 100}).phases.judges.eps
    0.1
    """
    parts: dict[type, dict[str, Any]] = {}
    left = dict(settings)
    for kind, left_out in GROUPS.values():
        names = {field.name for field in dataclasses.fields(kind)} - left_out
        parts[kind] = {name: left.pop(name) for name in sorted(names & set(left))}
    if left:
        raise HeedError(f"no setting is called '{next(iter(left))}'", "config", "see heed guard --help")
    judges = JudgesConfig(**parts[JudgesConfig])
    return GuardJob(**parts[GuardJob], phases=PhasesConfig(**parts[PhasesConfig], judges=judges))


def lines(summary: dict[str, Any]) -> list[str]:
    """What a run came to, in words."""
    struck = summary["catastrophes"]
    found = [
        f"{summary['env_steps']} steps: {struck['oversight']} catastrophes in oversight, {struck['autonomy']} in "
        f"{summary['autonomy_steps']} steps of autonomy; {sum(summary['goals'].values())} goals; "
        f"{summary['interventions']} interventions, {summary['judgements']} judgements",
    ]
    if summary["method"] != "none" and summary["handed_over_at"] is None:
        found.append("autonomy was never begun: allow more steps or a larger --eps, and see what the log says")
    if summary["false_blocks"] is not None:
        blocks = summary["interventions_autonomy"]
        missed = summary["missed_blocks"]
        found.append(f"in autonomy {summary['false_blocks']} of {blocks} blocks were needless; {missed} were missed")
    if summary["decision_ms"]["p50"] is not None:
        found.append(
            f"a decision takes {summary['decision_ms']['p50']:.1f} ms (99%: {summary['decision_ms']['p99']:.1f})"
        )
    if "evaluation_episodes" in summary:
        episodes = summary["evaluation_episodes"]
        for kind, word in (("guarded", "on"), ("unguarded", "off")):
            found.append(
                f"guard {word}: {summary[f'catastrophes_{kind}']:.0f} catastrophes and {summary[f'goals_{kind}']:.0f} "
                f"goals in {episodes} episodes, return {summary[f'return_{kind}']:.2f}"
            )
    return found
