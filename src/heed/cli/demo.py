"""heed demo: from nothing to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heed.cli.command import Command, out_folder
from heed.cli.compare import following
from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.compare.demo import SEED, STEPS, run_demo
from heed.compare.demo_guard import GUARD_RUNS, GUARD_STEPS
from heed.compare.pool import Progress
from heed.compare.tables import format_table
from heed.errors import HeedError, Stopped, flag_of

QUICK, QUICK_GUARD = 3, 400
"""Rounds and steps of --quick."""
OF_WORLDS = ("steps", "guard_steps")
"""Flags of the demonstration on worlds alone."""


def run(arguments: Sequence[str]) -> None:
    """Parse, run, point to the page."""
    quiet_libraries()
    command = Command("demo", "Both halves: a language model that helps AND does no harm, an agent that looks first.")
    command.add("--steps", type=int, default=STEPS, help="rounds of each of the two aligned policies")
    command.add("--guard-steps", type=int, default=GUARD_STEPS, help="steps of each agent; 0 leaves them out")
    command.add("--seed", type=int, default=SEED, help="of all runs")
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--resume", type=str, default=None, help="a demonstration to go on with")
    command.add("--quick", action="store_true", help="a few rounds, to see that everything works")
    command.add("--real", action="store_true", help="a real model and people's judgements in place of the worlds")
    command.add("--size", type=str, default=None, help="of --real: cpu (a night on 2 cores), gpu (minutes), quick")
    command.add("--model", type=str, default=None, help="of --real: a folder or hub id (default: SmolLM2, by a wheel)")
    command.add("--data", type=str, default=None, help="of --real: a folder with judgements and prompts of your own")
    asked = {name: value for name, value in vars(command.parse(arguments, defaults=False)).items() if value is not None}
    if asked.get("real"):
        _real(asked)
        return
    for name in ("size", "model", "data"):
        if name in asked:
            raise HeedError("the worlds bring their own", flag_of(name), "leave it out, or give --real")
    resumed = "resume" in asked
    if resumed and "out" in asked:
        raise HeedError("a demonstration that goes on stays where it is", "--out", "give one of --out and --resume")
    steps = asked.get("steps", QUICK if asked.get("quick") else None)
    guard_steps = asked.get("guard_steps", QUICK_GUARD if asked.get("quick") else None)
    out = Path(asked["resume"]) if resumed else out_folder(asked.get("out"), "demo")
    with stopping_at_rounds() as wanted, Bar("demo") as bar:

        def prepare(stage: str, done: int, total: int) -> None:
            bar.show(stage, done, total)
            if wanted:
                raise Stopped

        def watch(progress: Progress) -> None:
            gold = [f"{n.split('/')[1]} {v:.2f}" for n, v in progress.metrics.items() if n.startswith("gold/")]
            stage = "agents" if progress.latest in GUARD_RUNS else "policies"
            told = f"{progress.latest}: exact {', '.join(gold)}" if gold else progress.latest
            bar.show(stage, progress.steps, progress.all_steps, told)
            if wanted:
                raise Stopped

        try:
            summary = run_demo(out, steps, asked.get("seed"), prepare, watch, resumed, guard_steps)
        except Stopped:
            say(f"stopped; go on with: heed demo --resume {out}" if out.exists() else "stopped; no round was made")
            raise SystemExit(130) from None
    judged = ", ".join(f"{name} {share:.0%}" for name, share in summary["judges"].items())
    say(f"judges agree with held-out comparisons: {judged}")
    for label, objectives in summary["runs"].items():
        moves = ", ".join(f"{n} {v['start']:.2f} -> {v['gold']:.2f}" for n, v in objectives.items())
        say(f"{label}: {moves} (exact values)")
    if summary["guard"] is not None:
        say(summary["guard"])
    say(f"{summary['seconds']:.0f} seconds; the report:")
    print(out / "report.html")


def _real(asked: Mapping[str, Any]) -> None:
    """Run what was asked for, print the table and where its page is.

    Args:
        asked: the flags that were given, by name.
    """
    from heed.compare.real.experiment import run_real  # what reads judgements is for those who want it

    for name in OF_WORLDS:
        if name in asked:
            raise HeedError(
                "a real model's numbers are those of its size", flag_of(name), "leave it out, or give --size"
            )
    if "quick" in asked and "size" in asked:
        raise HeedError("the size is given twice", "--quick, --size", "give one of them")
    resumed = "resume" in asked
    if resumed and "out" in asked:
        raise HeedError("a demonstration that goes on stays where it is", "--out", "give one of --out and --resume")
    size = "quick" if "quick" in asked else asked.get("size")
    out = Path(asked["resume"]) if resumed else out_folder(asked.get("out"), "demo-real")
    given = (size, asked.get("model"), asked.get("data"), asked.get("seed"))
    with following("demo --real", out) as (show, prepare):
        real = run_real(out, *given, prepare, show, resumed)
    for name, told in real["judges"].items():
        share, longer = f"{told['share']:.0%}", f"{told['longer']:.0%}"
        say(f"judge {name}: agrees with {share} of {told['of']} comparisons, length with {longer}")
    print(format_table(real["table"]))
    print(out / "report.html")
