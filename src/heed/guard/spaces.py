"""Spaces that a guard cannot act in or reason about, and what to do about each: advice that can be pasted and works."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers import NormalizeObservation
from gymnasium.wrappers.vector import NormalizeObservation as VectorNormalizeObservation

from heed.errors import HeedError

logger = logging.getLogger(__name__)

_WRAPPERS = "gymnasium.wrappers"
SCALE_FIXED = (
    "scale below the guard by numbers that stay, as in "
    f"Guard({_WRAPPERS}.TransformObservation(env, lambda seen: (seen - mean) / scale, None))"
)
"""Advice on normalising: statistics that run change what a number means, while models and labels keep it."""


def check_actions(space: gym.Space[Any]) -> None:
    """Refuse a space in which a guard cannot act.

    Raises:
        HeedError: the space is neither Discrete nor a Box of floats of one dimension that is bounded and of some width
            on every axis; says with which wrapper the environment offers one that is.

    >>> check_actions(gym.spaces.MultiDiscrete([3, 2]))
    Traceback (most recent call last):
    ...
    heed.errors.HeedError: the guard cannot act in MultiDiscrete([3 2]) (action space): wrap the environment: ...
    """
    if isinstance(space, gym.spaces.Discrete):
        return
    if (fix := _of_box(space) if isinstance(space, gym.spaces.Box) else _of_others(space)) is not None:
        raise HeedError(f"the guard cannot act in {' '.join(str(space).split())}", "action space", fix)


def warn_of_running_statistics(env: Any) -> None:
    """Warn where observations are normalised by statistics that run, as what was learnt of a state then moves away."""
    while isinstance(env, gym.Wrapper | VectorWrapper):
        if isinstance(env, NormalizeObservation | VectorNormalizeObservation) and env.update_running_mean:
            logger.warning(
                "%s below the guard goes on changing what a number means, and mixes units in what the guard learns: "
                "set its update_running_mean to False once it has seen enough, or %s",
                type(env).__name__,
                SCALE_FIXED,
            )
        env = env.env


def _of_box(space: gym.spaces.Box) -> str | None:
    """What to do about a box; None where nothing is to be done."""
    floats = np.issubdtype(space.dtype, np.floating)
    if not space.is_bounded():
        return _wrap("lambda action: action", f"Box(low, high, {space.shape})", "with the bounds that its actions have")
    if len(space.shape) != 1:
        kept = f"Box(env.action_space.low.flatten(), env.action_space.high.flatten(), dtype=numpy.{space.dtype})"
        return _wrap(f"lambda action: action.reshape({space.shape})", kept)
    if not floats:
        kept = "Box(env.action_space.low.astype(float), env.action_space.high.astype(float), dtype=numpy.float64)"
        return _wrap(f"lambda action: numpy.rint(action).astype(numpy.{space.dtype})", kept)
    if fixed := np.flatnonzero(space.low >= space.high).tolist():
        if len(fixed) == len(space.low):
            return "none of its axes can move: give one of them a low below its high"
        at, values = fixed, [float(space.low[axis]) for axis in fixed]
        where = [axis - before for before, axis in enumerate(at)]
        ends = f"numpy.delete(env.action_space.low, {at}), numpy.delete(env.action_space.high, {at})"
        kept = f"Box({ends}, dtype=numpy.{space.dtype})"
        return _wrap(f"lambda action: numpy.insert(action, {where}, {values})", kept, "which leaves out what is fixed")
    return None


def _of_others(space: gym.Space[Any]) -> str:
    """What to do about what is neither a box nor a choice."""
    if isinstance(space, gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        counts, start = (2,) * int(np.prod(space.shape)), ""
        if isinstance(space, gym.spaces.MultiDiscrete):
            counts = tuple(map(int, space.nvec.flatten()))
            start = f" + {space.start.flatten().tolist()}" if space.start.any() else ""
        shape = "" if len(space.shape) == 1 else f".reshape({space.shape})"
        choice = f"lambda n: (numpy.array(numpy.unravel_index(n, {counts})){start}){shape}"
        return _wrap(choice, f"Discrete({int(np.prod(counts))})")
    flat = gym.spaces.flatten_space(space)
    if isinstance(flat, gym.spaces.Box) and _of_box(flat) is None:
        unflattened = "lambda action: gymnasium.spaces.unflatten(env.action_space, action)"
        return _wrap(unflattened, "flatten_space(env.action_space)")
    return "a bounded Box of one dimension or Discrete is supported"


def _wrap(function: str, space: str, note: str = "") -> str:
    made = f"{_WRAPPERS}.TransformAction(env, {function}, gymnasium.spaces.{space})"
    return f"wrap the environment: {made}{', ' if note else ''}{note}"


def check_observations(space: gym.Space[Any]) -> int:
    """Size of the state, S.

    Raises:
        HeedError: the space is not a Box of one dimension, with how to flatten it.
    """
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return int(space.shape[0])
    image = isinstance(space, gym.spaces.Box) and len(space.shape) == 3
    fix = (
        "pictures need an encoder: wrap the environment so that it gives the encoder's features, or take its RAM"
        if image
        else "a Box of one dimension is supported: wrap the environment with gymnasium.wrappers.FlattenObservation"
    )
    raise HeedError(f"the guard cannot reason about {type(space).__name__} observations", "observation space", fix)
