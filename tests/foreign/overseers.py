"""Overseers of the ten environments: at the last moment, or in time for a simple recovery to help.

Both try the proposed action in a twin of the environment, as somebody who knows the machine does in their head: chance
is left out of it. In the run nobody but they looks into the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heed.oversight import Proposal, Scope, Verdict

Rule = Callable[[Any, Mapping[str, Any]], bool]


class LastMoment:
    """Blocks what leads into a catastrophe at the very next step.

    Args:
        env: whose actions are proposed; `Twinned`.
        catastrophe: the environment's rule.
    """

    name = "last-moment"
    scope = Scope(last_moment=True, needs_env=True, scripted=True)

    def __init__(self, env: Any, catastrophe: Rule) -> None:
        self._real = env.unwrapped
        self._twin, self._catastrophe = self._real.twin(), catastrophe

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the action's next state is a catastrophe."""
        self._twin.mirror(self._real)
        return Verdict(self._step(proposal.action)[1])

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def _step(self, action: Any) -> tuple[Any, bool, bool]:
        """Where the twin is then, whether that is a catastrophe, and whether the episode is over."""
        observation, reward, terminated, _, info = self._twin.step(action)
        seen = {**info, "reward": float(reward), "terminated": bool(terminated)}
        broken = bool(self._catastrophe(observation, seen))
        return observation, broken, broken or bool(terminated)


class InTime(LastMoment):
    """Blocks what leads to where a simple recovery, begun at once after it, no longer helps.

    Args:
        env: whose actions are proposed; `Twinned`.
        catastrophe: the environment's rule.
        recovery: from an observation, the action that a person would try.
        steps: of it that are followed; longer than it takes.
    """

    name = "in-time"
    scope = Scope(needs_env=True, scripted=True)

    def __init__(self, env: Any, catastrophe: Rule, recovery: Callable[[Any], Any], steps: int) -> None:
        super().__init__(env, catastrophe)
        self._recovery, self._steps = recovery, steps

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the action, and the recovery after it, end in a catastrophe."""
        self._twin.mirror(self._real)
        observation, broken, over = self._step(proposal.action)
        for _ in range(self._steps):
            if over:
                break
            observation, broken, over = self._step(self._recovery(observation))
        return Verdict(broken)
