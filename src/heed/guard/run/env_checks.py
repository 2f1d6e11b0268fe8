"""An environment whose faults end a run in one line that names the environment, the step and the episode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from heed.errors import HeedError, RunFailed, Stopped
from heed.runs.state import State


class EnvironmentChecks(gym.Wrapper[Any, Any, Any, Any]):
    """Raises `RunFailed` where the environment raises anything, or gives an observation or reward that is no number.

    A guard blocks where it is shown a NaN, but a learner that has learnt from one is lost.

    Args:
        env: any environment with a Box observation.
        name: what the line calls it.

    >>> class Broken(gym.Env):
    ...     observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    ...     def reset(self, *, seed=None, options=None):
    ...         return np.zeros(2), {}
    ...     def step(self, action):
    ...         return np.array([0.0, np.nan]), 1.0, False, False, {}
    >>> env = EnvironmentChecks(Broken(), "Broken")
    >>> _ = env.reset()
    >>> env.step(0)
    Traceback (most recent call last):
    heed.errors.RunFailed: Broken gave the observation [0.0, nan] in step 1 of episode 1; no checkpoint was written yet
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        self._name, self._episode, self._step = name, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            RunFailed: the environment fails.
        """
        self._episode, self._step = self._episode + 1, 0
        with self._in_words():
            observation, info = self.env.reset(seed=seed, options=options)
        self._check(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            RunFailed: the environment fails.
        """
        self._step += 1
        with self._in_words():
            observation, reward, terminated, truncated, info = self.env.step(action)
        self._check(observation)
        paid = float(reward)
        if not np.isfinite(paid):
            raise RunFailed(f"{self._name} gave the reward {paid} in {self._here}")
        return observation, paid, terminated, truncated, info

    def kept(self) -> State:
        """Which step of which episode it is; in files episodes are counted from 0, and before the first it is -1."""
        return {"episode": self._episode - 1, "step": self._step}

    def restore(self, state: State) -> None:
        """Count on from there."""
        self._episode, self._step = state["episode"] + 1, state["step"]

    @property
    def _here(self) -> str:
        return f"{f'step {self._step}' if self._step else 'the reset'} of episode {self._episode}"

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (HeedError, RunFailed, Stopped):
            raise
        except Exception as problem:  # a foreign environment may raise anything
            if self._episode == 1 and self._step <= 1 and _of_another_interface(problem):
                raise HeedError(
                    f"{self._name} does not follow Gymnasium 1.x: {reason_of(problem)} in {self._here}", "--env",
                    "reset gives (observation, info), step (observation, reward, terminated, truncated, info): put it "
                    "into a wrapper that does, such as safety_gymnasium.wrappers.SafetyGymnasium2Gymnasium, whose "
                    'info["cost"] --catastrophe may read, or gymnasium.make("GymV21Environment-v0", env=...) of shimmy',
                ) from problem  # fmt: skip
            raise RunFailed(f"{self._name} failed in {self._here}: {reason_of(problem)}") from problem

    def _check(self, observation: Any) -> None:
        result = np.asarray(observation, np.float64)
        if result.shape != self.observation_space.shape:
            shapes = f"of the shape {list(result.shape)}, not {list(self.observation_space.shape or ())}"
            raise RunFailed(f"{self._name} gave an observation {shapes}, in {self._here}")
        if not np.isfinite(result).all():
            raise RunFailed(f"{self._name} gave the observation {result.tolist()} in {self._here}")


_OTHER = re.compile(
    r"values to unpack \(expected [25]|element tuple|not a mapping|unexpected keyword argument '(seed|options)'"
)
"""How Python and Gymnasium complain of what an environment of another interface gives, or cannot be given."""


def _of_another_interface(problem: Exception) -> bool:
    """Whether an error comes of a step of four or six parts, or a reset of one: old gym, safety-gymnasium."""
    return bool(_OTHER.search(str(problem)))


def reason_of(problem: Exception) -> str:
    r"""An error's kind and the first line of what it says.

    >>> reason_of(ValueError("too warm\nby far"))
    'ValueError: too warm'
    """
    first = next(iter(str(problem).strip().splitlines()), "no reason was given")
    return f"{type(problem).__name__}: {first}"
