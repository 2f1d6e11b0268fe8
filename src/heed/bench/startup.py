"""What people wait for before a command does anything: help, a refusal, a small query, each in a fresh process."""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import heed
from heed.bench.options import StartupBench
from heed.bench.timing import Spread
from heed.errors import HeedError, RunFailed
from heed.oversight.store.store import Judgement, Store

PLAIN = "python, nothing imported"
HELP = (
    *(
        "",
        "align",
        "bench",
        "compare align",
        "compare guard",
        "completion",
        "demo",
        "doctor",
        "front",
        "guard",
        "judgements",
    ),
    *("label", "oversee", "pick", "report", "reward"),
)
TYPOS = ("align --stepz 3", "front --method gapo --preferencs 3", "guard --horizont 5", "lable", "reward x --out")
"""What is mistyped, and refused in one line."""
QUERY = "judgements STORE"
"""A list of judgements, the store in the place of the word."""
ASIDE = 100
"""Judgements in the store."""


def run_startup_bench(bench: StartupBench, tell: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Time commands that do nothing yet, interleaved.

    Args:
        bench: how often.
        tell: follows the rounds: done, all.

    Returns:
        What ``heed bench startup --json`` prints: "version", "python", "cores", "load" (of the last minute, as it
        began), "repeats" and "rows"; a row has "name" (as it is typed) and "seconds", median, with "low" and "high"
        (10% and 90%).

    Raises:
        HeedError: no repeats.
        RunFailed: a command does not answer as it should.
    """
    if bench.repeats < 1:
        raise HeedError(f"{bench.repeats} repeats measure nothing", "--repeats", "give at least 1")
    load = os.getloadavg()[0]
    taken: dict[str, list[float]] = {}
    generator = random.Random(bench.seed)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "judgements.db"
        _fill(store)
        typed = {f"heed {name} --help".replace("  ", " "): ([*name.split(), "--help"], 0) for name in HELP}
        typed |= {f"heed {line}": (line.split(), 2) for line in TYPOS}
        typed[f"heed {QUERY}"] = (["judgements", str(store)], 0)
        _answered(["judgements", str(store)], 0)  # compiled, and in the disk's cache
        for number in range(bench.repeats):
            order = [PLAIN, *typed]
            generator.shuffle(order)
            for name in order:
                began = time.perf_counter()
                if name == PLAIN:
                    subprocess.run([sys.executable, "-c", "pass"], check=True)
                else:
                    _answered(*typed[name])
                taken.setdefault(name, []).append(time.perf_counter() - began)
            if tell is not None:
                tell(number + 1, bench.repeats)
    found = {name: Spread.of(taken[name]) for name in (PLAIN, *typed)}
    rows = [{"name": name, "seconds": s.median, "low": s.low, "high": s.high} for name, s in found.items()]
    python = platform.python_version()
    return {"version": heed.__version__, "python": python, "cores": os.cpu_count(), "load": load} | {
        "repeats": bench.repeats,
        "rows": rows,
    }


def startup_table(result: Mapping[str, Any]) -> str:
    """The result of :func:`run_startup_bench` as a table in Markdown, the slowest last."""
    rows = sorted(result["rows"], key=lambda row: float(row["seconds"]))
    lines = ["| typed | seconds | 10% to 90% |", "|---|---|---|"]
    lines += [f"| {row['name']} | {row['seconds']:.2f} | {row['low']:.2f} to {row['high']:.2f} |" for row in rows]
    where = f"Python {result['python']}, {result['cores']} cores, load {result['load']:.1f} as it began"
    return "\n".join([*lines, "", f"heed {result['version']}, {where}; {result['repeats']} rounds, interleaved"])


def _answered(arguments: list[str], code: int) -> None:
    """Run heed in a process of its own.

    Raises:
        RunFailed: it exits with another code.
    """
    ran = subprocess.run([sys.executable, "-m", "heed", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode != code:
        raise RunFailed(f"heed {' '.join(arguments)} exits with {ran.returncode}: {ran.stderr.strip()[-300:]}")


def _fill(path: Path) -> None:
    """A store with some judgements."""
    store = Store(f"sqlite:///{path}")
    shown = ({"step": number} for number in range(ASIDE))
    store.add_all([Judgement("block", "ada", each, {"block": False}, run="startup") for each in shown])
    store.close()
