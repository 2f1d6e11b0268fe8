"""What a guarded run decided, read from ``decisions.parquet`` as columns, and the counts that its page tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from scipy.stats import chi2

from heed.errors import HeedError
from heed.report.common.plot_style import Floats

Bools = NDArray[np.bool_]
Phase = Literal["oversight", "autonomy"]
COLUMNS = ("episode", "phase", "decision", "source", "reward", "catastrophe", "asked", "latency_ms", "plan_ms")
"""What every file of decisions has; goal, feasible, needless, needed and spare may be missing or unknown."""


@dataclass(frozen=True)
class Counts:
    """What happened in one phase, or in all of a run.

    Args:
        steps: taken.
        catastrophes: that happened.
        blocks: proposals that were not executed.
        needless: blocks that an oracle calls needless; None where none knows.
        early: those among them that came with more than a step to spare; None where none knows.
        missed: proposals let pass that an oracle would have blocked; None where none knows.
        goals: reached.
        judgements: proposals that a person judged.
    """

    steps: int
    catastrophes: int
    blocks: int
    needless: int | None
    early: int | None
    missed: int | None
    goals: int
    judgements: int

    @property
    def per_10_000(self) -> tuple[float, float, float] | None:
        """Catastrophes in 10,000 steps, with an exact 95% interval; None without a step."""
        if not self.steps:
            return None
        low, high = poisson_bounds(self.catastrophes)
        scale = 10_000 / self.steps
        return self.catastrophes * scale, low * scale, high * scale


@dataclass(frozen=True)
class Decisions:
    """Every step of a guarded run, [N] each.

    Args:
        episode: number of each step's episode.
        alone: whether nobody but the guard stood by: autonomy.
        blocked: whether the proposal was not executed.
        source: who chose the executed action.
        reward: the environment's.
        catastrophe: whether one happened.
        goal: whether it was reached.
        asked: whether a person judged.
        feasible: whether the plan was safe; NaN without a plan.
        needless: whether a block would be needless; NaN where nobody knows.
        needed: whether a block would be needed; NaN where nobody knows.
        spare: steps at full speed by which the brake would have stayed clear of a catastrophe; NaN where nobody knows.
        latency_ms: of the decision.
        plan_ms: of that in the planner.
    """

    episode: NDArray[np.int64]
    alone: Bools
    blocked: Bools
    source: NDArray[np.str_]
    reward: Floats
    catastrophe: Bools
    goal: Bools
    asked: Bools
    feasible: Floats
    needless: Floats
    needed: Floats
    spare: Floats
    latency_ms: Floats
    plan_ms: Floats

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def needless_blocks(self) -> Bools:
        """Steps that were blocked though an oracle calls it needless, [N]."""
        return self.blocked & (self.needless == 1)

    @property
    def early_blocks(self) -> Bools:
        """Steps that were blocked with more than a step to spare, [N]: whoever keeps any margin blocks too early."""
        return self.blocked & (self.spare > 1)

    @property
    def missed_blocks(self) -> Bools:
        """Steps that were let pass though an oracle would have blocked them, [N]."""
        return ~self.blocked & (self.needed == 1)

    def counts(self, phase: Phase | None = None) -> Counts:
        """What happened in one phase; in all of the run if None."""
        part = np.ones(len(self), np.bool_) if phase is None else self.alone == (phase == "autonomy")
        known = bool(np.isfinite(self.needless[part]).any())
        return Counts(
            steps=int(part.sum()),
            catastrophes=int(self.catastrophe[part].sum()),
            blocks=int(self.blocked[part].sum()),
            needless=int(self.needless_blocks[part].sum()) if known else None,
            early=int(self.early_blocks[part].sum()) if known else None,
            missed=int(self.missed_blocks[part].sum()) if known else None,
            goals=int(self.goal[part].sum()),
            judgements=int(self.asked[part].sum()),
        )

    def cumulative_catastrophes(self) -> tuple[Floats, Floats]:
        """Steps taken and catastrophes so far, [m] each: the start, each catastrophe and the end."""
        struck = np.flatnonzero(self.catastrophe) + 1.0
        steps = np.concatenate([[0.0], struck, [float(len(self))]])
        return steps, np.concatenate([np.arange(len(struck) + 1.0), [float(len(struck))]])

    def episodes(self) -> tuple[Floats, Floats, Bools]:
        """Of every whole episode the steps taken until its end, its return, and whether it reached the goal, [E]."""
        if not len(self):
            return np.empty(0), np.empty(0), np.empty(0, np.bool_)
        ends = np.flatnonzero(np.diff(self.episode)) + 1  # the last one was cut off with the run
        starts = np.concatenate([[0], ends])[: len(ends)]
        total, goals = np.concatenate([[0.0], np.cumsum(self.reward)]), np.concatenate([[0], np.cumsum(self.goal)])
        return ends.astype(np.float64), total[ends] - total[starts], goals[ends] > goals[starts]

    def shares(self, phase: Phase = "autonomy") -> list[tuple[str, int]]:
        """Who chose the executed action in the blocked steps of a phase, the most frequent first."""
        sources, counts = np.unique(
            self.source[self.blocked & (self.alone == (phase == "autonomy"))], return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        return [(str(sources[i]), int(counts[i])) for i in order]


def read_decisions(folder: Path) -> Decisions | None:
    """Read a run's decisions.

    Args:
        folder: of the run.

    Returns:
        None where it has none.

    Raises:
        HeedError: the file is no Parquet file, or not one of decisions.
    """
    file = folder / "decisions.parquet"
    if not file.is_file():
        return None
    try:
        table = parquet.read_table(file)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise HeedError("this is not a Parquet file", where=str(file), fix="delete it") from error
    lacking = [name for name in COLUMNS if name not in table.column_names]
    if lacking:
        raise HeedError(f"decisions without '{lacking[0]}'", where=str(file), fix="delete it")

    def column(name: str) -> list[Any]:
        return table[name].to_pylist() if name in table.column_names else [None] * len(table)

    def numbers(name: str) -> Floats:
        return np.array([np.nan if value is None else float(value) for value in column(name)], np.float64)

    def flags(name: str) -> Bools:
        return np.array([bool(value) for value in column(name)], np.bool_)

    return Decisions(
        episode=np.array(column("episode"), np.int64),
        alone=np.array([phase == "autonomy" for phase in column("phase")], np.bool_),
        blocked=np.array([decision == "block" for decision in column("decision")], np.bool_),
        source=np.array(column("source"), np.str_),
        reward=numbers("reward"),
        catastrophe=flags("catastrophe"),
        goal=flags("goal"),
        asked=flags("asked"),
        feasible=numbers("feasible"),
        needless=numbers("needless"),
        needed=numbers("needed"),
        spare=numbers("spare"),
        latency_ms=numbers("latency_ms"),
        plan_ms=numbers("plan_ms"),
    )


def per_hundred(flags: Bools, most: int = 60) -> tuple[Floats, Floats]:
    """How often something happens, in windows of equal length: of 100 steps, or more if else there are too many.

    Args:
        flags: [N].
        most: windows.

    Returns:
        The middles of the windows in steps, and events in 100 steps, [m] each; a last window shorter than half of the
        others is joined to the one before it.

    >>> per_hundred(np.arange(220) < 150)
    (array([ 50., 160.]), array([100.        ,  41.66666667]))
    """
    if not len(flags):
        return np.empty(0), np.empty(0)
    width = 100 * max(1, -(-len(flags) // (100 * most)))
    edges = np.arange(0, len(flags), width)
    if len(edges) > 1 and len(flags) - edges[-1] < width / 2:
        edges = edges[:-1]
    ends = np.append(edges[1:], len(flags))
    total = np.concatenate([[0], np.cumsum(flags)])
    return (edges + ends) / 2, 100 * (total[ends] - total[edges]) / (ends - edges)


def poisson_bounds(events: int) -> tuple[float, float]:
    """The exact 95% interval of an expected count after so many events (Garwood 1936).

    >>> low, high = poisson_bounds(0)
    >>> low, round(high, 3)
    (0.0, 3.689)
    """
    low = float(chi2.ppf(0.025, 2 * events) / 2) if events else 0.0
    return low, float(chi2.ppf(0.975, 2 * events + 2) / 2)
