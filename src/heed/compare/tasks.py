"""One run of a comparison, and whether its folder holds it finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heed.errors import HeedError
from heed.runs.config import describe_differences
from heed.runs.folder import RunFolder


@dataclass(frozen=True)
class Task:
    """One run of a comparison.

    Args:
        label: what the run is called in tables.
        settings: the job's and the config's.
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
    lines = describe_differences(all_settings(task.kind, run.config), all_settings(task.kind, task.settings))
    if lines:
        raise HeedError(
            f"the folder holds a run with other settings: {lines[0]}", str(task.folder), "choose another --out"
        )
    return bool(run.read_summary().get("completed"))


def all_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of a run from those that it was told, whatever version of heed wrote them.

    Args:
        kind: of the run: align or guard.
        settings: that it was told.
    """
    if kind == "guard":
        from heed.guard.run.config import complete as all_of_guard  # each half's packages are for its own runs

        return all_of_guard(settings)
    from heed.align.run.job import complete as all_of_align

    return all_of_align(settings)


def summary_of(task: Task) -> dict[str, Any]:
    """The run's summary; ``failed_once`` says why it failed before it was tried once more."""
    summary, failed = RunFolder.open(task.folder, writable=False).read_summary(), _failure_of(task)
    return summary | ({"failed_once": failed.read_text(encoding="utf-8")} if failed.exists() else {})


def note_failure(task: Task, reason: str) -> None:
    """Write down why a run failed, beside its folder, where it stays when the run is tried once more."""
    task.folder.parent.mkdir(parents=True, exist_ok=True)  # it may have died before it made anything
    _failure_of(task).write_text(reason, encoding="utf-8")


def _failure_of(task: Task) -> Path:
    return task.folder.with_name(f"{task.folder.name}.failed")
