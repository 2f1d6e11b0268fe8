"""heed demo: from nothing to a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.cli.settings import Command, out_folder
from heed.compare.demo import run_demo
from heed.errors import Stopped


def run(arguments: Sequence[str]) -> None:
    """Parse, run, point to the page."""
    quiet_libraries()
    command = Command("demo", "A small language model learns to help AND to do no harm, judged by an exact answer.")
    command.add("--steps", type=int, default=70, help="rounds of each of the two runs")
    command.add("--seed", type=int, default=0, help="of both runs")
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--resume", type=str, default=None, help="a demonstration to go on with")
    command.add("--quick", action="store_true", help="a few rounds, to see that everything works")
    parsed = command.parse(arguments)
    out = Path(parsed.resume) if parsed.resume else out_folder(parsed.out, "demo")
    with stopping_at_rounds() as wanted, Bar("demo") as bar:

        def follow(label: str, step: int, steps: int, metrics: dict[str, float]) -> None:
            gold = [f"{n.split('/')[1]} {v:.2f}" for n, v in metrics.items() if n.startswith("gold/")]
            bar.show(label, step, steps, "exact " + ", ".join(gold))
            if wanted:
                raise Stopped

        steps = 3 if parsed.quick else parsed.steps
        try:
            summary = run_demo(out, steps, parsed.seed, bar.show, follow, resumed=parsed.resume is not None)
        except Stopped:
            say(f"stopped; go on with: heed demo --resume {out}")
            raise SystemExit(130) from None
    judged = ", ".join(f"{name} {share:.0%}" for name, share in summary["judges"].items())
    say(f"judges agree with held-out comparisons: {judged}")
    for label, objectives in summary["runs"].items():
        moves = ", ".join(f"{n} {v['start']:.2f} -> {v['gold']:.2f}" for n, v in objectives.items())
        say(f"{label}: {moves} (exact values)")
    say(f"{summary['seconds']:.0f} seconds; the report:")
    print(out / "report.html")
