"""What the guard would have decided beside its overseer, fit by fit: misses and flags among proposals that both judged.

python tests/foreign/beside.py RUN...        # folders of `heed guard`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def beside(rows: Sequence[dict[str, Any]], begins: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
    """Of each stretch of steps: where it begins, blocks of the overseer, of these missed, passes, of these flagged.

    Args:
        rows: decisions, from the first step on.
        begins: steps at which stretches begin, ascending.

    >>> said = [("block", "block"), ("block", "allow"), ("allow", "block"), ("allow", "allow"), ("allow", None)]
    >>> beside([{"decision": d, "beside": b, "asked": True} for d, b in said], [0, 2])
    [(0, 2, 1, 0, 0), (2, 0, 0, 2, 1)]
    """
    result = []
    for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        both = [row for row in rows[begin:end] if row["asked"] and row["beside"]]
        blocks = [row["beside"] for row in both if row["decision"] == "block"]
        passed = [row["beside"] for row in both if row["decision"] == "allow"]
        result.append((begin, len(blocks), blocks.count("allow"), len(passed), passed.count("block")))
    return result


def main(folders: Sequence[str]) -> int:
    """Print a table of the stretches between two fits that are due in oversight."""
    print("| run | steps | blocks missed | of | let pass, flagged | of |\n|---|---|---|---|---|---|")
    for folder in folders:
        rows = pq.read_table(Path(folder) / "decisions.parquet").to_pylist()
        begins = [step for step in (1500, 2250, *range(3000, len(rows), 300)) if step < len(rows)]
        for begin, blocks, missed, passed, flagged in beside(rows, begins):
            if blocks + passed:
                print(f"| {Path(folder).name} | from {begin} | {missed} | {blocks} | {flagged} | {passed} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
