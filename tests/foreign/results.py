"""What finished runs came to, a line each in a file of the repository, so that the comparison goes on on any machine.

A run takes minutes to half an hour, and all of them a day and more. What is kept here is not made again; whoever
changes the guard so that its runs would come out otherwise takes its lines out.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import heed
from foreign.ten import METHODS, OVERSEERS, TEN
from heed.errors import HeedError
from heed.guard.run.counts import LATE_EPISODES, Counts, read_decisions

KEPT = Path(__file__).with_name("results.jsonl")
STEPS = 8000
"""Of a run, unless another number is asked for; runs of another length are none of the comparison."""
NAME = re.compile(
    rf"({'|'.join(foreign.name for foreign in TEN)})-(none|({'|'.join(OVERSEERS)})-({'|'.join(METHODS)}))-seed\d+"
)
"""Of a run's folder (`foreign.ten.folder_name`): a copy beside it is none."""


@dataclass(frozen=True)
class Came:
    """What one run came to.

    Args:
        alone: counts of its autonomy.
        late: mean return of its last whole episodes; None where it has none.
        handed_over_at: step at which autonomy began; None where it did not.
        asked: steps of oversight that were asked for.
        seconds: that it took.
        steps: of all of it, oversight included.
        code: the commit that it was made with.
    """

    alone: Counts
    late: float | None
    handed_over_at: int | None
    asked: int
    seconds: float
    steps: int
    code: str


def commit() -> str:
    """Of the sources that are imported."""
    asked = ["git", "-C", str(Path(heed.__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def stamp(out: Path, name: str) -> Path:
    """The file beside a run's folder that says with which commit it was begun."""
    return out / f"{name}.code"


def of_folder(folder: Path) -> Came | None:
    """What a finished run came to; None of what is none."""
    file = folder / "summary.json"
    if not file.exists() or not (summary := json.loads(file.read_text()))["completed"]:
        return None
    decisions = read_decisions(folder)
    if decisions is None:
        raise HeedError("a finished run without decisions", str(folder), "delete it and run it again")
    _, returns, _ = decisions.episodes()
    asked = yaml.safe_load((folder / "config.yaml").read_text())["phases"]["oversight_steps"]
    mean = float(returns[-LATE_EPISODES:].mean()) if len(returns) else None
    made = stamp(folder.parent, folder.name)
    return Came(
        decisions.counts("autonomy"),
        mean,
        summary["handed_over_at"],
        asked,
        summary["seconds"],
        summary["env_steps"],
        made.read_text() if made.exists() else "unknown",
    )


def in_folder(out: Path, steps: int = STEPS) -> dict[str, Came]:
    """The finished runs of a folder that are of the ten and of so many steps, by the names of their folders.

    Raises:
        HeedError: no such folder.
    """
    if not out.is_dir():
        raise HeedError("there is no such folder", str(out), "give one that run.py has written")
    found = {folder.name: of_folder(folder) for folder in sorted(out.iterdir()) if NAME.fullmatch(folder.name)}
    return {name: came for name, came in found.items() if came is not None and came.steps == steps}


def kept(file: Path = KEPT) -> dict[str, Came]:
    """The runs of a file, by the names of their folders."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {row["run"]: _read(row) for row in map(json.loads, lines)}


def keep(runs: Mapping[str, Came], file: Path = KEPT) -> None:
    """Write runs, by the names of their folders, into a file, in place of those of the same names; sorted by name."""
    every = kept(file) | dict(runs)
    file.write_text("".join(json.dumps({"run": name, **asdict(every[name])}) + "\n" for name in sorted(every)))


def _read(row: dict[str, Any]) -> Came:
    told = {name: value for name, value in row.items() if name != "run"}
    return Came(**told | {"alone": Counts(**row["alone"])})
