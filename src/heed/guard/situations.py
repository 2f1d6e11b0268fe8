"""Where the environments behind a guard stand: all that an intervention decides by."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.guard.actions import ActionCoder, state_vector
from heed.guard.decisions import Decision, Step
from heed.guard.spaces import check_observations
from heed.runs.state import State

logger = logging.getLogger(__name__)


_KEPT = ("episode", "timestep", "blocked", "unconfirmed", "way_out")


class Faults(Counter[str]):
    """How often what went wrong; each kind is logged the first time."""

    def report(self, what: str) -> None:
        """Count one more of a kind."""
        self[what] += 1
        if self[what] == 1:
            logger.warning("%s", what)


@dataclass
class EpisodeNumbers:
    """Gives each episode of any environment a number of its own.

    >>> numbers = EpisodeNumbers()
    >>> numbers.take(), numbers.take()
    (0, 1)
    """

    following: int = 0

    def take(self) -> int:
        """The next one."""
        self.following += 1
        return self.following - 1


@dataclass(eq=False)
class Situation:
    """One environment, where it stands, and what a guard can do in it.

    Args:
        number: of the environment, from 0.
        env: for overseers that look into it; None where it is out of reach.
        space: of its observations.
        actions: between its actions and vectors.
        safe_action: from an observation the declared safe action; None where none is declared.
        faults: of the guard.
        episodes: gives each episode its number.

    Attributes:
        observation: the last one; None before the first reset.
        info: what the environment said with it.
        state: the observation as the guard reasons about it, float32 [S], a copy.
        episode: the present one's number; -1 before the first.
        timestep: steps taken in it.
        blocked: whether the last action of this episode was blocked.
        unconfirmed: blocks on end that the guard decided on and no overseer has confirmed; what an overseer lets pass
            among them does not end them, and one who was asked in vain begins them anew.
        way_out: a plan that was safe from the last step on, moved on by one step, [n, A]; None where none is known.
    """

    number: int
    env: gym.Env[Any, Any] | None
    space: gym.Space[Any]
    actions: ActionCoder
    safe_action: Callable[[Any], Any] | None
    faults: Faults
    episodes: EpisodeNumbers
    observation: Any = None
    info: dict[str, Any] = field(default_factory=dict)
    state: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    episode: int = -1
    timestep: int = 0
    blocked: bool = False
    unconfirmed: int = 0
    way_out: Tensor | None = None

    @property
    def state_size(self) -> int:
        """S, the numbers of a state."""
        return check_observations(self.space)

    @property
    def tensor(self) -> Tensor:
        """The state as a tensor, float32 [S]."""
        return torch.from_numpy(self.state)

    def begin(self, observation: Any, info: dict[str, Any]) -> None:
        """An episode begins."""
        self._see(observation, info)
        self.episode, self.timestep, self.blocked, self.way_out = self.episodes.take(), 0, False, None
        self.unconfirmed = 0

    def advance(
        self,
        decision: Decision,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> Step:
        """The decision was carried out, and led here.

        Returns:
            The step as observers see it.
        """
        before = self.state
        self._see(observation, info)
        self.timestep += 1
        self.blocked = decision.decision == "block"
        if decision.verdict is None:
            self.unconfirmed = self.unconfirmed + decision.judged if self.blocked else 0
        elif self.blocked or not decision.asked:
            self.unconfirmed = 0
        self.way_out = self.way_out if decision.way_out is None else decision.way_out
        usable = self.actions.valid(decision.proposed)
        return Step(
            state=before,
            proposed=self.actions.encode(decision.proposed).numpy() if usable else None,
            executed=self.actions.encode(decision.executed).numpy(),
            decision=decision,
            next_state=self.state.copy(),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            catastrophe=bool(info.get("catastrophe", False)),
            info=info,
            stream=self.number,
            episode=self.episode,
            timestep=self.timestep,
            observation=observation,
        )

    def fallback(self) -> Any:
        """The declared safe action, as the environment takes it; the box's centre, or the first choice, without one."""
        idle = self.actions.decode(self.actions.nothing())
        if self.safe_action is None:
            return idle
        try:
            action = self.safe_action(self.observation)
        except Exception as problem:  # noqa: BLE001 - it is foreign code, and the last line of defence
            self.faults.report(f"the declared safe action failed ({type(problem).__name__}: {problem})")
            return idle
        if (meant := self.actions.meant(action)) is not None:
            return meant
        self.faults.report("the declared safe action is not in the action space")
        return idle

    def kept(self) -> State:
        """Where it stands, without what the environment itself says of that."""
        return {name: getattr(self, name) for name in _KEPT} | {"following": self.episodes.following}

    def restore(self, state: State, observation: Any, info: dict[str, Any]) -> None:
        """Stand where it was kept; the environment says the same there."""
        self._see(observation, info)
        self.episodes.following = state["following"]
        for name in _KEPT:
            setattr(self, name, state[name])

    def _see(self, observation: Any, info: dict[str, Any]) -> None:
        self.observation, self.info, self.state = observation, info, state_vector(observation, self.space)


def copied(value: Any) -> Any:
    """A deep copy of what an environment says; what cannot be copied, such as a simulator's handle, is left as it is.

    >>> import threading
    >>> lock, seen = threading.Lock(), [1.0]
    >>> shown = copied({"sim": {"lock": lock, "seen": seen}})
    >>> shown["sim"]["lock"] is lock, shown["sim"]["seen"] == seen, shown["sim"]["seen"] is seen
    (True, True, False)
    """
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - foreign things may raise anything when they are copied
        if type(value) is dict:
            return {key: copied(each) for key, each in value.items()}
        return type(value)(map(copied, value)) if type(value) in (list, tuple) else value


def situations_of(
    envs: Sequence[gym.Env[Any, Any] | None],
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
    safe_action: Callable[[Any], Any] | None,
) -> list[Situation]:
    """A situation for each of several environments with the same spaces, which share faults and episodes' numbers.

    Raises:
        HeedError: a space that a guard cannot reason about.
    """
    check_observations(observation_space)
    shared = (observation_space, ActionCoder(action_space), safe_action, Faults(), EpisodeNumbers())
    return [Situation(number, env, *shared) for number, env in enumerate(envs)]
