"""Fixed-seed runs of every kind, recorded from any source tree and compared decision for decision, metric for metric.

    python tests/oracle/fixed_seed.py record FOLDER [--source TREE/src] [--only NAME ...]
    python tests/oracle/fixed_seed.py compare BEFORE AFTER

Record with the tree before a change and with the tree after it, on one machine: floating-point results are equal to the
last bit only there. What depends on the clock (milliseconds, tokens a second) is left out of the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

SHORT = (
    *("guard", "--steps", "1500", "--oversight-steps", "700", "--eps", "0.3", "--gate", "1.0", "--cap", "0.5"),
    *("--learning-starts", "300", "--evaluation-episodes", "1", "--refit-every", "400", "--seed", "5"),
)
ALIGN = ("align", "--world", "apothecary", "--steps", "4", "--seed", "3")
RUNS: dict[str, tuple[str, ...]] = {
    "guard-mbhi": ("guard", "--method", "mbhi", "--steps", "4000", "--seed", "3"),
    "guard-hirl": ("guard", "--method", "hirl", "--steps", "4000", "--seed", "3"),
    "guard-short-mbhi": SHORT,
    "guard-short-noplan": (*SHORT, "--block-when", "no_plan"),
    "guard-short-ask": (*SHORT, "--ask-above", "0.1"),
    "guard-short-shadow": (*SHORT, "--mode", "shadow"),
    "guard-short-block": (*SHORT, "--mode", "block"),
    "guard-short-penalty": (*SHORT, "--mode", "penalty", "--learner", "ppo"),
    "guard-short-true": (*SHORT, "--method", "mbhi-true"),
    "guard-short-hirlplan": (*SHORT, "--method", "hirl-plan"),
    "guard-short-far": (*SHORT, "--overseer", "far-sighted,miss=0.05"),
    "guard-short-none": (*SHORT, "--method", "none"),
    "guard-short-cliff": (*SHORT, "--env", "heed/CliffGrid-v0"),
    "guard-short-imagined": (*SHORT, "--imagined", "4", "--balance", "gapo"),
    "align-paper": (*ALIGN, "--preset", "paper"),
    "align-modern": (*ALIGN, "--preset", "modern"),
    "front": ("front", "--world", "apothecary", "--quick", "--seed", "3", "--workers", "1"),
}
"""Name: the command that makes the run. Between them they take every branch of a guarded step."""

CLOCK = ("_ms", "seconds", "per_second")
"""Parts of names whose values depend on the machine's speed."""
DRAWN = ("key",)
"""Columns of decisions that are drawn anew in each run."""
RENAMED = {"struck": "catastrophe_reported"}
"""Columns of decisions that a record of an earlier version calls otherwise."""
TABLES = ("labels.npz", "transitions.npz", "moments.npz")


def record(folder: Path, source: Path, only: list[str] | None = None) -> None:
    """Make the runs that are not there yet, with the package of a source tree."""
    folder.mkdir(parents=True, exist_ok=True)
    cache = {"HEED_CACHE": str(folder / "cache")}
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"} | cache
    for name in only or RUNS:
        if _finished(folder / name):
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        with (folder / f"{name}.log").open("w") as log:
            command = [sys.executable, "-m", "heed", *RUNS[name], "--out", name]
            subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=True)


def differences(before: Path, after: Path) -> dict[str, list[str]]:
    """What differs between two records, by run; a run that is the same has an empty list."""
    names = [name for name in RUNS if (before / name).exists()]
    return {name: _of_run(before / name, after / name) for name in names}


def _finished(run: Path) -> bool:
    summary = run / "summary.json"
    return summary.exists() and bool(json.loads(summary.read_text()).get("completed"))


def _of_run(before: Path, after: Path) -> list[str]:
    if not _finished(after):
        return ["it is missing"]
    found: list[str] = []
    for path in sorted(before.rglob("decisions.parquet")):
        found += _of_decisions(path, after / path.relative_to(before))
    for path in sorted(path for table in TABLES for path in before.rglob(table)):
        found += _of_arrays(path, after / path.relative_to(before))
    for path in sorted([*before.rglob("metrics.jsonl"), *before.rglob("balance.jsonl")]):
        found += _of_lines(path, after / path.relative_to(before))
    for path in sorted(before.rglob("summary.json")):
        told = [_steady(json.loads(each.read_text())) for each in (path, after / path.relative_to(before))]
        found += [] if told[0] == told[1] else [f"{path.name}: {_first(told[0], told[1])}"]
    return found


def _of_decisions(before: Path, after: Path) -> list[str]:
    tables = (pq.read_table(path).to_pydict() for path in (before, after))
    old, new = ({RENAMED.get(name, name): values for name, values in table.items()} for table in tables)
    found = [] if set(old) == set(new) else [f"columns: {sorted(set(old) ^ set(new))}"]
    for name in sorted(set(old) & set(new)):
        if not _timed(name) and name not in DRAWN and repr(old[name]) != repr(new[name]):
            rows = (
                n for n, pair in enumerate(zip(old[name], new[name], strict=False)) if repr(pair[0]) != repr(pair[1])
            )
            found.append(f"decisions: {name} from row {next(rows, 'beyond the shorter')}")
    return found


def _of_arrays(before: Path, after: Path) -> list[str]:
    old, new = np.load(before), np.load(after)
    same = {name: np.array_equal(old[name], new[name], equal_nan=old[name].dtype.kind == "f") for name in old.files}
    return [f"{before.name}: {name}" for name, equal in same.items() if not equal]


def _of_lines(before: Path, after: Path) -> list[str]:
    old, new = (path.read_text().splitlines() for path in (before, after))
    if len(old) != len(new):
        return [f"{before.name}: {len(old)} lines, {len(new)}"]
    for number, pair in enumerate(zip(old, new, strict=True)):
        first, second = (_steady(json.loads(line)) for line in pair)
        if repr(first) != repr(second):
            return [f"{before.parent.name}/{before.name}: line {number}: {_first(first, second)}"]
    return []


def _steady(value: dict[str, Any]) -> dict[str, Any]:
    unsteady = ("version", "config_hash", "run", "adapter", "faults")
    return {k: v for k, v in value.items() if not _timed(k) and k not in unsteady and k != "points"}


def _timed(name: str) -> bool:
    return any(part in name for part in CLOCK)


def _first(old: dict[str, Any], new: dict[str, Any]) -> str:
    for name in dict.fromkeys([*old, *new]):
        if repr(old.get(name)) != repr(new.get(name)):
            return f"{name} {old.get(name)} -> {new.get(name)}"
    return "the order"


def main() -> int:
    """Record or compare, as asked on the command line; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--source", type=Path, default=Path(__file__).parents[2] / "src")
    recording.add_argument("--only", nargs="+", choices=list(RUNS))
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    asked = parser.parse_args()
    if asked.command == "record":
        record(asked.folder.resolve(), asked.source.resolve(), asked.only)
        return 0
    result = differences(asked.before, asked.after)
    for name, found in result.items():
        print(f"{name}: {'the same' if not found else '; '.join(found[:5])}")
    return int(any(result.values()))


if __name__ == "__main__":
    sys.exit(main())
