"""The guard in front of many environments at once: Gymnasium's vector environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, Unpack

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from heed.errors import HeedError
from heed.guard.decisions import Decision
from heed.guard.guard import Guarding, Observer
from heed.guard.intervention import Intervention
from heed.guard.keeping.folder import load_guard
from heed.guard.keeping.known import Code
from heed.guard.situations import situations_of
from heed.guard.spaces import warn_of_running_statistics
from heed.oversight.overseers.base import Overseer, Proposal, Scope, Verdict, scope_of

_NUMBERS = {"risk": np.float64, "asked": np.bool_, "latency_ms": np.float64, "plan_ms": np.float64}
"""The fields of a decision that are always numbers; but for the two actions the others may be None."""


class VectorGuard(Guarding, VectorWrapper):
    """`Guard` for vector environments: each environment's actions are judged as its own guard would judge them.

    Who judges is shared, so that N environments teach one overseer's blockers; the ways out, the plans' warm starts and
    what the overseer sees are each environment's own.

    ``info["guard"]`` holds an array [N] for each field of `Decision` ([N, A] for actions in a box), as Gymnasium's
    vector infos do, and ``info["_guard"]`` says which environments acted: bool [N]. Where an episode has ended, an
    environment that resets in the next step (Gymnasium's default) ignores the action that it is given then: nothing is
    judged, executed or told to the observer, and ``_guard`` is false. `gymnasium.wrappers.vector.DictInfoToList` makes
    of it the very ``info["guard"]`` of a `Guard`, for each environment.

    Args:
        env: a vector environment whose metadata says how it resets (``autoreset_mode``), as Gymnasium's do.
        overseer: judges all environments while it is set: a person, a rule.
        overseer_of: in its place, makes one for each environment, which an oracle looks into, such as
            `heed.oversight.local_overseer`; needs `gymnasium.vector.SyncVectorEnv`, others hide their environments.
        intervention: see `Guard`, as for all that follows.
        safe_action: from one environment's observation, the declared safe action.
        penalty: taken from the reward of a blocked step.
        observers: called after each environment's step; ``stream`` says which environment's.

    Raises:
        HeedError: what `Guard` refuses, an oracle that cannot look into each environment, an environment that does not
            say how it resets.

    >>> import heed.worlds
    >>> from heed.oversight import local_overseer
    >>> envs = gym.make_vec("heed/PointHazard-v0", num_envs=2, vectorization_mode="sync")
    >>> guard = VectorGuard(envs, overseer_of=local_overseer)
    >>> _ = guard.reset(seed=0)
    >>> info = guard.step(np.array([[1.0, 0.0], [np.nan, 0.0]], np.float32))[4]
    >>> info["guard"]["decision"].tolist(), info["guard"]["executed"].tolist()
    (['allow', 'block'], [[1.0, 0.0], [0.0, 0.0]])
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, NDArray[Any]],
        overseer: Overseer | None = None,
        *,
        overseer_of: Callable[[gym.Env[Any, Any]], Overseer] | None = None,
        intervention: Intervention | None = None,
        safe_action: Callable[[Any], Any] | None = None,
        penalty: float = 0.0,
        observers: Sequence[Observer] = (),
    ) -> None:
        VectorWrapper.__init__(self, env)
        warn_of_running_statistics(env)
        if env.metadata.get("autoreset_mode") is None:
            raise HeedError(f"{env} does not say how it resets", "VectorGuard", 'set metadata["autoreset_mode"]')
        self._autoreset = AutoresetMode(env.metadata["autoreset_mode"])
        base = env.unwrapped
        inside = list(base.envs) if isinstance(base, SyncVectorEnv) else []
        envs: list[gym.Env[Any, Any] | None] = [*inside] if inside else [None] * env.num_envs
        if overseer_of is not None:
            if not inside:
                raise HeedError(
                    f"nobody can look into the environments of {type(base).__name__}",
                    "VectorGuard, overseer_of",
                    "take gymnasium.vector.SyncVectorEnv, or an overseer that judges by observation and action",
                )
            overseer = OverseerOfEach(inside, [overseer_of(each) for each in inside])
        elif len(inside) != 1 and overseer is not None and scope_of(overseer).needs_env:
            raise HeedError(
                f"an oracle ({overseer.name}) looks into one environment, and here are {len(envs)}",
                "VectorGuard, overseer",
                "give overseer_of, which makes one for each",
            )
        situations = situations_of(envs, env.single_observation_space, env.single_action_space, safe_action)
        Guarding.__init__(self, situations, overseer, intervention, penalty, observers)
        self._resetting = np.zeros(len(envs), np.bool_)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        env: VectorEnv[Any, Any, NDArray[Any]],
        *,
        overseer: Overseer | None = None,
        observers: Sequence[Observer] = (),
        **code: Unpack[Code],
    ) -> Self:
        """See `Guard.load`; the oracle is the first environment's, where that is within reach."""
        base = env.unwrapped
        inside = base.envs[0] if isinstance(base, SyncVectorEnv) else None
        spaces = (env.single_observation_space, env.single_action_space)
        loaded = load_guard(folder, inside, spaces, overseer, code)
        made = cls(env, safe_action=loaded.safe_action, penalty=loaded.penalty, observers=observers)
        made.intervention = loaded.intervention
        return made

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every environment, or in those of ``options["reset_mask"]``, bool [N]."""
        chosen = np.ones(self.num_envs, np.bool_)
        if options is not None and "reset_mask" in options:
            chosen = np.array(options["reset_mask"])
        observations, infos = self.env.reset(seed=seed, options=options)
        for number, situation in enumerate(self.situations):
            if chosen[number]:
                situation.begin(observations[number], info_of(infos, number))
        self._resetting = self._resetting & ~chosen
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Have each environment's action judged, execute it or a safe one, and say which in ``info["guard"]``."""
        decisions = self.decide(actions)
        observations, rewards, terminated, truncated, infos = self.env.step(self._executed(decisions))
        rewards = np.array(rewards, np.float64)
        for number, decision in enumerate(decisions):
            ends = (bool(terminated[number]), bool(truncated[number]))
            info = info_of(infos, number)
            rewards[number] = self.record(number, decision, observations[number], float(rewards[number]), *ends, info)
        ended = np.logical_or(terminated, truncated)
        self._resetting = ended if self._autoreset is AutoresetMode.NEXT_STEP else np.zeros_like(ended)
        return observations, rewards, terminated, truncated, infos | infos_of_all(decisions)

    def decide(self, actions: Any) -> list[Decision | None]:
        """The decision on each environment's action; None where an environment only resets in this step.

        Raises:
            HeedError: an environment was never reset, or the actions are not one for each.
        """
        if any(situation.episode < 0 for situation in self.situations):
            raise HeedError("the guard has not seen where the agents are", "VectorGuard.step", "call reset first")
        proposed = list(iterate(self.action_space, actions))
        if len(proposed) != self.num_envs:
            raise HeedError(f"{len(proposed)} actions for {self.num_envs} environments", "VectorGuard.step")
        each = zip(self.situations, proposed, self._resetting, strict=True)
        return [None if resets else self.intervention.decide(here, action) for here, action, resets in each]

    def record(
        self,
        number: int,
        decision: Decision | None,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> float:
        """Remember where an environment's decision led, and tell the observers.

        Returns:
            The reward that the learner gets.
        """
        situation = self.situations[number]
        if decision is None:
            situation.begin(observation, info)
            return reward
        resets = (terminated or truncated) and self._autoreset is AutoresetMode.SAME_STEP
        last, last_info = _ending(info) if resets else (observation, info)
        paid = self.tell(situation.advance(decision, last, reward, terminated, truncated, last_info))
        if resets:
            situation.begin(observation, info)
        return paid

    def _executed(self, decisions: Sequence[Decision | None]) -> NDArray[Any]:
        actions = self.situations[0].actions
        idle = actions.decode(actions.nothing())  # what an environment that only resets is given
        return np.stack([np.asarray(idle if decided is None else decided.executed) for decided in decisions])


class OverseerOfEach:
    """As many overseers as environments: each judges the proposals of the environment that it looks into.

    Args:
        envs: the environments.
        overseers: of each.

    >>> from heed.oversight import RuleOverseer
    >>> envs = [gym.make("CartPole-v1") for _ in range(2)]
    >>> rules = [RuleOverseer(lambda observation, info: observation[0] > 0), RuleOverseer(lambda *_: True)]
    >>> each = OverseerOfEach(envs, rules)
    >>> [each.judge(Proposal(np.zeros(4), 0, env=env)).block for env in envs]
    [False, True]
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], overseers: Sequence[Overseer]) -> None:
        self.overseers = tuple(overseers)
        self._of = dict(zip(map(id, envs), self.overseers, strict=True))

    @property
    def name(self) -> str:
        """They are all called like the first."""
        return self.overseers[0].name

    @property
    def scope(self) -> Scope:
        """Of each; together they need no environment in common."""
        return replace(scope_of(self.overseers[0]), needs_env=False)

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Of the overseer whose environment it is."""
        return self._of[id(proposal.env)].judge(proposal)

    def reset(self, seed: int) -> None:
        """Start each with a seed of its own."""
        for number, overseer in enumerate(self.overseers):
            overseer.reset(seed + number)


def info_of(infos: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What a vector environment's infos say of one environment.

    >>> info_of({"x": np.array([1, 2]), "_x": np.array([True, False]), "y": {"z": np.array([3, 4])}}, 1)
    {'y': {'z': np.int64(4)}}
    """
    return {
        key: info_of(value, number) if isinstance(value, dict) else value[number]
        for key, value in infos.items()
        if not key.startswith("_") and (f"_{key}" not in infos or infos[f"_{key}"][number])
    }


def infos_of_all(decisions: Sequence[Decision | None]) -> dict[str, Any]:
    """Decisions as Gymnasium's vector infos: an array for each field, and which environments have one.

    >>> told = infos_of_all([None, Decision(0, 1, "block", "planner", risk=0.75)])
    >>> told["_guard"].tolist(), told["guard"]["executed"].tolist(), told["guard"]["source"].tolist()
    ([False, True], [0, 1], [None, 'planner'])
    """
    acted = np.array([decided is not None for decided in decisions])
    reported = [None if decided is None else decided.info() for decided in decisions]
    some = next((info for info in reported if info is not None), None)
    if some is None:
        return {"_guard": acted}
    fields: dict[str, NDArray[Any]] = {}
    for name, value in some.items():
        if name in ("proposed", "executed"):
            kind = np.result_type(*(np.asarray(info[name]) for info in reported if info is not None))
            fields[name] = np.zeros((len(reported), *np.shape(value)), kind)
        elif name in _NUMBERS:
            fields[name] = np.zeros(len(reported), _NUMBERS[name])
        else:
            fields[name] = np.full(len(reported), None, object)
        for number, info in enumerate(reported):
            if info is not None:
                fields[name][number] = info[name]
        fields[f"_{name}"] = acted
    return {"guard": fields, "_guard": acted}


def _ending(info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Take what an environment that resets at once said of its episode's end out of what it says of the next."""
    if "final_obs" not in info:
        raise HeedError("an episode ended without final_obs", "VectorGuard", "the environment must tell where it ended")
    return info.pop("final_obs"), info.pop("final_info", {})
