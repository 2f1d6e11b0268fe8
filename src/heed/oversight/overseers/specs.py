"""From a word on the command line, or an environment, to an overseer."""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer
from heed.oversight.overseers.noise import Delayed, FalseAlarm, Missing, Tiring
from heed.oversight.overseers.scripted import FarSightedOverseer, LocalOverseer, RuleOverseer
from heed.worlds.cliff_grid.env import CliffGridEnv
from heed.worlds.point_hazard.env import PointHazardEnv
from heed.worlds.point_hazard.geometry import braking_hits, hits
from heed.worlds.presets import preset

Env = gym.Env[Any, Any]
BROWSER = "browser"
"""The word for people at the page, who come with a server of their own."""


def local_overseer(env: Env) -> Overseer:
    """The last-moment oracle of one of heed's worlds, wrapped or not; it looks at this very environment.

    Raises:
        HeedError: if the environment is none of heed's worlds.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer = local_overseer(env)
    >>> _ = env.reset(options={"state": [3.9, 0.0, 1.5, 0.0]})
    >>> from heed.oversight import Proposal
    >>> overseer.judge(Proposal(env.unwrapped.state, [0.0, 0.0])).block
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
    >>> from heed.oversight import Proposal
    >>> [overseer.judge(Proposal(env.unwrapped.state, [push, 0.0])).block for push in (-1.0, 1.0)]
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
    """The overseer that a text names, with what it does to its verdicts.

    Args:
        spec: "local", "far-sighted", "rule", or ``module:name``, where name is an overseer, or a function or class that
            makes one from the environment; modules of the current folder included. What follows after commas is done to
            its verdicts, in this order: ``miss=0.05`` lets that share of the blocks pass, ``false=0.01`` blocks that
            share of the rest, ``delay=3`` answers so many steps late (``delay=300ms`` and ``delay=0.3s`` by the world's
            clock), ``tire=500`` misses half after so many judgements (`heed.oversight.overseers.noise`).
        env: the environment that it will watch.

    Raises:
        HeedError: an unknown word, a value that cannot be, a target that cannot be imported or is no overseer, no
            oracle for this world, or a delay in seconds where nobody knows how long a step takes.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer_from_spec("far-sighted", env).name, overseer_from_spec("local,miss=0.05,delay=300ms", env).name
    ('far-sighted', 'local, misses 5%, 3 steps late')
    """
    where = f"--overseer {spec}"
    base, *habits = spec.split(",")
    if base == BROWSER:
        raise HeedError("people need a page to judge at", where, "run heed oversee")
    overseer = _BUILT_IN[base](env) if base in _BUILT_IN else _own(base, env, where)
    told: set[str] = set()
    for habit in habits:
        name, _, value = habit.partition("=")
        if name not in _HABITS or name in told:
            wrong = "is given twice" if name in told else "is not known"
            fix = f"after the overseer, give each of {', '.join(_HABITS)} once at most, as in local,miss=0.05"
            raise HeedError(f"{name!r} {wrong}", where, fix)
        told.add(name)
        try:
            overseer = _HABITS[name](overseer, value, env)
        except HeedError as error:
            raise HeedError(error.what, where, error.fix) from None
    return overseer


def base_of(spec: str) -> str:
    """The overseer that a text names, without what is done to its verdicts.

    >>> base_of("local,miss=0.05")
    'local'
    """
    return spec.partition(",")[0]


def is_scripted(spec: str) -> bool:
    """Whether a text names one of heed's own overseers, which can be asked again; others may be persons.

    >>> is_scripted("rule,delay=2"), is_scripted("mine:ada")
    (True, False)
    """
    return base_of(spec) in _BUILT_IN


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise HeedError(f"{text!r} is no number", fix="give one, as in miss=0.05 or tire=500") from None


def _steps(text: str, env: Env) -> int:
    """A delay in steps: as many as the text says, or the first by which its seconds are over."""
    if text.isdecimal():
        return int(text)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text)
    if found is None:
        raise HeedError(f"a delay of {text!r}", fix="give whole steps or a time: delay=3, delay=300ms, delay=0.3s")
    seconds = float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
    return math.ceil(seconds / _seconds_of_a_step(env) - 1e-9)


def _seconds_of_a_step(env: Env) -> float:
    world = env.unwrapped
    if isinstance(world, PointHazardEnv):
        return float(world.world.dt)
    rate = world.metadata.get("render_fps")
    if not rate:
        raise HeedError(f"nobody says how long a step of {_name(env)} takes", fix="give the delay in steps")
    return 1.0 / float(rate)


_HABITS: dict[str, Callable[[Overseer, str, Env], Overseer]] = {
    "miss": lambda inner, text, _: Missing(inner, _number(text)),
    "false": lambda inner, text, _: FalseAlarm(inner, _number(text)),
    "delay": lambda inner, text, env: Delayed(inner, _steps(text, env)),
    "tire": lambda inner, text, _: Tiring(inner, _number(text)),
}
"""What a text may say that an overseer does to its verdicts."""


def _own(spec: str, env: Env, where: str) -> Overseer:
    """The user's own overseer, ``module:name``."""
    module, _, name = spec.partition(":")
    if not module or not name:
        raise HeedError(f"there is no overseer {spec!r}", where, fix=f"give {', '.join(_BUILT_IN)} or module:name")
    found = _import(module, name, where)
    try:
        made = found if _is_overseer(found) or not callable(found) else found(env)
    except Exception as problem:  # a user's own code may raise anything
        reason = f"{type(problem).__name__}: {problem}"
        raise HeedError(f"{spec!r} makes no overseer: {reason}", where, fix="mend it") from problem
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
    except Exception as error:  # it may not be there, or its own code may raise anything
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
