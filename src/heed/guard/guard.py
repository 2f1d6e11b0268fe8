"""The guard: a Gymnasium wrapper that looks before it leaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, Unpack

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from heed.errors import HeedError
from heed.guard.decisions import Decision, DecisionInfo, Step
from heed.guard.intervention import Intervention, Nobody, Overseen, fail_closed
from heed.guard.keeping.folder import load_guard, save_guard
from heed.guard.keeping.known import Code
from heed.guard.planning.imagination import Controller
from heed.guard.situations import Faults, Situation, situations_of
from heed.guard.spaces import warn_of_running_statistics
from heed.oversight.overseers.base import Overseer

Observer = Callable[[Step], None]
"""Called after each step, in the order of a guard's list."""


class Guarding:
    """What guards in front of one environment and of many have in common: they step and record, and judge nothing.

    Args:
        situations: of each environment.
        overseer: see `Guard`, as for what follows.
        intervention: decides.
        penalty: the price of a blocked step.
        observers: called after each step.

    Raises:
        HeedError: both an overseer and an intervention.
    """

    def __init__(
        self,
        situations: list[Situation],
        overseer: Overseer | None,
        intervention: Intervention | None,
        penalty: float,
        observers: Sequence[Observer],
    ) -> None:
        if overseer is not None and intervention is not None:
            raise HeedError(
                "an overseer and an intervention would both decide", type(self).__name__, "give one of them"
            )
        self.situations, self._overseer = situations, overseer
        self.penalty, self.observers = penalty, list(observers)
        default: Intervention = Nobody() if overseer is None else Overseen(overseer)
        self.intervention = default if intervention is None else intervention

    @property
    def intervention(self) -> Intervention:
        """Decides on every proposed action; whatever is set here fails closed."""
        return self._intervention

    @intervention.setter
    def intervention(self, intervention: Intervention) -> None:
        if len(self.situations) > 1 and intervention.needs_env:
            raise HeedError(
                f"an oracle looks into one environment, and here are {len(self.situations)}",
                f"{type(self).__name__}, intervention",
                "give overseer_of, which makes one for each",
            )
        self._intervention = fail_closed(intervention)

    @property
    def overseer(self) -> Overseer | None:
        """Whom the guard was given; set ``intervention`` to have somebody else decide."""
        return self._overseer

    @property
    def faults(self) -> Faults:
        """How often what went wrong."""
        return self.situations[0].faults

    @property
    def policy(self) -> Controller | None:
        """Whose futures are imagined; None before there is a lookahead. A loaded guard's acts, too (`PlainPolicy`)."""
        lookahead = self.intervention.looking
        return None if lookahead is None or lookahead.parts is None else lookahead.parts.controllers.policy

    def save(self, folder: Path | str) -> None:
        """Write all that looking ahead needs into a folder, whole or not at all: numbers and plain data, no code.

        Kept are the models with their threshold and range, the settings, the spaces, the imagination's chance, and the
        policy of a learner of Stable-Baselines3 that is an ``MlpPolicy``. The guard that `load` makes of it decides as
        this one does from the next reset on, but is not audited, and asks nobody where it blocks on and on.

        Args:
            folder: absent, empty, or one that a guard was saved in.

        Raises:
            HeedError: nothing looks ahead yet, or the folder holds something else.
            OSError: the disk refuses.
        """
        save_guard(folder, self.intervention, self.situations[0], self.penalty)

    @contextmanager
    def evaluating(self, intervention: Intervention | None = None) -> Iterator[None]:
        """Within: steps teach nothing, are counted nowhere and cost no penalty; the guard decides as before.

        For `stable_baselines3.common.evaluation.evaluate_policy` and the like in the environment of training. It
        interrupts the episode there, so that it belongs before or after learning; during it, evaluate in an environment
        of its own.

        Args:
            intervention: decides meanwhile, such as `Off()`; None is the present one.
        """
        before = (self.intervention, self.observers, self.penalty)
        try:
            self.intervention, self.observers, self.penalty = intervention or self.intervention, [], 0.0
            yield
        finally:
            self.intervention, self.observers, self.penalty = before

    def tell(self, step: Step) -> float:
        """Tell the observers of a step.

        Returns:
            The reward that the learner gets: the environment's, less the penalty of a blocked step.
        """
        for observer in self.observers:
            observer(step)
        return step.reward - self.penalty if step.decision.decision == "block" else step.reward


class Guard(Guarding, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Has every proposed action judged before the environment sees it (MBHI; docs/methods.md).

    The intervention decides; the guard steps and records. Nothing is executed unjudged: whatever fails on the way
    counts as a block.

    Args:
        env: any Gymnasium 1.x environment with a Box observation of one dimension and a Box or Discrete action.
        overseer: a person or a script who judges every action; short for ``intervention=Overseen(overseer)``.
        intervention: decides (`heed.guard.intervention`); `Phases` swaps it. Without it and without an overseer every
            action is blocked.
        safe_action: from an observation the declared safe action, taken where nothing better is found; None takes the
            centre of the box, or the first choice.
        penalty: taken from the reward of a blocked step.
        observers: called after each step, in order: what records, and what training stands on.

    Raises:
        HeedError: a space that the guard cannot reason about.

    >>> import heed.worlds
    >>> from heed.oversight import local_overseer
    >>> env = gym.make("heed/PointHazard-v0")
    >>> guard = Guard(env, overseer=local_overseer(env))
    >>> _ = guard.reset(options={"state": [3.9, 0.0, 1.5, 0.0]})
    >>> guard.step(guard.action_space.high)[4]["guard"]["decision"]
    'block'
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        overseer: Overseer | None = None,
        *,
        intervention: Intervention | None = None,
        safe_action: Callable[[Any], Any] | None = None,
        penalty: float = 0.0,
        observers: Sequence[Observer] = (),
    ) -> None:
        RecordConstructorArgs.__init__(self, penalty=penalty)  # made anew from a spec it has nobody, and blocks
        gym.Wrapper.__init__(self, env)
        warn_of_running_statistics(env)
        situations = situations_of([env], env.observation_space, env.action_space, safe_action)
        Guarding.__init__(self, situations, overseer, intervention, penalty, observers)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        env: gym.Env[Any, Any],
        *,
        overseer: Overseer | None = None,
        observers: Sequence[Observer] = (),
        **code: Unpack[Code],
    ) -> Self:
        """The guard that `save` wrote, in front of an environment; it needs no learner and none of its packages.

        Args:
            folder: of the guard.
            env: with the spaces that it was saved with.
            overseer: asked where it is unsure, if the saved one asked.
            observers: see the class.
            code: functions that the saved guard stood on and that neither the folder holds nor the environment's oracle
                says: ``policy``, ``brake``, ``value``, ``termination``, ``reward``, ``dynamics``, ``danger``,
                ``safe_action`` (`heed.guard.keeping.known.Code`).

        Raises:
            HeedError: no saved guard, a damaged one, one of another format or for other spaces; functions that are
                missing, or that say other things than those of the saved guard.
        """
        spaces = (env.observation_space, env.action_space)
        loaded = load_guard(folder, env, spaces, overseer, code)
        made = cls(env, safe_action=loaded.safe_action, penalty=loaded.penalty, observers=observers)
        made.intervention = loaded.intervention
        return made

    @property
    def situation(self) -> Situation:
        """Where the environment stands.

        Raises:
            HeedError: it was never reset.
        """
        if self.situations[0].episode < 0:
            raise HeedError("the guard has not seen where the agent is", "Guard.step", "call reset first")
        return self.situations[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.situations[0].begin(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Have the action judged, execute it or a safe one, and say which in ``info["guard"]``."""
        decision = self.intervention.decide(self.situation, action)
        observation, reward, terminated, truncated, info = self.env.step(decision.executed)
        return self.record(decision, observation, float(reward), terminated, truncated, info)

    def decide(self, proposed: Any) -> Decision:
        """The decision on an action here and now; nothing is executed."""
        return self.intervention.decide(self.situation, proposed)

    def record(
        self,
        decision: Decision,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Remember where a decision led, tell the observers, and return what the learner sees of it."""
        step = self.situation.advance(decision, observation, reward, terminated, truncated, info)
        return observation, self.tell(step), terminated, truncated, info | {"guard": DecisionInfo(decision.info())}
