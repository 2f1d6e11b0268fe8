"""Methods side by side on a model, prompts and judges of one's own, where nothing is known exactly.

What a run came to is told by its own judges and by held-out ones, on the evaluation's prompts: the change from before
the first update, prompt by prompt, over all seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.spec import parse_objective
from heed.compare.crews.base import Workers
from heed.compare.pool import OnProgress, run_all
from heed.compare.tasks import Task
from heed.errors import HeedError
from heed.runs.statistics import crossed_cell, mean_cell

KINDS = ("rewards", "held_out")
"""Columns of an evaluation's completions: the judges that were trained by, and those that were not."""

WORDS = "words"
"""Beside these columns: how many words a completion has."""


def names_of(settings: Mapping[str, Any]) -> list[str]:
    """Names of the objectives that the settings declare.

    Raises:
        HeedError: one that cannot be had, or no prompts to evaluate on.
    """
    if not settings["eval_prompts"]:
        raise HeedError("nothing is evaluated, so nothing can be compared", "--eval-prompts", "give at least 1")
    names = list(ObjectiveSet([parse_objective(text) for text in settings["objectives"]]).names)
    for name in (WORDS, "kl"):
        if name in names:
            raise HeedError(f"{name!r} is a column of the table", "--objectives", "call the objective something else")
    return names


def compare_own(
    tasks: Sequence[Task],
    methods: Sequence[str],
    names: Sequence[str],
    workers: Workers,
    on_progress: OnProgress | None = None,
) -> tuple[dict[str, Any], float]:
    """Make the runs, and a table of what they came to.

    Args:
        tasks: method by method, as many seeds of each.
        methods: in their order.
        names: of the objectives.
        workers: runs at once.
        on_progress: follows them; may raise `Stopped`.

    Returns:
        The table, and the seconds of all runs.
    """
    summaries = run_all(list(tasks), workers, on_progress)
    seeds = len(tasks) // len(methods)
    held_out = list(summaries[0]["held_out"])
    columns = {name: f"rewards/{name}" for name in names} | {
        f"{name} (held out)": f"held_out/{name}" for name in held_out
    }
    columns["words"] = WORDS
    rows = []
    for number, method in enumerate(methods):
        part = slice(number * seeds, (number + 1) * seeds)
        changes = [change(task.folder, int(task.settings["eval_completions"])) for task in tasks[part]]
        row: dict[str, Any] = {"method": method}
        row |= {column: crossed_cell([found[name] for found in changes]) for column, name in columns.items()}
        row["kl"] = mean_cell([float(summary["kl"]) for summary in summaries[part]])
        rows.append(row)
    seconds = sum(summary["seconds"] for summary in summaries)
    notes = [
        "changes from before the first update on the same prompts, in each judge's own units; 95% t-intervals over "
        "seeds and prompts; words a completion; kl in nats a token of the last round",
        f"{seeds} seeds, {summaries[0]['steps']} rounds, {seconds / 3600:.2f} hours of training in all",
        f"never trained on: {', '.join(held_out)}" if held_out else "no judge was held out (--held-out-judges)",
    ]
    title = "Balancing " + " and ".join(names)
    return {"title": title, "columns": [*columns, "kl"], "rows": rows, "notes": notes}, seconds


def change(folder: Path, completions: int) -> dict[str, Any]:
    """What each judge, and the number of words, changed by for each prompt of a finished run's evaluations.

    Args:
        folder: of the run.
        completions: of each prompt in an evaluation.

    Returns:
        By column of the completions' files, and `WORDS`: [prompts]; of several completions of a prompt their mean.
    """
    files = (folder / "completions" / f"{name}.parquet" for name in ("before", "after"))
    before, after = (by_prompt(file, completions) for file in files)
    return {name: after[name] - before[name] for name in after}


def by_prompt(file: Path, completions: int) -> dict[str, Any]:
    """The judges' values of an evaluation, and the number of words, mean over each prompt's completions, [prompts].

    A prompt's completions stand together. By its text it is not known: conversations may end alike.
    """
    table = pq.read_table(file)
    values = {
        name: np.asarray(table[name].to_pylist(), dtype=float)
        for name in table.column_names
        if name.partition("/")[0] in KINDS
    }
    values[WORDS] = np.array([len(said.split()) for said in table["completion"].to_pylist()], dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a prompt of which nothing was scored is NaN
        return {name: np.nanmean(column.reshape(-1, completions), axis=1) for name, column in values.items()}
