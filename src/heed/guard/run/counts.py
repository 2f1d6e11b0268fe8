"""What a guarded run's decisions came to, counted in one place: summary, page and tables tell these numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from heed.errors import HeedError
from heed.guard.run.causes import shares

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
PhaseName = Literal["oversight", "autonomy"]
COLUMNS = ("episode", "phase", "decision", "source", "reward", "catastrophe", "asked", "latency_ms", "plan_ms")
"""What every file of decisions has; goal, feasible, needless, needed and spare may be missing or unknown."""
WORST_STRETCH = 500
"""Steps on end of which the most catastrophes are told."""
LATE_EPISODES = 20
"""Last whole episodes of which return and goals are told."""


@dataclass(frozen=True)
class Counts:
    """What happened in one phase, or in all of a run.

    Args:
        steps: taken.
        catastrophes: that happened.
        blocks: proposals that were not executed.
        needless: blocks that an oracle calls needless; None where none knows.
        early: blocks that came with more than a step to spare; None where no oracle knows.
        missed: proposals let pass that an oracle would have blocked; None where none knows.
        goals: reached.
        judgements: proposals that a person judged.
        demonstrations: steps in which an overseer's own action was executed.
    """

    steps: int
    catastrophes: int
    blocks: int
    needless: int | None
    early: int | None
    missed: int | None
    goals: int
    judgements: int
    demonstrations: int = 0

    @property
    def exposure(self) -> float:
        """Steps in units of 10,000, in which rates of catastrophes are told.

        >>> Counts(400, 1, 0, None, None, None, 0, 0).exposure
        0.04
        """
        return self.steps / 10_000

    @property
    def blocks_per_100(self) -> float:
        """Blocks in 100 steps; 0 without a step."""
        return blocks_per_100(self.blocks, self.steps)


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
        demonstrated: whether what was executed is an action of the overseer's own; false where nobody noted it.
        feasible: whether the plan was safe; NaN without a plan.
        needless: whether a block would be needless; NaN where nobody knows.
        needed: whether a block would be needed; NaN where nobody knows.
        spare: steps at full speed by which the brake would have stayed clear of a catastrophe; NaN where nobody knows.
        cause: why the proposal was blocked; "" where it was not, or nobody noted it.
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
    demonstrated: Bools
    feasible: Floats
    needless: Floats
    needed: Floats
    spare: Floats
    cause: NDArray[np.str_]
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
        """Steps that were blocked with more than a step at full speed to spare, [N].

        Whoever keeps any margin at all blocks before it is needed, so that the share of needless blocks alone cannot
        tell a guard that is a step early from one that is far too careful.
        """
        return self.blocked & (self.spare > 1)

    @property
    def missed_blocks(self) -> Bools:
        """Steps that were let pass though an oracle would have blocked them, [N]."""
        return ~self.blocked & (self.needed == 1)

    @property
    def judged_by_oracle(self) -> bool:
        """Whether an oracle knows of any step if a block there would be needless."""
        return bool(np.isfinite(self.needless).any())

    def of(self, phase: PhaseName | None) -> Bools:
        """Which steps belong to a phase, [N]; all of them if None."""
        return np.ones(len(self), np.bool_) if phase is None else self.alone == (phase == "autonomy")

    def counts(self, phase: PhaseName | None = None) -> Counts:
        """What happened in one phase; in all of the run if None."""
        part = self.of(phase)
        known = bool(np.isfinite(self.needless[part]).any())  # an oracle knows
        return Counts(
            steps=int(part.sum()),
            catastrophes=int(self.catastrophe[part].sum()),
            blocks=int(self.blocked[part].sum()),
            needless=int(self.needless_blocks[part].sum()) if known else None,
            early=int(self.early_blocks[part].sum()) if known else None,
            missed=int(self.missed_blocks[part].sum()) if known else None,
            goals=int(self.goal[part].sum()),
            judgements=int(self.asked[part].sum()),
            demonstrations=int(self.demonstrated[part].sum()),
        )

    def plans(self, phase: PhaseName = "autonomy") -> Bools:
        """Steps of a phase that were blocked and for which a plan was searched, [N]."""
        return self.of(phase) & self.blocked & np.isfinite(self.feasible)

    def cumulative_catastrophes(self) -> tuple[Floats, Floats]:
        """Steps taken and catastrophes so far, [m] each: the start, each catastrophe and the end."""
        happened = np.flatnonzero(self.catastrophe) + 1.0
        steps = np.concatenate([[0.0], happened, [float(len(self))]])
        return steps, np.concatenate([np.arange(len(happened) + 1.0), [float(len(happened))]])

    def episodes(self) -> tuple[Floats, Floats, Bools]:
        """Of every whole episode the steps taken until its end, its return, and whether it reached the goal, [E]."""
        ends = np.flatnonzero(np.diff(self.episode)) + 1  # the last one was cut off with the run
        starts = np.concatenate([[0], ends])[: len(ends)]
        slices = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        returns = [np.cumsum(self.reward[part])[-1] for part in slices]  # one after another, as they were paid
        goals = [self.goal[part].any() for part in slices]
        return ends.astype(np.float64), np.array(returns, np.float64), np.array(goals, np.bool_)

    def returns(self, phase: PhaseName) -> Floats:
        """Of every whole episode that ended in a phase its return, [E]."""
        ends, returns, _ = self.episodes()
        return returns[self.of(phase)[ends.astype(np.int64) - 1]] if len(ends) else returns

    def whole_returns(self, phase: PhaseName) -> Floats:
        """Of every whole episode that began and ended in a phase its return, [E]."""
        ends, returns, _ = self.episodes()
        last = ends.astype(np.int64) - 1
        first = np.concatenate([[0], last + 1])[: len(last)]
        within = self.of(phase)
        return returns[within[first] & within[last]] if len(ends) else returns

    def sources(self, phase: PhaseName = "autonomy") -> list[tuple[str, int]]:
        """Who chose the executed action in the blocked steps of a phase, the most frequent first."""
        sources, counts = np.unique(self.source[self.blocked & self.of(phase)], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(str(sources[i]), int(counts[i])) for i in order]

    def causes(self, phase: PhaseName = "autonomy") -> list[str]:
        """Why each blocked step of a phase was blocked."""
        return [str(cause) for cause in self.cause[self.blocked & self.of(phase)]]

    def summary(self) -> dict[str, Any]:
        """The part of ``summary.json`` that is counted (docs/guard.md, "A run folder").

        Needless, early and missed blocks are told of autonomy alone. An unguarded run has no phases; its first steps
        count as oversight all the same, so that the same steps are compared.
        """
        whole, overseen, alone = self.counts(), self.counts("oversight"), self.counts("autonomy")
        _, returns, goals = self.episodes()
        before = self.returns("oversight")
        late, reached, plans = returns[-LATE_EPISODES:], goals[-LATE_EPISODES:], self.plans()
        return {
            "kind": "guard",
            "env_steps": whole.steps,
            "autonomy_steps": alone.steps,
            "catastrophes": {
                "oversight": overseen.catastrophes,
                "autonomy": alone.catastrophes,
                "worst_500": worst_stretch(self.catastrophe[self.alone], WORST_STRETCH),
            },
            "demonstrations": whole.demonstrations,
            "interventions": whole.blocks,
            "interventions_autonomy": alone.blocks,
            "false_blocks": alone.needless,
            "early_blocks": alone.early,
            "missed_blocks": alone.missed,
            "causes": shares(self.causes()),
            "returns": {"oversight": before[-LATE_EPISODES:].tolist(), "late": late.tolist()},
            "goals": {"oversight": overseen.goals, "autonomy": alone.goals},
            "episodes": len(np.unique(self.episode)),
            "return_mean": float(np.mean(late)) if len(late) else None,
            "goals_late": float(np.mean(reached)) if len(reached) else 0.0,
            "decision_ms": percentiles(self.latency_ms[self.alone]),
            "plan_ms": percentiles(self.plan_ms[plans]),
            "plans_feasible_share": float(np.mean(self.feasible[plans])) if plans.any() else None,
        }


def decisions_of(rows: Sequence[Mapping[str, Any]]) -> Decisions:
    """The decisions of a run from the rows of its `DecisionLog`, [N]; what a row lacks is unknown."""
    names = dict.fromkeys(name for row in rows for name in row)
    return _decisions({name: [row.get(name) for row in rows] for name in names}, len(rows))


def read_decisions(folder: Path) -> Decisions | None:
    """Read a run's ``decisions.parquet``.

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
    return _decisions({name: table[name].to_pylist() for name in table.column_names}, len(table))


def latest_counts(rows: Sequence[Mapping[str, Any]], steps: int = 1000) -> dict[str, int]:
    """Catastrophes, blocks and goals among the latest steps, as `Decisions.counts` counts them, fast enough for each.

    >>> latest_counts([{"catastrophe": False, "decision": "block", "goal": True}] * 3, steps=2)
    {'catastrophes': 0, 'blocks': 2, 'goals': 2}
    """
    latest = rows[-steps:]
    return {
        "catastrophes": sum(row["catastrophe"] for row in latest),
        "blocks": sum(row["decision"] == "block" for row in latest),
        "goals": sum(row["goal"] for row in latest),
    }


def latest_return(rows: Sequence[Mapping[str, Any]], episodes: int = 20, reach: int = 5000) -> float:
    """The mean return of the latest whole episodes among the latest steps; NaN where there is none.

    >>> latest_return([{"episode": e, "reward": r} for e, r in ((0, 1.0), (0, 2.0), (1, 5.0), (2, 9.0))])
    4.0
    """
    returns: dict[int, float] = {}
    for row in rows[-reach:]:
        returns[row["episode"]] = returns.get(row["episode"], 0.0) + row["reward"]
    whole = list(returns.values())[int(len(rows) > reach) : -1]  # the first may have begun before, the last goes on
    return float(np.mean(whole[-episodes:])) if whole else float("nan")


def worst_stretch(events: Sequence[bool] | Bools, length: int = WORST_STRETCH) -> int:
    """The most events in so many steps on end: what a burst after a bad refit looks like.

    >>> worst_stretch([True, False, False, True, True], length=3)
    2
    """
    total = np.concatenate([[0], np.cumsum(np.asarray(events, int))])
    width = min(length, len(events))
    return int((total[width:] - total[: len(total) - width]).max()) if width else 0


def blocks_per_100(blocks: int, steps: int) -> float:
    """Blocks in 100 steps; 0 without a step.

    >>> blocks_per_100(40, 400), blocks_per_100(0, 0)
    (10.0, 0.0)
    """
    return 100 * blocks / max(1, steps)


def percentiles(values: Floats) -> dict[str, float | None]:
    """Median and 99th percentile of some milliseconds; None without any.

    >>> percentiles(np.array([1.0, 2.0, 3.0]))
    {'p50': 2.0, 'p99': 2.98}
    """
    if not len(values):
        return {"p50": None, "p99": None}
    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}


def _decisions(columns: Mapping[str, Sequence[Any]], count: int) -> Decisions:
    def column(name: str) -> Sequence[Any]:
        return columns.get(name, [None] * count)

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
        demonstrated=flags("demonstrated"),
        feasible=numbers("feasible"),
        needless=numbers("needless"),
        needed=numbers("needed"),
        spare=numbers("spare"),
        cause=np.array([value or "" for value in column("cause")], np.str_),
        latency_ms=numbers("latency_ms"),
        plan_ms=numbers("plan_ms"),
    )
