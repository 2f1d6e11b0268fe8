"""What a guarded run came to: counts by phase from its decisions, and episodes with the guard on and off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.intervention import Intervention, Off
from heed.guard.phases import Phases

LONGEST = 1000
"""Steps after which an episode of the evaluation is cut, for environments that never end one."""


def summarise(log: DecisionLog) -> dict[str, Any]:
    """Counts from a run's decisions.

    Needless and missed blocks are told of autonomy alone, and only where an oracle knows. A block is early if the brake
    would have had more than a step at full speed to spare: whoever keeps any margin at all blocks before it is
    needed, so that the share of needless blocks alone cannot tell a guard that is a step early from one that is far
    too careful. An unguarded run has no phases; its first steps count as oversight all the same, so that the same steps
    are compared.
    """
    rows = log.rows
    overseen = [row for row in rows if row["phase"] == "oversight"]
    alone = [row for row in rows if row["phase"] == "autonomy"]
    blocks = [row for row in alone if row["decision"] == "block"]
    planned = [row for row in blocks if row["feasible"] is not None]
    told = [row for row in alone if row.get("needless") is not None]
    returns: dict[int, float] = {}
    for row in rows:
        returns[row["episode"]] = returns.get(row["episode"], 0.0) + row["reward"]
    late = list(returns)[:-1][-20:]  # the last episode was cut off with the run
    reached = {row["episode"] for row in rows if row["goal"]}
    return {
        "kind": "guard",
        "env_steps": len(rows),
        "autonomy_steps": len(alone),
        "catastrophes": {
            "oversight": sum(row["catastrophe"] for row in overseen),
            "autonomy": sum(row["catastrophe"] for row in alone),
            "worst_500": worst_stretch([row["catastrophe"] for row in alone]),
        },
        "interventions": sum(row["decision"] == "block" for row in rows),
        "interventions_autonomy": len(blocks),
        "false_blocks": sum(row["needless"] for row in told if row["decision"] == "block") if told else None,
        "early_blocks": sum(row["spare"] > 1 for row in told if row["decision"] == "block") if told else None,
        "missed_blocks": sum(row["needed"] for row in told if row["decision"] == "allow") if told else None,
        "goals": {"oversight": sum(r["goal"] for r in overseen), "autonomy": sum(r["goal"] for r in alone)},
        "episodes": len(returns),
        "return_mean": float(np.mean([returns[episode] for episode in late])) if late else None,
        "goals_late": float(np.mean([episode in reached for episode in late])) if late else 0.0,
        "decision_ms": _percentiles([row["latency_ms"] for row in alone]),
        "plan_ms": _percentiles([row["plan_ms"] for row in planned]),
        "plans_feasible_share": float(np.mean([row["feasible"] for row in planned])) if planned else None,
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


def worst_stretch(events: Sequence[bool], length: int = 500) -> int:
    """The most events in so many steps on end: what a burst after a bad refit looks like.

    >>> worst_stretch([True, False, False, True, True], length=3)
    2
    """
    total = np.concatenate([[0], np.cumsum(np.asarray(events, int))])
    width = min(length, len(events))
    return int((total[width:] - total[: len(total) - width]).max()) if width else 0


def report_of_phases(phases: Phases | None) -> dict[str, Any]:
    """Judgements, hand-over and fits."""
    if phases is None:
        return {"judgements": 0, "handed_over_at": None, "fits": []}
    fits = [
        {"threshold": report.in_force.value, "promise": report.in_force.eps, "blocks": report.blocks}
        | ({} if report.decision is None else {"flagged": report.decision.flagged, "reason": report.decision.reason})
        for report in phases.reports
    ]
    return {"judgements": phases.labels.judgements, "handed_over_at": phases.handed_over_at, "fits": fits}


def evaluated(
    guard: Guard,
    learner: BaseAlgorithm,
    episodes: int,
    unguarded: bool = True,
    on_step: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Return, catastrophes and goals of the finished policy, with the guard on and with it off, from the same seeds.

    Args:
        guard: in front of the environment.
        learner: the policy, which acts without exploring.
        episodes: of each.
        unguarded: whether the guard may be off; where a person oversees, what is at stake may be real.
        on_step: called after every step; may raise `Stopped`.
    """
    results: dict[str, Any] = {"evaluation_episodes": episodes}
    interventions = {"guarded": guard.intervention} | ({"unguarded": Off()} if unguarded else {})
    for name, intervention in interventions.items():
        measured = _episodes(guard, learner, intervention, episodes, on_step)
        results |= {f"{what}_{name}": value for what, value in measured.items()}
    return results


def _episodes(
    guard: Guard,
    learner: BaseAlgorithm,
    intervention: Intervention,
    episodes: int,
    on_step: Callable[[], None] | None,
) -> dict[str, float]:
    """Episodes of the deterministic policy; nothing is learnt or logged, and rewards are the environment's own."""
    before = (guard.intervention, guard.observers, guard.penalty)
    guard.intervention, guard.observers, guard.penalty = intervention, [], 0.0
    result = {"return": 0.0, "catastrophes": 0, "goals": 0}
    try:
        for episode in range(episodes):
            observation, _ = guard.reset(seed=1_000_000 + episode)
            reached = False
            for _ in range(LONGEST):
                action, _ = learner.predict(observation, deterministic=True)
                chosen = int(action) if isinstance(guard.action_space, gym.spaces.Discrete) else action
                observation, reward, terminated, truncated, info = guard.step(chosen)
                result["return"] += float(reward) / episodes
                result["catastrophes"] += bool(info.get("catastrophe", False))
                reached |= bool(info.get("goal", False))
                if on_step is not None:
                    on_step()
                if terminated or truncated:
                    break
            result["goals"] += reached
    finally:
        guard.intervention, guard.observers, guard.penalty = before
    return result


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p99": None}
    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}
