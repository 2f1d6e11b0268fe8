"""Every step's decision with what came of it, in ``decisions.parquet``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heed.guard.decisions import Decision
from heed.runs.files import replacing


class DecisionLog:
    """Every step's decision with what came of it, in ``decisions.parquet``; rows are kept until `write`.

    >>> log = DecisionLog()
    >>> log.add(Decision(0, 1, "block", "planner"), step=3, episode=0, phase="autonomy", reward=1.0, catastrophe=False)
    >>> log.rows[0]["executed"], log.rows[0]["phase"]
    ([1.0], 'autonomy')
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self, decision: Decision, step: int, episode: int, phase: str, reward: float, catastrophe: bool, **truth: Any
    ) -> None:
        """Keep a step; ``truth`` holds what an oracle knows of it (doomed, needless), where there is one."""
        row = decision.info() | {
            "proposed": _numbers(decision.proposed),
            "executed": _numbers(decision.executed),
            "member_risk": list(decision.member_risk),
        }
        row |= {"step": step, "episode": episode, "phase": phase, "reward": reward, "catastrophe": catastrophe}
        self.rows.append(row | truth)

    def write(self, path: Path) -> None:
        """Write all rows, whole or not at all."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        table = pa.table({name: [row.get(name) for row in self.rows] for name in names})
        with replacing(path) as file:
            pq.write_table(table, file)


def _numbers(action: Any) -> list[float]:
    try:
        return [float(x) for x in np.atleast_1d(np.asarray(action, dtype=np.float64)).ravel()]
    except (TypeError, ValueError):
        return []  # it was no action at all, and the guard has said so
