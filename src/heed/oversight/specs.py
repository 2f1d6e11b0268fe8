"""From a word on the command line, or an environment, to an overseer."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

from heed.errors import HeedError
from heed.oversight.overseers import FarSightedOverseer, LocalOverseer, Overseer, RuleOverseer
from heed.worlds.cliff_grid import CliffGridEnv
from heed.worlds.hazards import braking_hits, hits
from heed.worlds.point_hazard import PointHazardEnv
from heed.worlds.presets import preset

Env = gym.Env[Any, Any]


def local_overseer(env: Env) -> Overseer:
    """The last-moment oracle of one of heed's worlds, wrapped or not; it looks at this very environment.

    Raises:
        HeedError: if the environment is none of heed's worlds.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer = local_overseer(env)
    >>> _ = env.reset(options={"state": [3.9, 0.0, 1.5, 0.0]})
    >>> from heed.oversight import Moment
    >>> overseer.judge(Moment(env.unwrapped.state, [0.0, 0.0])).block
    True
    """
    world = env.unwrapped
    if isinstance(world, PointHazardEnv):
        return LocalOverseer(world.peek, lambda state: hits(state, world.world))
    if isinstance(world, CliffGridEnv):
        return LocalOverseer(world.peek, world.is_catastrophe)
    raise _no_oracle(env, "local")


def far_sighted_overseer(env: Env) -> Overseer:
    """The oracle that blocks in time: point hazard's braking set, cliff grid's doomed states.

    Raises:
        HeedError: if the environment is none of heed's worlds.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer = far_sighted_overseer(env)
    >>> _ = env.reset(options={"state": [-1.6, 0.25, 1.5, 0.0]})  # 1.1 before the disc, and 1.05 to brake
    >>> from heed.oversight import Moment
    >>> [overseer.judge(Moment(env.unwrapped.state, [push, 0.0])).block for push in (-1.0, 1.0)]
    [False, True]
    """
    world = env.unwrapped
    if isinstance(world, PointHazardEnv):
        return FarSightedOverseer(world.peek, lambda state: braking_hits(state, world.world))
    if isinstance(world, CliffGridEnv):
        return FarSightedOverseer(world.peek, world.is_doomed)
    raise _no_oracle(env, "far-sighted")


def rule_overseer(env: Env) -> Overseer:
    """The preset's rule as an overseer: blocks all that is proposed in a state that a person would step in at.

    Raises:
        HeedError: if heed has no preset for the environment.

    >>> rule_overseer(gym.make("CartPole-v1")).name
    'rule'
    """
    known = preset(env.spec.id, **env.spec.kwargs) if env.spec else None
    if known is None:
        raise HeedError(
            f"heed has no rule for {_name(env)}", where="--overseer rule", fix="give --overseer module:name instead"
        )
    return RuleOverseer(known.danger)


_BUILT_IN: dict[str, Callable[[Env], Overseer]] = {
    "local": local_overseer,
    "far-sighted": far_sighted_overseer,
    "rule": rule_overseer,
}


def overseer_from_spec(spec: str, env: Env) -> Overseer:
    """The overseer that a text names.

    Args:
        spec: "local", "far-sighted", "rule", or ``module:name``, where name is an overseer, or a function or class that
            makes one from the environment; modules of the current folder included.
        env: the environment that it will watch.

    Raises:
        HeedError: an unknown word, a target that cannot be imported or is no overseer, or no oracle for this world.

    >>> import heed.worlds
    >>> overseer_from_spec("far-sighted", gym.make("heed/CliffGrid-v0")).name
    'far-sighted'
    """
    if spec in _BUILT_IN:
        return _BUILT_IN[spec](env)
    where = f"--overseer {spec}"
    module, _, name = spec.partition(":")
    if not module or not name:
        raise HeedError(f"there is no overseer {spec!r}", where, fix=f"give {', '.join(_BUILT_IN)} or module:name")
    found = _import(module, name, where)
    made = found if _is_overseer(found) else found(env) if callable(found) else found
    if not _is_overseer(made):
        raise HeedError(
            f"{spec!r} is no overseer, and makes none", where, fix="it needs name, judge(moment) and reset(seed)"
        )
    return made


def _is_overseer(value: Any) -> bool:
    return not isinstance(value, type) and {"name", "judge", "reset"} <= set(dir(value))


def _import(module: str, name: str, where: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:  # a console script does not look in the current folder; its user does
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise HeedError(
            f"cannot import {module!r}: {error}", where, fix="run where the module lies, or install it"
        ) from error
    if name not in dir(found):
        raise HeedError(f"module {module!r} has no {name!r}", where, fix="give module:name")
    return getattr(found, name)


def _name(env: Env) -> str:
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _no_oracle(env: Env, kind: str) -> HeedError:
    return HeedError(
        f"there is no {kind} oracle for {_name(env)}",
        where="--overseer",
        fix="give rule where heed has a preset, or module:name with your own",
    )
