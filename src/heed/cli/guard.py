"""heed guard: train an agent that looks before it leaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed import report
from heed.cli.command import Command, out_folder
from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.errors import HeedError, Stopped
from heed.guard.run.config import GuardJob, job_of, settings_of
from heed.guard.run.methods import guarded
from heed.runs.config import read_yaml
from heed.runs.folder import CONFIG

if TYPE_CHECKING:
    from heed.guard.run.progress import OnStep
    from heed.oversight.overseers.human import HumanOverseer

QUICK = {
    "steps": 320, "oversight_steps": 200, "learning_starts": 80, "batch_size": 32, "hidden": 32, "members": 3,
    "dynamics_hidden": 32, "models.dynamics.updates": 100, "models.blockers.updates": 100, "eps": 0.3, "cap": 1.0,
    "gate": 1.0, "needless": 1.0, "horizon": 6, "particles": 1, "plan_samples": 16, "plan_iterations": 2,
    "range_margin": 0.0, "evaluation_episodes": 1,
}  # fmt: skip
"""What --quick changes: a run of seconds that touches everything, looks and plans as well, and shows nothing. In the
environment by default somebody far-sighted oversees: at the last moment there would be too few blocks to learn from."""


WORDS = {"guarded": "guard on", "unguarded": "guard off"}


def run(arguments: Sequence[str]) -> None:
    """Parse, train, report."""
    quiet_libraries()
    command = Command("guard", "Train an agent under a guard that looks before it leaps (MBHI).")
    command.add("config", nargs="?", help="a YAML file of settings; flags go over it")
    command.add("--resume", type=str, default=None, help="go on with the run in this folder from its last checkpoint")
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--quick", action="store_true", help="a few hundred steps, to see that everything works")
    parsed, asked = guard_settings(command, arguments)
    resumed = None if parsed["resume"] is None else Path(parsed["resume"])
    if resumed is not None and parsed["out"] is not None:
        raise HeedError("a run that goes on stays where it is", "--out", "give one of --out and --resume")
    quick = QUICK | ({} if "env" in asked else {"overseer": "far-sighted"}) if parsed["quick"] else {}
    with stopping_at_rounds() as wanted, Bar("guard") as bar:
        if resumed is None:
            job, out = job_of(quick, asked), out_folder(parsed["out"], "guard")
            summary = trained(job, out, bar, wanted)
        else:
            out = resumed
            summary = gone_on(out, bar, wanted, settings_of(quick) | asked)
    tell(summary, out)


def trained(
    job: GuardJob, out: Path, bar: Bar, wanted: Sequence[object], person: HumanOverseer | None = None
) -> dict[str, Any]:
    """The summary of a run that was trained with a bar that moves.

    Args:
        job: what to train.
        out: the run folder.
        bar: to be moved.
        wanted: not empty once the run is to stop.
        person: at a page, in place of the job's overseer.

    Raises:
        SystemExit: the run was stopped.
    """
    from heed.guard.run.train import train_guard  # once it is asked for, so that --help answers at once

    name = "guard" if person is None else "oversee"
    with _stopped_in_words(name, out):
        return train_guard(job, out, _shown(bar, name, job.steps, wanted), person)


def gone_on(
    out: Path, bar: Bar, wanted: Sequence[object], asked: Mapping[str, Any], person: HumanOverseer | None = None
) -> dict[str, Any]:
    """The summary of a run that was resumed with a bar that moves.

    Args:
        out: the run folder.
        bar: to be moved.
        wanted: not empty once the run is to stop.
        asked: settings that were asked for; they must be the run's own.
        person: at a page, in place of the run's overseer.

    Raises:
        SystemExit: the run was stopped.
    """
    from heed.guard.run.train import resume_guard

    config = read_yaml(out / CONFIG) if (out / CONFIG).is_file() else {}
    steps = int(config.get("steps", GuardJob.steps))
    name = "guard" if person is None else "oversee"
    with _stopped_in_words(name, out):
        return resume_guard(out, _shown(bar, name, steps, wanted), person, asked)


def _shown(bar: Bar, name: str, steps: int, wanted: Sequence[object]) -> OnStep:
    def show(step: int, metrics: dict[str, float]) -> None:
        if step % 20 == 0 or step == steps:
            shown = f"of the last 1000: {metrics['catastrophes']:.0f} catastrophes, {metrics['blocks']:.0f} blocks"
            bar.show(name, step, steps, shown)
        if wanted:
            raise Stopped

    return show


@contextmanager
def _stopped_in_words(name: str, out: Path) -> Iterator[None]:
    try:
        yield
    except Stopped:
        say(f"stopped; what was gathered and learnt so far is in {out}; go on with: heed {name} --resume {out}")
        raise SystemExit(130) from None


def tell(summary: dict[str, Any], out: Path) -> None:
    """Say what a run came to, and where its report is."""
    page = report.write_report(out)
    for line in lines(summary):
        say(line)
    print(page)


def guard_settings(command: Command, arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let a command take all settings of a guarded run, and read them: flags over a YAML file.

    Returns:
        The command's own options, and by their full names the settings that were asked for.

    Raises:
        HeedError: an unknown or ambiguous name, or a value of the wrong kind.
    """
    command.add_sections(GuardJob(), "What is trained, where, overseen by whom")
    asked = command.asked(arguments)
    options = vars(command.parser.get_defaults().as_flat()) | asked
    own = {name: value for name, value in options.items() if name not in command.known_settings}
    return own, {name: value for name, value in asked.items() if name in command.known_settings}


def lines(summary: dict[str, Any]) -> list[str]:
    """What a run came to, in words."""
    from heed.guard.run.causes import collapse, in_words

    catastrophes = summary["catastrophes"]
    text = [fell] if (fell := collapse(summary)) else []
    text += [
        f"{summary['env_steps']} steps: {catastrophes['oversight']} catastrophes in oversight, "
        f"{catastrophes['autonomy']} in {summary['autonomy_steps']} steps of autonomy; "
        f"{sum(summary['goals'].values())} goals; "
        f"{summary['interventions']} interventions, {summary['judgements']} judgements",
    ]
    if guarded(summary["method"]) and summary["handed_over_at"] is None:
        text.append("autonomy was never begun: allow more steps or a larger --eps, and see what the log says")
    if causes := summary.get("causes"):
        text.append(f"blocks in autonomy: {in_words(causes)}")
    if summary["false_blocks"] is not None:
        blocks = summary["interventions_autonomy"]
        missed = summary["missed_blocks"]
        early = summary["early_blocks"]
        text.append(
            f"in autonomy {summary['false_blocks']} of {blocks} blocks were needless, {early} of them more than a step "
            f"early; {missed} were missed"
        )
    text += [f"{count} times: {what}" for what, count in summary["faults"].items()]
    if summary["decision_ms"]["p50"] is not None:
        text.append(
            f"a decision takes {summary['decision_ms']['p50']:.1f} ms (99%: {summary['decision_ms']['p99']:.1f})"
        )
    if "evaluation_episodes" in summary:
        episodes = summary["evaluation_episodes"]
        words = {"unguarded": "no guard"} if summary["method"] == "none" else WORDS
        for kind, word in ((kind, word) for kind, word in words.items() if f"goals_{kind}" in summary):
            text.append(
                f"{word}: {summary[f'catastrophes_{kind}']:.0f} catastrophes and {summary[f'goals_{kind}']:.0f} "
                f"goals in {episodes} episodes, return {summary[f'return_{kind}']:.2f}"
            )
    return text
