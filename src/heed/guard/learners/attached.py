"""What stands between a guard and the learner behind it, and what a policy must be for its futures to be imagined."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorActionWrapper, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from heed.errors import HeedError
from heed.guard.guard import Guarding
from heed.guard.spaces import SCALE_FIXED, check_actions

_OBSERVED = (gym.ObservationWrapper, FrameStackObservation, VectorObservationWrapper)
_ACTED = (gym.ActionWrapper, VectorActionWrapper)


def check_imagined(model: BaseAlgorithm) -> None:
    """Refuse a learner whose policy could not be imagined: on what the guard sees it would do something else.

    Raises:
        HeedError: a policy that carries a state from step to step, or whose observations or actions are changed between
            it and the guard, or whose action space a guard cannot act in.
    """
    if carries_a_state(model):
        raise HeedError(
            f"{type(model).__name__}'s policy carries a state from step to step, which the guard cannot imagine",
            "controller",
            "take a policy without memory, and put what it should remember into the observation, below the guard",
        )
    check_actions(model.action_space)
    if (normalises := model.get_vec_normalize_env()) is not None and normalises.norm_obs:
        raise _misplaced(normalises, "the guard would imagine the policy on observations that it never sees")
    for wrapper in outside(model.get_env()):
        if _changes_observations(wrapper):
            raise _misplaced(wrapper, "the guard would imagine the policy on observations that it never sees")
        _check_actions_between(wrapper)


def check_actions_between(env: Any) -> None:
    """Refuse what changes a learner's actions before its guard sees them: executed ones would come back in other units.

    Args:
        env: the learner's, of whatever kind; None where it has none.

    Raises:
        HeedError: names the wrapper.
    """
    for wrapper in outside(env):
        _check_actions_between(wrapper)


def outside(env: Any) -> Iterator[Any]:
    """The wrappers between a learner and its guard, from the outermost; none where no guard is reached.

    Args:
        env: a Gymnasium environment, one of many, or a vector environment of Stable-Baselines3 that is in this process.

    >>> import heed.worlds
    >>> from heed.guard import Guard
    >>> guard = Guard(gym.make("heed/PointHazard-v0"))
    >>> [type(wrapper).__name__ for wrapper in outside(gym.wrappers.RescaleObservation(guard, 0, 1))]
    ['RescaleObservation']
    >>> list(outside(guard)), list(outside(guard.env))
    ([], [])
    """
    for first in env.unwrapped.envs if isinstance(env, VecEnv) and isinstance(env.unwrapped, DummyVecEnv) else [env]:
        found: list[Any] = list(_around(env)) if isinstance(env, VecEnv) else []
        here = first
        while isinstance(here, gym.Wrapper | VectorWrapper) and not isinstance(here, Guarding):
            found.append(here)
            here = here.env
        if isinstance(here, Guarding):
            yield from found


def carries_a_state(model: BaseAlgorithm) -> bool:
    """Whether a policy needs more than an observation to act, as recurrent ones do."""
    parameters = list(inspect.signature(type(model.policy)._predict).parameters.values())[2:]
    return any(each.default is each.empty and each.name != "deterministic" for each in parameters)


def _around(env: VecEnv) -> Iterator[VecEnvWrapper]:
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv


def _changes_observations(wrapper: Any) -> bool:
    return isinstance(wrapper, _OBSERVED) or wrapper.observation_space != _inner(wrapper).observation_space


def _check_actions_between(wrapper: Any) -> None:
    if isinstance(wrapper, _ACTED) or wrapper.action_space != _inner(wrapper).action_space:
        raise _misplaced(wrapper, "the guard would take the policy's actions for others than they are")


def _inner(wrapper: Any) -> Any:
    return wrapper.venv if isinstance(wrapper, VecEnvWrapper) else wrapper.env


def _misplaced(wrapper: Any, why: str) -> HeedError:
    name = type(wrapper).__name__
    fix = f"put it below the guard, as in Guard({name}(env, ...))"
    if isinstance(wrapper, VecNormalize | gym.wrappers.NormalizeObservation):
        fix = f"leave it out, or {SCALE_FIXED}"
    elif isinstance(wrapper, VecEnvWrapper):
        fix = "do the same with a wrapper of gymnasium.wrappers below the guard"
    return HeedError(f"{name} stands between guard and learner: {why}", name, fix)
