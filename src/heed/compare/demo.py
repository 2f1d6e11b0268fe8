"""The demonstration: one policy balanced between two objectives, one trained on a single objective, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import heed
from heed.align.job import defaults, train
from heed.align.preparation import OnStage, Preparation, prepare
from heed.compare.pool import Task, folder_of_runs, is_finished, recorded, summary_of, trainer_of
from heed.report import write_report

STEPS, SEED = 70, 0
"""Of a demonstration that is told nothing else."""

OnRound = Callable[[str, int, int, dict[str, float]], None]


def run_demo(
    out: Path,
    steps: int | None = None,
    seed: int | None = None,
    on_stage: OnStage | None = None,
    on_round: OnRound | None = None,
    resumed: bool = False,
) -> dict[str, Any]:
    """From nothing to a report: warm start, judges learnt from comparisons, GAPO beside one objective alone.

    Args:
        out: the run folder; the runs lie in ``gapo`` and ``help-only``.
        steps: rounds of each run; by default `STEPS`, or those of the demonstration that is gone on with.
        seed: of both runs; by default `SEED`, or likewise.
        on_stage: follows the making of the world.
        on_round: called with the run's label, the round, all rounds and the metrics; may raise `Stopped`.
        resumed: go on with what ``out`` holds.

    Returns:
        The summary; ``completed`` and each run's objectives.

    Raises:
        HeedError: ``out`` holds no demonstration to go on with, or one of other steps or another seed.
    """
    asked = {name: value for name, value in (("steps", steps), ("seed", seed)) if value is not None}
    if resumed:
        settings = recorded(out, "demo", asked)
    else:
        settings = defaults("apothecary", "paper") | {"world": "apothecary", "steps": STEPS, "seed": SEED} | asked
    rounds = settings["steps"]
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "GAPO, p = 1": ("gapo", {"method": "gapo", "p": 1.0}),
        "PPO on help alone": ("help-only", {"method": "single:help"}),
    }
    began = time.perf_counter()
    with folder_of_runs(out, settings, "demo", resumed) as run:
        prepared = prepare(Preparation(seed=settings["world_seed"]), judges=True, on_stage=on_stage)
        summaries: dict[str, Any] = {}
        for label, (folder, changes) in variants.items():
            task = Task(label, settings | changes, out / folder)

            def follow(step: int, metrics: dict[str, float], label: str = label) -> None:
                if on_round is not None:
                    on_round(label, step, rounds, metrics)

            summaries[label] = summary_of(task) if is_finished(task) else train(trainer_of(task), follow)
        siblings = [{"label": label, "path": f"../{folder}"} for label, (folder, _) in variants.items()]
        for i, (folder, _) in enumerate(variants.values()):
            others = [s for j, s in enumerate(siblings) if j != i]
            run.write_json(f"{folder}/siblings.json", others)
            write_report(out / folder)
        demo = {
            "runs": [{"label": label, "path": folder} for label, (folder, _) in variants.items()],
            "headline": headline(summaries),
            "judges": prepared.accuracy,
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
            "runs": {label: found["objectives"] for label, found in summaries.items()},
        }
        run.write_summary(summary)
        write_report(out)
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
