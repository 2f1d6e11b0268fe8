"""An environment that can be put back to where it stood: its episode is begun as it was, and played again."""

from __future__ import annotations

import copy
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from heed.errors import HeedError
from heed.runs.state import State


@runtime_checkable
class KeepsState(Protocol):
    """An environment whose chance is not ``np_random`` alone says before a reset what else it goes on from."""

    def get_state(self) -> Any:
        """Plain data, arrays and tensors: all else that following episodes depend on."""
        ...

    def set_state(self, state: Any) -> None:
        """Go on from there at the next reset."""
        ...


class Rewinding(gym.Wrapper[Any, Any, Any, Any]):
    """Remembers what its episode was begun with and what was done in it.

    An episode of an environment follows from the state of its ``np_random`` before the reset (and what `KeepsState`
    says, where the environment has that) and from the actions. So these are all that has to be kept of it.

    Args:
        env: any environment.
        name: what errors call it.

    >>> import heed.worlds
    >>> env, again = (Rewinding(gym.make("heed/PointHazard-v0"), "PointHazard") for _ in range(2))
    >>> _ = env.reset(seed=3), env.reset(), env.step(env.action_space.high)
    >>> seen = env.step(env.action_space.low)[0]
    >>> _ = again.reset(seed=9)
    >>> bool((again.replay(env.kept(), seen)[0] == seen).all())
    True
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        super().__init__(env)
        self._name = name
        self._begun: State = {"seed": None, "options": None, "chance": None, "own": None}
        self._actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        chance = self._chance() if seed is None else None
        self._begun = {"seed": seed, "options": options, "chance": chance, "own": self._own()}
        self._actions = []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        self._actions.append(np.array(action) if isinstance(action, np.ndarray) else action)
        return self.env.step(action)

    def kept(self) -> State:
        """What `replay` needs."""
        return {**self._begun, "actions": list(self._actions)}

    def replay(self, state: State, expected: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the episode as it was begun, and do again what was done in it.

        Args:
            state: what `kept` gave.
            expected: the observation where it stood.

        Returns:
            The observation and the info where it stands.

        Raises:
            HeedError: it stands elsewhere.
        """
        unwrapped: Any = self.env.unwrapped
        if state["own"] is not None and isinstance(unwrapped, KeepsState):
            unwrapped.set_state(state["own"])
        if state["chance"] is not None:
            unwrapped.np_random.bit_generator.state = state["chance"]
        observation, info = self.env.reset(seed=state["seed"], options=state["options"])
        for action in state["actions"]:
            observation, _, _, _, info = self.env.step(action)
        self._begun, self._actions = {name: state[name] for name in self._begun}, list(state["actions"])
        if not np.array_equal(np.asarray(observation), np.asarray(expected), equal_nan=True):
            raise HeedError(
                f"{self._name} does not come back to where it stood, as its chance is not np_random alone",
                "--resume",
                "give it get_state() and set_state(state), or start the run anew",
            )
        return observation, info

    def _chance(self) -> Any:
        generator = self.env.unwrapped.np_random
        return generator.bit_generator.state if isinstance(generator, np.random.Generator) else None

    def _own(self) -> Any:
        unwrapped = self.env.unwrapped
        return copy.deepcopy(unwrapped.get_state()) if isinstance(unwrapped, KeepsState) else None
