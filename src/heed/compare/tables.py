"""What tables of several methods and seeds have in common: the job, the runs, the files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import heed
from heed.compare.crews.base import Workers
from heed.compare.pool import recorded
from heed.compare.tasks import Task
from heed.errors import HeedError
from heed.runs.config import config_hash
from heed.runs.files import write_whole
from heed.runs.folder import RunFolder


@dataclass
class TableJob:
    """Several methods under one budget, each with several seeds.

    Args:
        methods: names of rows.
        seeds: runs of each; their seeds count up from the settings' seed.
        workers: runs at once.
        settings: everything else, as each run takes it.
    """

    methods: list[str]
    seeds: int
    workers: Workers
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        """Join a method with settings, or parts of one, that a list with commas took apart: gapo:p=2 and floor=0.1."""
        joined: list[str] = []
        for spec in self.methods:
            apart = joined and "=" in spec and ":" not in spec
            joined[-1:] = [f"{joined[-1]},{spec}"] if apart else [*joined[-1:], spec]
        self.methods = joined

    @classmethod
    def resumed(cls, out: Path, workers: Workers, wanted: Mapping[str, Any]) -> Self:
        """The job that a comparison's folder records, to go on with it.

        Args:
            out: its folder.
            workers: runs at once.
            wanted: what was asked for now; must be the run's own.

        Raises:
            HeedError: no comparison there, or other settings.
        """
        record = recorded(out, "compare", wanted, cls.upgraded)
        methods, seeds = (record.pop(name) for name in ("methods", "seeds"))
        return cls(methods, seeds, workers, record)

    @classmethod
    def upgraded(cls, record: dict[str, Any]) -> dict[str, Any]:
        """What a folder records, with settings in sections that an older version wrote without."""
        return record

    def record(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What the folder's ``config.yaml`` says: the settings of all runs, the methods and the seeds.

        Raises:
            HeedError: no seeds.
        """
        if self.seeds < 1:
            raise HeedError(f"{self.seeds} seeds are none", "--seeds", "give at least 1")
        return {**settings, "methods": self.methods, "seeds": self.seeds}

    def seeds_from(self, first: int) -> range:
        """The seeds of each method's runs."""
        return range(first, first + self.seeds)


def tasks_of(
    settings: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    out: Path,
    slug: Callable[[str], str],
    kind: Literal["align", "guard"],
) -> list[Task]:
    """A run of each method with each seed, method by method.

    Args:
        settings: of each method.
        seeds: of the runs of each.
        out: the table's folder; the runs lie below ``runs/``.
        slug: a method's name as a file's.
        kind: of the runs.

    >>> tasks = tasks_of({"a:b": {"steps": 9}}, (3, 4), Path("t"), lambda name: name.replace(":", "-"), "guard")
    >>> [(task.label, task.settings["seed"], str(task.folder)) for task in tasks]
    [('a:b seed 3', 3, 't/runs/a-b-seed3'), ('a:b seed 4', 4, 't/runs/a-b-seed4')]
    """
    return [
        Task(f"{method} seed {seed}", {**own, "seed": seed}, out / "runs" / f"{slug(method)}-seed{seed}", kind=kind)
        for method, own in settings.items()
        for seed in seeds
    ]


def write_table(run: RunFolder, record: Mapping[str, Any], table: Mapping[str, Any], seconds: float) -> None:
    """Write a table that is done, as ``compare.json``, ``.md``, ``.csv`` and ``.tex``, and the summary.

    Args:
        run: its folder.
        record: what ``config.yaml`` says.
        table: title, columns, rows and notes.
        seconds: of all runs.
    """
    run.write_json("compare.json", table, indent=1)
    for suffix, told in (("md", format_table(table)), ("csv", table_csv(table)), ("tex", table_latex(table))):
        write_whole(run.path / f"compare.{suffix}", told + "\n")
    run.write_summary(
        {
            "kind": "compare",
            "method": ",".join(record["methods"]),
            "seed": record["seed"],
            "seeds": record["seeds"],
            "steps": record["steps"],
            "seconds": seconds,
            "version": heed.__version__,
            "config_hash": config_hash(record),
            "completed": True,
            "rows": table["rows"],
        }
    )


def format_table(table: Mapping[str, Any]) -> str:
    """The table as Markdown, means with their intervals."""
    columns = table["columns"]
    lines = ["| method | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row in table["rows"]:
        cells = [_cell(row.get(column)) for column in columns]
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *table["notes"]])


def table_csv(table: Mapping[str, Any]) -> str:
    """The table as comma-separated values, unrounded: of each column the mean, the interval's ends and the seeds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ends = ("mean", "low", "high", "n")
    writer.writerow(["method", *(f"{column}, {end}" for column in table["columns"] for end in ends)])
    for row in table["rows"]:
        writer.writerow(
            [row["method"], *((row.get(column) or {}).get(end) for column in table["columns"] for end in ends)]
        )
    return file.getvalue().rstrip("\n")


def table_latex(table: Mapping[str, Any]) -> str:
    """The table as a LaTeX ``tabular`` with rules of booktabs, means with their intervals."""
    columns = table["columns"]
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        "\\toprule",
        " & ".join(_latex(name) for name in ("method", *columns)) + r" \\",
        "\\midrule",
        *(
            " & ".join([_latex(row["method"]), *(_latex(_cell(row.get(column))) for column in columns)]) + r" \\"
            for row in table["rows"]
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _latex(text: str) -> str:
    r"""Text with LaTeX's own characters taken literally.

    >>> print(_latex("gapo:p=1 & 50%"))
    gapo:p=1 \& 50\%
    """
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {">": r"\textgreater{}", "<": r"\textless{}", "–": "--"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or math.isnan(found["mean"]):
        return "–"
    if found.get("low") == found.get("high"):
        return f"{found['mean']:.3g}"
    return f"{found['mean']:.3g} ({found['low']:.3g} to {found['high']:.3g})"
