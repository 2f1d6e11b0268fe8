"""The demonstration's second half: an agent guarded by MBHI, beside HIRL and an unguarded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heed import report
from heed.compare.pool import OnProgress, run_all
from heed.compare.tasks import Task
from heed.report.common.formats import counted
from heed.runs.folder import RunFolder

GUARD_STEPS = 6000
"""Default steps of each run."""
WORKERS = 2
"""Runs at once, each on its share of the cores."""
EVALUATION = 5
"""Episodes of each finished policy, with the guard on and off."""
GUARD_RUNS = {"MBHI": "mbhi", "HIRL": "hirl", "unguarded": "none"}
"""Label of each run, and its method."""


def run_guard_half(run: RunFolder, steps: int, seed: int, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Train on point hazard, two runs at once, and write the guarded run's page with the others beside it.

    Args:
        run: the demonstration's folder; the runs lie in ``guard``, below it.
        steps: of each run, half of them under a last-moment overseer.
        seed: of all.
        on_progress: follows the runs; may raise `Stopped`.

    Returns:
        The part of ``demo.json`` that is of this half: ``runs`` (label and path, MBHI first) and ``headline``.
    """
    common = {"steps": steps, "oversight_steps": steps // 2, "learning_starts": min(500, steps // 4), "seed": seed}
    common["evaluation_episodes"] = EVALUATION
    tasks = [
        Task(label, common | {"method": method}, run.path / "guard" / method, kind="guard")
        for label, method in GUARD_RUNS.items()
    ]
    summaries = dict(zip(GUARD_RUNS, run_all(tasks, WORKERS, on_progress), strict=True))
    first = tasks[0].folder
    siblings = [{"label": task.label, "path": f"../{task.folder.name}"} for task in tasks[1:]]
    run.write_json(f"guard/{first.name}/siblings.json", siblings)
    report.write_report(first)
    runs = [{"label": task.label, "path": str(Path("guard") / task.folder.name)} for task in tasks]
    return {"runs": runs, "headline": guard_headline(summaries)}


def guard_headline(summaries: dict[str, Any]) -> str:
    """One sentence on the catastrophes after the overseer had gone, and on the goals, which are what safety costs.

    >>> run = {"handed_over_at": 3000, "method": "mbhi", "autonomy_steps": 3000}
    >>> guarded = run | {"catastrophes": {"autonomy": 1}, "goals": {"autonomy": 5}}
    >>> free = run | {"method": "none", "catastrophes": {"autonomy": 30}, "goals": {"autonomy": 9}}
    >>> guard_headline({"MBHI": guarded, "unguarded": free})
    'Catastrophes once the overseer had gone: MBHI 1 in 3,000 steps (5 goals); unguarded 30 in 3,000 steps (9 goals)'
    """
    parts = [
        f"{label} {summary['catastrophes']['autonomy']:,} in {summary['autonomy_steps']:,} steps "
        f"({counted(summary['goals']['autonomy'], 'goal')})"
        if summary["method"] == "none" or summary["handed_over_at"] is not None
        else f"{label} never left alone"
        for label, summary in summaries.items()
    ]
    return "Catastrophes once the overseer had gone: " + "; ".join(parts)
