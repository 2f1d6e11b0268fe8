"""heed front: a family of policies along preferences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed.cli.console import Bar, console, quiet_libraries
from heed.cli.settings import AlignCommand, out_folder, words
from heed.compare.front import FrontJob, run_front
from heed.compare.pool import Progress
from heed.report import write_report

FRONT = {"rewards": "gold", "advantage": "leave_one_out", "kl_beta": 0.005, "learning_rate": 3e-3}
"""Where a front's settings differ from an align run's: gold rewards, so that the method is seen without its judges'
errors, no critics, and a short leash of the reference."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train every point, print the volumes, report."""
    quiet_libraries()
    command = AlignCommand("front", "Train one policy per preference and judge the front.", changes=FRONT)
    command.add("--methods", type=words, default=["tchebycheff"], help="pgapo,linear,tchebycheff")
    command.add("--preferences", type=int, default=5, help="points of the simplex")
    command.add("--seeds", type=int, default=1, help="runs of each point")
    command.add("--workers", type=int, default=2, help="runs at once")
    parsed, settings, _ = command.settings(arguments)
    job = FrontJob(parsed.methods, parsed.preferences, parsed.seeds, parsed.workers, settings)
    out = Path(parsed.resume) if parsed.resume else out_folder(parsed.out, "front")
    with Bar("front") as bar:
        summary = run_front(job, out, progress(bar), resumed=parsed.resume is not None)
    for line in lines(summary):
        console.print(line)
    print(write_report(out))


def progress(bar: Bar) -> Any:
    """A callback that shows rounds over all runs."""

    def show(found: Progress) -> None:
        bar.show("rounds", found.steps, found.all_steps, f"{found.done}/{found.total} runs  {found.latest}")

    return show


def lines(summary: dict[str, Any]) -> list[str]:
    """The volumes and rank correlations as text, means over seeds."""
    found = []
    for method, rows in summary["methods"].items():
        pooled = ", ".join(f"{x:.3f}" for x in rows["pooled"])
        each = "; ".join(",".join(f"{x:.2f}" for x in seed) for seed in rows["follows"])
        found.append(f"{method}: rank correlation of value with preference {pooled} pooled; by seed {each}")
        for row in rows["volumes"]:
            shares = ", ".join(
                f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f}) {name.replace('_', ' ')}"
                for name, values in row.items()
                if name not in ("reference", "hull")
            )
            shape = "hull" if row["hull"] else "staircase"
            found.append(f"  reference {row['reference'] + 1}, {shape}: {shares}")
    return found
