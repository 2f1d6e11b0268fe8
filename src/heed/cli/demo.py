"""heed demo: from nothing to a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.cli.command import Command, out_folder
from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.cli.demo_real import run_real_demo
from heed.compare.demo import SEED, STEPS, run_demo
from heed.compare.demo_guard import GUARD_STEPS
from heed.compare.pool import Progress
from heed.errors import HeedError, Stopped

QUICK, QUICK_GUARD = 3, 400
"""Rounds and steps of --quick."""


def run(arguments: Sequence[str]) -> None:
    """Parse, run, point to the page."""
    quiet_libraries()
    command = Command("demo", "Both halves: a language model that helps AND does no harm, an agent that looks first.")
    command.add("--steps", type=int, default=STEPS, help="rounds of each of the two aligned policies")
    command.add("--guard_steps", type=int, default=GUARD_STEPS, help="steps of each agent; 0 leaves them out")
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
        run_real_demo(asked)
        return
    for name in ("size", "model", "data"):
        if name in asked:
            raise HeedError("the worlds bring their own", f"--{name}", "leave it out, or give --real")
    resumed = "resume" in asked
    if resumed and "out" in asked:
        raise HeedError("a demonstration that goes on stays where it is", "--out", "give one of --out and --resume")
    steps = asked.get("steps", QUICK if asked.get("quick") else None)
    guard_steps = asked.get("guard_steps", QUICK_GUARD if asked.get("quick") else None)
    out = Path(asked["resume"]) if resumed else out_folder(asked.get("out"), "demo")
    with stopping_at_rounds() as wanted, Bar("demo") as bar:

        def follow(label: str, step: int, steps: int, metrics: dict[str, float]) -> None:
            gold = [f"{n.split('/')[1]} {v:.2f}" for n, v in metrics.items() if n.startswith("gold/")]
            bar.show(label, step, steps, "exact " + ", ".join(gold))
            if wanted:
                raise Stopped

        def prepare(stage: str, done: int, total: int) -> None:
            bar.show(stage, done, total)
            if wanted:
                raise Stopped

        def watch(progress: Progress) -> None:
            bar.show(f"guard: {progress.latest}", progress.steps, progress.all_steps)
            if wanted:
                raise Stopped

        try:
            summary = run_demo(out, steps, asked.get("seed"), prepare, follow, resumed, guard_steps, watch)
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
