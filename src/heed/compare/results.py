"""What finished runs came to, a line each in a file that travels: no run in it is made again, on any machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heed.compare.pool import OnFinished
from heed.compare.tasks import Task, all_settings
from heed.errors import HeedError, RunFailed
from heed.runs.config import config_hash
from heed.runs.folder import RunFolder

Make = Callable[[Sequence[Task], OnFinished | None], list[dict[str, Any]]]
"""Runs tasks and returns their summaries; calls what it is told to with each that is done."""
RESULTS = "a file of runs that are done, a JSON line each: they are not made again, and new ones are added"
"""What the option is, for ``--help``."""
EARLY = 0.15
"""Share of the rounds in which a policy may still be learning to be readable."""


class Results:
    """A file of runs that are done, in which a comparison looks first and to which it adds its own.

    Files of several machines may be put together, one behind the other. A run is known by all its settings, those that
    it was not told included; of lines with the same settings the last holds.

    Args:
        file: with a JSON object a line; made with the first run that is added.

    Raises:
        HeedError: a line that is no run.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, dict[str, Any]] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8"):
                pass  # what could not be written later is refused now
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            what = f"the file of runs cannot be used: {error.strerror or error}"
            raise HeedError(what, f"--results {file}", "give a file that may be read and written") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                settings, came = _read(line, f"{file}, line {number}")
                self._known[config_hash(settings)] = came

    def __len__(self) -> int:
        """How many runs it has."""
        return len(self._known)

    def of(self, task: Task) -> dict[str, Any] | None:
        """What a run with these settings came to, as `outcome` tells it; None where the file has none."""
        return self._known.get(config_hash(all_settings(task.kind, task.settings)))

    def known(self, task: Task) -> dict[str, Any]:
        """What a run came to that the file has.

        Raises:
            RunFailed: it has not, though the run was made.
        """
        came = self.of(task)
        if came is None:
            raise RunFailed(f"{task.label} was made and is not in {self.file}")
        return came

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that are still to be run."""
        return [task for task in tasks if self.of(task) is None]

    def add(self, task: Task, summary: Mapping[str, Any]) -> None:
        """Write down a run that is done, unless the file has it.

        Args:
            task: whose folder it lies in.
            summary: of it.
        """
        if self.of(task) is not None:
            return
        settings, came = all_settings(task.kind, task.settings), outcome(task.folder, summary)
        line = {"run": task.label, "kind": task.kind, "came": came, "settings": settings}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[config_hash(settings)] = came


def _read(line: bytes, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """All settings of a line's run, and what it came to."""
    try:
        found = json.loads(line)
        came = found["came"]
        if found["kind"] != "align" or not {"objectives", "seconds", "conduct", "curve"} <= came.keys():
            raise ValueError(found["kind"])
        return all_settings("align", dict(found["settings"])), came
    except (ValueError, TypeError, KeyError, AttributeError, HeedError) as error:
        reason = error.what if isinstance(error, HeedError) else type(error).__name__
        raise HeedError(f"a line that is no run's ({reason})", where, "take it out; --results writes them") from error


def outcomes(tasks: Sequence[Task], results: Results | None, make: Make) -> list[dict[str, Any]]:
    """What tasks came to (`outcome`), in their order: those of the file as it tells them, the others made now.

    Args:
        tasks: alignment runs in a world.
        results: runs that are done; None makes all, or takes them from their folders.
        make: runs them.
    """
    if results is None:
        return [outcome(task.folder, summary) for task, summary in zip(tasks, make(tasks, None), strict=True)]
    make(results.missing(tasks), results.add)
    return [results.known(task) for task in tasks]


def outcome(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a table needs to know of an alignment run in a world.

    Args:
        folder: of the finished run.
        summary: its.

    Returns:
        ``objectives`` (each with its exact value at the start and in the end, and its judge's in the end),
        ``seconds``, ``tokens`` (generated), ``conduct`` (the least share of well-formed completions after `EARLY`, the
        KL of the last round, the minutes of all), ``curve`` (the exact values at every evaluation), ``made`` (the
        versions it was made with), of a policy of all preferences its values ``along`` them, and ``failed_once`` if it
        did.
    """
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rounds = [line for line in lines if "seconds/step" in line]
    late = rounds[int(EARLY * len(rounds)) :]
    names = list(summary["objectives"])
    conduct = {
        "least readable": min(line["well_formed"] for line in late),
        "KL": rounds[-1]["kl"],
        "minutes": sum(line["seconds/step"] for line in rounds) / 60,
    }
    curve = [
        {"step": line["step"], **{name: line[f"eval/gold/{name}"] for name in names}}
        for line in lines
        if f"eval/gold/{names[0]}" in line
    ]
    objectives = {name: {key: summary["objectives"][name][key] for key in ("start", "gold", "proxy")} for name in names}
    made = summary.get("made", f"heed {summary['version']}")
    tokens = sum(line["tokens_per_second"] * line["seconds/generation"] for line in rounds)
    came = {"objectives": objectives, "seconds": summary["seconds"], "tokens": round(tokens), "conduct": conduct}
    came |= {"curve": curve, "made": made}
    return came | {name: summary[name] for name in ("along", "failed_once") if name in summary}


def newest_adapter(folder: Path, out: Path) -> str | None:
    """A run's newest checkpoint, relative to the folder of all runs; None where the run was made elsewhere.

    Args:
        folder: of the run.
        out: of all runs.
    """
    if not (folder / "config.yaml").exists():
        return None
    newest = RunFolder.open(folder, writable=False).latest_checkpoint()
    return None if newest is None else str(newest.relative_to(out))
