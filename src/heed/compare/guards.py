"""Ways of guarding side by side: one environment, one budget, several seeds, intervals fit for rare events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy import stats

from heed.compare.pool import OnProgress, folder_of_runs, run_all
from heed.compare.tables import TableJob, interval, tasks_of, write_table
from heed.guard.run.config import flat, job_of, variant
from heed.guard.run.methods import METHODS
from heed.report.guard.decisions import poisson_bounds

COLUMNS = (
    "catastrophes in oversight",
    "catastrophes per 10,000 steps alone",
    "goals per episode, late",
    "return, late",
    "needless share of blocks",
    "blocks more than a step early",
    "blocks per 100 steps",
    "most catastrophes in 500 steps alone",
    "most flagged of what was let pass",
    "catastrophes, guard off",
    "goals, guard off",
)


@dataclass
class GuardsJob(TableJob):
    """What `heed compare guard` runs.

    Args:
        methods: names of `heed.guard.run.methods`, each with changes of its own settings if any,
            NAME:key=value:key=value.
        seeds: runs of each; their seeds count up from the settings' seed.
        workers: runs at once.
        settings: everything else, as `heed guard` takes it.
    """

    methods: list[str] = field(default_factory=lambda: list(METHODS))
    seeds: int = 5
    workers: int = 2
    settings: dict[str, Any] = field(default_factory=dict)


def poisson_interval(events: int, exposure: float, runs: int = 1) -> dict[str, Any]:
    """A rate with its exact 95% Poisson interval (Garwood 1936).

    Args:
        events: counted.
        exposure: over how much.
        runs: in how many runs.

    >>> poisson_interval(0, 1.0)["high"], poisson_interval(4, 2.0)["mean"]
    (3.689, 2.0)
    """
    if exposure <= 0:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    low, high = poisson_bounds(events)
    return {
        "mean": events / exposure,
        "low": round(float(low / exposure), 3),
        "high": round(float(high / exposure), 3),
        "n": runs,
    }


def share_interval(hits: int, of: int, runs: int = 1) -> dict[str, Any]:
    """A share with its exact 95% binomial interval (Clopper & Pearson 1934).

    >>> share_interval(0, 10)["high"], share_interval(5, 10)["mean"]
    (0.308, 0.5)
    """
    if of == 0:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    found = stats.binomtest(hits, of).proportion_ci(0.95, method="exact")
    return {"mean": hits / of, "low": round(float(found.low), 3), "high": round(float(found.high), 3), "n": runs}


def compare_guards(
    job: GuardsJob, out: Path, on_progress: OnProgress | None = None, resumed: bool = False
) -> dict[str, Any]:
    """Run the table.

    Args:
        job: what to run.
        out: the run folder; each run lies below ``runs/``.
        on_progress: follows the runs; may raise `Stopped`.
        resumed: go on with what ``out`` holds.

    Returns:
        The content of ``compare.json``.
    """
    settings = flat(job_of(job.settings))
    variants = {spec: variant(spec, settings) for spec in job.methods}
    record = job.record(settings)
    del record["method"]
    with folder_of_runs(out, record, "compare", resumed) as run:
        tasks = tasks_of(variants, job.seeds_from(settings["seed"]), out, _slug, "guard")
        summaries = run_all(tasks, job.workers, on_progress)
        for task in tasks:  # so that each run's page can draw the others of its seed
            same = [other for other in tasks if other.settings["seed"] == task.settings["seed"] and other is not task]
            siblings = [
                {"label": other.label.rpartition(" seed ")[0], "path": f"../{other.folder.name}"} for other in same
            ]
            run.write_json(f"runs/{task.folder.name}/siblings.json", siblings)
        runs = iter(summaries)
        found = {spec: [next(runs) for _ in range(job.seeds)] for spec in variants}
        rows = [row_of(method, runs) for method, runs in found.items()]
        seconds = sum(summary["seconds"] for summary in summaries)
        seeds = f"seeds {settings['seed']} to {settings['seed'] + job.seeds - 1}"
        table = {
            "title": f"Guards on {settings['env']}",
            "columns": list(COLUMNS),
            "rows": rows,
            "notes": [
                f"{seeds}, {settings['steps']} steps each, of which at least {settings['oversight_steps']} under the "
                f"overseer {settings['overseer']}; {seconds / 3600:.2f} hours in all",
                "counts are summed over seeds, with exact Poisson or binomial 95% intervals",
                "a block is needless if the brake would still have stopped in time, early if with more than a step at "
                "full speed to spare",
                "the most in 500 steps on end, and the largest share that any fit flags of what was let pass, are the "
                "worst of all seeds, with no interval",
                "goals and returns are means of the seeds' last 20 episodes, with t-intervals",
                "guard off: the finished deterministic policy without its guard, of "
                f"{settings['evaluation_episodes']} episodes a seed",
                *(f"{name}: {METHODS[name].about}" for name in dict.fromkeys(spec.split(":")[0] for spec in found)),
            ],
        }
        write_table(run, record, table, seconds)
    return table


def row_of(method: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One method's row from its runs' summaries."""

    def total(*path: str) -> int:
        values = []
        for run in runs:
            value: Any = run
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            values.append(0 if value is None else value)
        return int(sum(values))

    steps, blocks = total("autonomy_steps"), total("interventions_autonomy")
    episodes = sum(run["evaluation_episodes"] for run in runs if "goals_unguarded" in run)
    told = [run for run in runs if run["false_blocks"] is not None]
    row: dict[str, Any] = {"method": method}
    row[COLUMNS[0]] = poisson_interval(total("catastrophes", "oversight"), len(runs), len(runs))
    row[COLUMNS[1]] = poisson_interval(total("catastrophes", "autonomy"), steps / 10_000, len(runs))
    row[COLUMNS[2]] = interval([run["goals_late"] for run in runs])
    row[COLUMNS[3]] = interval([math.nan if run["return_mean"] is None else run["return_mean"] for run in runs])
    row[COLUMNS[4]] = share_interval(total("false_blocks"), blocks, len(runs)) if told else share_interval(0, 0)
    row[COLUMNS[5]] = share_interval(total("early_blocks"), blocks, len(runs)) if told else share_interval(0, 0)
    row[COLUMNS[6]] = interval([100 * run["interventions_autonomy"] / max(1, run["autonomy_steps"]) for run in runs])
    row[COLUMNS[7]] = _most([run["catastrophes"]["worst_500"] for run in runs], len(runs))
    row[COLUMNS[8]] = _most([fit["flagged"] for run in runs for fit in run["fits"] if "flagged" in fit], len(runs))
    row[COLUMNS[9]] = share_interval(total("catastrophes_unguarded"), episodes, len(runs))
    row[COLUMNS[10]] = share_interval(total("goals_unguarded"), episodes, len(runs))
    return row


def _most(values: Sequence[float], runs: int) -> dict[str, Any]:
    """The worst of several, which has no interval."""
    worst = max(values, default=math.nan)
    return {"mean": worst, "low": worst, "high": worst, "n": runs}


def _slug(spec: str) -> str:
    return spec.replace(":", "-").replace("/", "_")
