"""What the guard decided at one step, and the file that keeps every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heed.guard.planning.lookahead import Look
from heed.guard.planning.planner import Plan

Verdict = Literal["allow", "block"]


Source = Literal["policy", "person", "blocker", "planner", "fallback"]


@dataclass(frozen=True)
class Decision:
    """One step's decision; ``info["guard"]`` holds its fields by name, but for the look and the plan.

    Args:
        proposed: the learner's action, as the environment takes it.
        executed: the action that was taken.
        decision: allow or block.
        source: who chose the executed action: the policy (allowed), a person (who gave one), the blocker (blocked, the
            declared safe action taken), the planner, or the fallback (nothing safe was found, or something failed).
        risk: of the proposed action, in [0, 1]; NaN where nobody looked.
        member_risk: the same as each member of the dynamics tells it, empty where nobody looked.
        first_unsafe: the policy's first unsafe step, from 0, or None.
        asked: whether a person judged.
        judged: whether anybody or anything did; not where what should have judged failed, which blocks and teaches
            nothing.
        key: of a person's judgement, by which it can be taken back; "" where there is none.
        credit: steps before this one that a person's block is about as well.
        struck: a person said that the state before this step was a catastrophe.
        feasible: whether the planner's plan was below the threshold; None without a plan. Where the
            action was allowed, the plan begins with it and is why.
        latency_ms: from the proposal to the decision, milliseconds.
        plan_ms: of that in the planner, 0 where it was not asked.
        look: what the guard saw; None where nobody looked.
        plan: what the planner found; None without a plan.
    """

    proposed: Any
    executed: Any
    decision: Verdict
    source: Source
    risk: float = float("nan")
    member_risk: tuple[float, ...] = ()
    first_unsafe: int | None = None
    asked: bool = False
    judged: bool = True
    key: str = ""
    credit: int = 0
    struck: bool = False
    feasible: bool | None = None
    latency_ms: float = 0.0
    plan_ms: float = 0.0
    look: Look | None = field(default=None, repr=False, compare=False)
    plan: Plan | None = field(default=None, repr=False, compare=False)

    def info(self) -> dict[str, Any]:
        """The fields by name; look and plan are for the guard's observer, who sees the whole decision."""
        return {name: value for name, value in vars(self).items() if name not in ("look", "plan")}


@dataclass(frozen=True, eq=False)
class Step:
    """One step as the guard's observer sees it.

    Args:
        state: before it, [S].
        proposed: the learner's action as a vector [A]; None where it was no action.
        executed: the action taken, as a vector [A].
        decision: the guard's.
        next_state: after it, [S].
        reward: the environment's own.
        terminated: the episode ended by the world's rule.
        truncated: the episode was cut off.
        catastrophe: what ``info["catastrophe"]`` says, false where it says nothing.
        info: all of it.
        stream: number of the environment, where there are several.
        episode: the number of the episode, which no other of any environment has.
    """

    state: NDArray[np.float32]
    proposed: NDArray[np.float32] | None
    executed: NDArray[np.float32]
    decision: Decision
    next_state: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    catastrophe: bool
    info: dict[str, Any]
    stream: int = 0
    episode: int = 0
