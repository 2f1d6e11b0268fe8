"""The demonstration: a policy balanced between two objectives beside one trained on one, and a guarded agent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import heed
from heed import report
from heed.align.run.job import defaults
from heed.compare.demo_guard import GUARD_STEPS, WORKERS, run_guard_half
from heed.compare.pool import OnProgress, folder_of_runs, recorded, run_all
from heed.compare.tasks import Task

if TYPE_CHECKING:
    from heed.align.run.apothecary import SetupProgress

STEPS, SEED = 70, 0
"""Defaults of a demonstration."""


def run_demo(
    out: Path,
    steps: int | None = None,
    seed: int | None = None,
    on_stage: SetupProgress | None = None,
    on_progress: OnProgress | None = None,
    resumed: bool = False,
    guard_steps: int | None = None,
) -> dict[str, Any]:
    """Make the demonstration: GAPO beside one objective alone, then a guarded agent beside an unguarded one.

    The warm start and the reward models of the language model are made on the way.

    Args:
        out: the run folder; the runs lie in ``gapo``, ``help-only`` and below ``guard``.
        steps: rounds of each of the two runs that align; by default `STEPS`, or those of the demonstration that is gone
            on with.
        seed: of all runs; by default `SEED`, or likewise.
        on_stage: follows the setup of the world.
        on_progress: follows the runs of either half, two at once; may raise `Stopped`.
        resumed: go on with what ``out`` holds.
        guard_steps: of each run of the second half; by default `GUARD_STEPS`, or likewise; 0 leaves it out.

    Returns:
        The summary; ``completed``, each run's objectives, and ``guard``, one sentence.

    Raises:
        HeedError: ``out`` holds no demonstration to go on with, or one of other steps or another seed.
    """
    from heed.align.run.apothecary import ApothecarySetup, prepare  # what trains is for those who make one

    given = {"steps": steps, "seed": seed, "guard_steps": guard_steps}
    asked = {name: value for name, value in given.items() if value is not None}
    if resumed:
        settings = recorded(out, "demo", asked)
    else:
        own = {"world": "apothecary", "steps": STEPS, "seed": SEED, "guard_steps": GUARD_STEPS}
        settings = defaults("apothecary", "paper") | own | asked
    record = settings
    settings = {name: value for name, value in record.items() if name != "guard_steps"}
    rounds = settings["steps"]
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "GAPO, p = 1": ("gapo", {"method": "gapo", "p": 1.0}),
        "PPO on help alone": ("help-only", {"method": "single:help"}),
    }
    began = time.perf_counter()
    with folder_of_runs(out, record, "demo", resumed) as run:
        prepared = prepare(ApothecarySetup(seed=settings["world_seed"]), judges=True, on_stage=on_stage)
        tasks = [Task(label, settings | changes, out / folder) for label, (folder, changes) in variants.items()]
        summaries = dict(zip(variants, run_all(tasks, WORKERS, on_progress), strict=True))
        siblings = [{"label": label, "path": f"../{folder}"} for label, (folder, _) in variants.items()]
        for i, (folder, _) in enumerate(variants.values()):
            others = [s for j, s in enumerate(siblings) if j != i]
            run.write_json(f"{folder}/siblings.json", others)
            report.write_report(out / folder)
        guard = (
            run_guard_half(run, record["guard_steps"], settings["seed"], on_progress) if record["guard_steps"] else None
        )
        demo = {
            "runs": [{"label": label, "path": folder} for label, (folder, _) in variants.items()],
            "headline": headline(summaries),
            "judges": prepared.accuracy,
            "guard": guard,
        }
        run.write_json("demo.json", demo, indent=1)
        summary = {
            "kind": "demo",
            "method": "gapo",
            "seed": settings["seed"],
            "steps": rounds,
            "seconds": time.perf_counter() - began,
            "version": heed.__version__,
            "completed": True,
            "judges": prepared.accuracy,
            "runs": {label: summary["objectives"] for label, summary in summaries.items()},
            "guard": None if guard is None else guard["headline"],
        }
        run.write_summary(summary)
        report.write_report(out)
    return summary


def headline(summaries: dict[str, Any]) -> str:
    """One sentence on what the two runs did to the exact values."""
    parts = []
    for label, summary in summaries.items():
        moves = [
            f"{name} {values['start']:.1f} to {values['gold']:.1f}" for name, values in summary["objectives"].items()
        ]
        parts.append(f"{label}: {', '.join(moves)}")
    return "; ".join(parts) + " (exact values, which no policy was trained on)"
