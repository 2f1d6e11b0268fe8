"""One run of a comparison, and whether its folder holds it finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heed.errors import HeedError
from heed.runs.folder import RunFolder


@dataclass(frozen=True)
class Task:
    """One run of a comparison.

    Args:
        label: what the run is called in tables.
        settings: the job's and the config's, flat.
        folder: the run folder.
        trunk: a finished run with the same seed whose last checkpoint this one goes on from; its settings may differ.
        kind: of the run: align or guard.
    """

    label: str
    settings: dict[str, Any]
    folder: Path
    trunk: Path | None = None
    kind: Literal["align", "guard"] = "align"


def is_finished(task: Task) -> bool:
    """Whether the task's folder holds the finished run with these settings.

    Raises:
        HeedError: it holds a run with other settings.
    """
    if not (task.folder / "config.yaml").exists():
        return False
    run = RunFolder.open(task.folder, writable=False)
    other = {k: v for k, v in task.settings.items() if k in run.config and run.config[k] != v}
    if other:
        name = next(iter(other))
        raise HeedError(
            f"the folder holds a run with {name} = {run.config[name]}, not {other[name]}",
            str(task.folder),
            "choose another --out",
        )
    return bool(run.read_summary().get("completed"))


def summary_of(task: Task) -> dict[str, Any]:
    """The run's summary."""
    return RunFolder.open(task.folder, writable=False).read_summary()
