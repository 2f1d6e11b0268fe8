"""What finished runs came to, a line each in a file of the repository, so that the comparison goes on on any machine.

A run takes minutes to half an hour, and all of them a day and more. What is kept here is not made again; whoever
changes the guard so that its runs would come out otherwise takes its lines out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from heed.errors import HeedError
from heed.guard.run.counts import LATE_EPISODES, Counts, read_decisions

KEPT = Path(__file__).with_name("results.jsonl")


@dataclass(frozen=True)
class Came:
    """What one run came to.

    Args:
        alone: counts of its autonomy.
        late: mean return of its last whole episodes; NaN where it has none.
        handed_over_at: step at which autonomy began; None where it did not.
        asked: steps of oversight that were asked for.
        seconds: that it took.
        steps: of all of it.
    """

    alone: Counts
    late: float
    handed_over_at: int | None
    asked: int
    seconds: float
    steps: int = 8000


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
    mean = float(returns[-LATE_EPISODES:].mean()) if len(returns) else float("nan")
    alone = decisions.counts("autonomy")
    return Came(alone, mean, summary["handed_over_at"], asked, summary["seconds"], summary["env_steps"])


def in_folder(out: Path) -> dict[str, Came]:
    """The finished runs of a folder, by the names of theirs."""
    found = {folder.name: of_folder(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    return {name: came for name, came in found.items() if came is not None and ".stopped-" not in name}


def kept(file: Path = KEPT) -> dict[str, Came]:
    """The runs of a file, by the names of their folders."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {row["run"]: _read(row) for row in map(json.loads, lines)}


def keep(runs: Mapping[str, Came], code: str, file: Path = KEPT) -> None:
    """Write runs into a file, in place of those of the same names.

    Args:
        runs: by the names of their folders.
        code: the commit that they were made with.
        file: sorted by name.
    """
    lines = {json.loads(line)["run"]: line for line in (file.read_text().splitlines() if file.exists() else [])}
    lines |= {name: json.dumps({"run": name, "code": code, **asdict(came)}) for name, came in runs.items()}
    file.write_text("".join(f"{lines[name]}\n" for name in sorted(lines)))


def _read(row: dict[str, Any]) -> Came:
    told = {name: value for name, value in row.items() if name not in ("run", "code")}
    return Came(**told | {"alone": Counts(**row["alone"])})
