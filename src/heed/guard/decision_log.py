"""Every step's decision with what came of it, in ``decisions.parquet``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heed.errors import HeedError
from heed.guard.decisions import Decision, Step
from heed.runs.files import replacing


class DecisionLog:
    """Every step's decision with what came of it; an observer of a guard. Rows are kept until `write`.

    Args:
        phase: names the phase that a run is in, by the number of steps so far; asked at each step, before it moves.
        truth: what an oracle knows of a step, further columns; None where there is no oracle.

    Attributes:
        rows: a dictionary for each step.

    >>> log = DecisionLog(phase=lambda steps: "oversight" if steps < 3000 else "autonomy")
    >>> log.add(Decision(0, 1, "block", "planner"), episode=0, reward=1.0, catastrophe=False)
    >>> log.rows[0]["executed"], log.rows[0]["phase"]
    ([1.0], 'oversight')
    """

    def __init__(
        self, phase: Callable[[int], str] = lambda _: "", truth: Callable[[Step], dict[str, Any]] | None = None
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self._phase, self._truth = phase, truth

    def __call__(self, step: Step) -> None:
        """Keep a step."""
        truth = {} if self._truth is None else self._truth(step)
        self.add(step.decision, step.episode, step.reward, step.catastrophe_reported, **truth)

    def add(self, decision: Decision, episode: int, reward: float, catastrophe: bool, **truth: Any) -> None:
        """Keep a decision; ``truth`` holds what an oracle knows of it (needless, needed, spare, goal)."""
        row = decision.info() | {
            "proposed": _numbers(decision.proposed),
            "executed": _numbers(decision.executed),
            "member_risk": list(decision.member_risk),
        }
        row |= {"step": len(self.rows), "episode": episode, "phase": self._phase(len(self.rows))}
        self.rows.append(row | {"reward": reward, "catastrophe": catastrophe} | truth)

    def read(self, path: Path) -> None:
        """Hold the rows that `write` wrote, and no others.

        Raises:
            HeedError: they cannot be read.
        """
        try:
            self.rows = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as problem:
            raise HeedError(
                f"the decisions cannot be read: {problem}", str(path), "restore them from a copy"
            ) from problem

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
