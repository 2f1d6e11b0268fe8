"""What a guarded run came to: what its models were fitted to, and episodes with the guard on and off.

The counts by phase are `heed.guard.run.counts`' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm

from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.intervention import Intervention, Off
from heed.guard.run.counts import decisions_of
from heed.guard.run.phases import RunPhases

LONGEST = 1000
"""Steps after which an episode of the evaluation is cut, for environments that never end one."""


def summarise(log: DecisionLog) -> dict[str, Any]:
    """Counts from a run's decisions, as `Decisions.summary` has them."""
    return decisions_of(log.rows).summary()


def report_of_phases(phases: RunPhases | None) -> dict[str, Any]:
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
    """Returns, catastrophes and goals of the finished policy, with the guard on and with it off, from the same seeds.

    A run without a guard has no first half.

    Args:
        guard: in front of the environment.
        learner: the policy, which acts without exploring.
        episodes: of each.
        unguarded: whether the guard may be off; where a person oversees, what is at stake may be real.
        on_step: called after every step; may raise `Stopped`.
    """
    results: dict[str, Any] = {"evaluation_episodes": episodes}
    guarded = not isinstance(guard.intervention, Off)
    interventions: dict[str, Intervention] = {"guarded": guard.intervention.alone} if guarded else {}
    interventions |= {"unguarded": Off()} if unguarded else {}
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
) -> dict[str, Any]:
    """Episodes of the deterministic policy; nothing is learnt or logged, and rewards are the environment's own."""
    result: dict[str, Any] = {"return": 0.0, "returns": [0.0] * episodes, "catastrophes": 0, "goals": 0}
    with guard.evaluating(intervention):
        for episode in range(episodes):
            observation, _ = guard.reset(seed=1_000_000 + episode)
            reached = False
            for _ in range(LONGEST):
                action, _ = learner.predict(observation, deterministic=True)
                chosen = int(action) if isinstance(guard.action_space, gym.spaces.Discrete) else action
                observation, reward, terminated, truncated, info = guard.step(chosen)
                result["return"] += float(reward) / episodes
                result["returns"][episode] += float(reward)
                result["catastrophes"] += bool(info.get("catastrophe", False))
                reached |= bool(info.get("goal", False))
                if on_step is not None:
                    on_step()
                if terminated or truncated:
                    break
            result["goals"] += reached
    return result
