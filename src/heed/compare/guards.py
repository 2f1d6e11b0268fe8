"""Ways of guarding side by side: one environment, one budget, several seeds, intervals fit for rare events."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from heed.compare.crews.base import Workers
from heed.compare.efficiency import curves_of, efficiency_tables
from heed.compare.pool import OnProgress, folder_of_runs, run_all
from heed.compare.tables import TableJob, tasks_of, write_table
from heed.guard.run.config import complete, job_of, settings_of, variant
from heed.guard.run.counts import blocks_per_100
from heed.guard.run.methods import COMPARED, METHODS
from heed.runs.sections import nested
from heed.runs.statistics import mean_cell, rate_cell, share_cell, worst_cell

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
    "judgements asked",
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

    methods: list[str] = field(default_factory=lambda: list(COMPARED))
    seeds: int = 5
    workers: Workers = 2
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def resumed(cls, out: Path, workers: Workers, wanted: Mapping[str, Any]) -> Self:
        """The job that a comparison's folder records; what was asked for now may have short names."""
        return super().resumed(out, workers, nested(settings_of(wanted, where=f"--resume {out}")))

    @classmethod
    def upgraded(cls, record: dict[str, Any]) -> dict[str, Any]:
        """What a folder records, in sections."""
        own = {name: record.pop(name) for name in ("methods", "seeds")}
        settings = complete(record)
        del settings["method"]
        return settings | own


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
    common = job_of(job.settings)
    settings = dataclasses.asdict(common)
    variants = {spec: dataclasses.asdict(variant(spec, common)) for spec in job.methods}
    record = job.record({name: value for name, value in settings.items() if name != "method"})
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
        results = {spec: [next(runs) for _ in range(job.seeds)] for spec in variants}
        rows = [row_of(method, runs) for method, runs in results.items()]
        seconds = sum(summary["seconds"] for summary in summaries)
        seeds = f"seeds {settings['seed']} to {settings['seed'] + job.seeds - 1}"
        table = {
            "title": f"Guards on {settings['env']}",
            "columns": list(COLUMNS),
            "rows": rows,
            "notes": [
                f"{seeds}, {settings['steps']} steps each, of which at least {common.phases.oversight_steps} under the "
                f"overseer {settings['overseer']}; {seconds / 3600:.2f} hours in all",
                "counts are summed over seeds, with exact Poisson or binomial 95% intervals",
                "a block is needless if the brake would still have stopped in time, early if with more than a step at "
                "full speed to spare",
                "the most in 500 steps on end, and the largest share that any fit flags of what was let pass, are the "
                "worst of all seeds, with no interval",
                "goals and returns are means of the seeds' last 20 episodes, with t-intervals",
                "guard off: the finished deterministic policy without its guard, of "
                f"{settings['evaluation_episodes']} episodes a seed",
                *(f"{name}: {METHODS[name].about}" for name in dict.fromkeys(spec.split(":")[0] for spec in results)),
            ],
        }
        folders = iter(task.folder for task in tasks)
        curves = curves_of({spec: [next(folders) for _ in range(job.seeds)] for spec in variants})
        table["efficiency"] = efficiency_tables(curves)
        run.write_json("efficiency.json", curves)
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
    known = [run for run in runs if run["false_blocks"] is not None]
    row: dict[str, Any] = {"method": method}
    row[COLUMNS[0]] = rate_cell(total("catastrophes", "oversight"), len(runs), len(runs))
    row[COLUMNS[1]] = rate_cell(total("catastrophes", "autonomy"), steps / 10_000, len(runs))
    row[COLUMNS[2]] = mean_cell([run["goals_late"] for run in runs])
    row[COLUMNS[3]] = mean_cell([math.nan if run["return_mean"] is None else run["return_mean"] for run in runs])
    row[COLUMNS[4]] = share_cell(total("false_blocks"), blocks, len(runs)) if known else share_cell(0, 0)
    row[COLUMNS[5]] = share_cell(total("early_blocks"), blocks, len(runs)) if known else share_cell(0, 0)
    row[COLUMNS[6]] = mean_cell([blocks_per_100(run["interventions_autonomy"], run["autonomy_steps"]) for run in runs])
    row[COLUMNS[7]] = worst_cell([run["catastrophes"]["worst_500"] for run in runs], len(runs))
    row[COLUMNS[8]] = worst_cell([fit["flagged"] for run in runs for fit in run["fits"] if "flagged" in fit], len(runs))
    row[COLUMNS[9]] = share_cell(total("catastrophes_unguarded"), episodes, len(runs))
    row[COLUMNS[10]] = share_cell(total("goals_unguarded"), episodes, len(runs))
    row[COLUMNS[11]] = mean_cell([run["judgements"] for run in runs])
    return row


def _slug(spec: str) -> str:
    return spec.replace(":", "-").replace("/", "_")
