"""A wrapper that says in ``info`` what a catastrophe is, in an environment that knows none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

Rule = Callable[[Any, Mapping[str, Any]], bool]
"""``rule(observation, info)`` on one state."""


class CatastropheInfo(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Sets ``info["catastrophe"]`` by a rule; where it is true, 5 go off the reward, and the episode ends.

    The rule sees the new observation and the environment's info, to which "reward" and "terminated" of this step are
    added: some environments say only by them that something has been broken.

    Args:
        env: any environment.
        catastrophe: ``catastrophe(observation, info)``.
        penalty: added to the reward at a catastrophe; 0 keeps the environment's own.
        ends: whether a catastrophe ends the episode.

    >>> env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: abs(observation[2]) > 0.05)
    >>> _ = env.reset(seed=0)
    >>> for _ in range(5):
    ...     _, reward, terminated, _, info = env.step(1)
    >>> info["catastrophe"], terminated, reward
    (True, True, -4.0)
    """

    def __init__(self, env: gym.Env[Any, Any], catastrophe: Rule, penalty: float = -5.0, ends: bool = True) -> None:
        RecordConstructorArgs.__init__(self, catastrophe=catastrophe, penalty=penalty, ends=ends)
        gym.Wrapper.__init__(self, env)
        self._catastrophe, self._penalty, self._ends = catastrophe, penalty, ends

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; its first state is no catastrophe."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "catastrophe": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step, and judge where that led."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        seen = {**info, "reward": float(reward), "terminated": bool(terminated)}
        catastrophe = bool(self._catastrophe(observation, seen))
        reward = float(reward) + (self._penalty if catastrophe else 0.0)
        terminated = bool(terminated) or (self._ends and catastrophe)
        return observation, reward, terminated, truncated, {**info, "catastrophe": catastrophe}
