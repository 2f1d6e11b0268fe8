"""From a word on the command line, or an environment, to an overseer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer
from heed.oversight.overseers.noise import Delayed, FalseAlarm, Missing, Tiring
from heed.oversight.overseers.scripted import FarSightedOverseer, LocalOverseer, RuleOverseer
from heed.runs.importing import is_named, named, users_errors
from heed.worlds.registry import oracle_of

Env = gym.Env[Any, Any]
BROWSER = "browser"
"""The word for people at the page, who come with a server of their own."""


def local_overseer(env: Env) -> Overseer:
    """The overseer that blocks at the last moment; it looks at this very environment.

    It needs an oracle with ``peek`` and ``is_catastrophe``.

    Raises:
        HeedError: the environment has none.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer = local_overseer(env)
    >>> _ = env.reset(options={"state": [3.9, 0.0, 1.5, 0.0]})
    >>> from heed.oversight import Proposal
    >>> overseer.judge(Proposal(env.unwrapped.state, [0.0, 0.0])).block
    True
    """
    known = oracle_of(env)
    if known is None or known.peek is None or known.is_catastrophe is None:
        raise _lacks(env, "local", "peek and is_catastrophe")
    return LocalOverseer(partial(known.peek, env.unwrapped), known.is_catastrophe)


def far_sighted_overseer(env: Env) -> Overseer:
    """The overseer that blocks in time: where the brake would fail, or, if no brake is known, in doomed states.

    It needs an oracle with ``peek`` and one of ``brake_fails`` and ``is_doomed``.

    Raises:
        HeedError: the environment has none.

    >>> import heed.worlds
    >>> env = gym.make("heed/PointHazard-v0")
    >>> overseer = far_sighted_overseer(env)
    >>> _ = env.reset(options={"state": [-1.6, 0.25, 1.5, 0.0]})  # 1.1 before the disc, and 1.05 to brake
    >>> from heed.oversight import Proposal
    >>> [overseer.judge(Proposal(env.unwrapped.state, [push, 0.0])).block for push in (-1.0, 1.0)]
    [False, True]
    """
    known = oracle_of(env)
    too_late = None if known is None else known.brake_fails or known.is_doomed
    if known is None or known.peek is None or too_late is None:
        raise _lacks(env, "far-sighted", "peek and brake_fails or is_doomed")
    return FarSightedOverseer(partial(known.peek, env.unwrapped), too_late)


def rule_overseer(env: Env) -> Overseer:
    """The oracle's rule of danger as an overseer: blocks all that is proposed where a person would step in.

    Raises:
        HeedError: the environment has no oracle with a rule of danger.

    >>> rule_overseer(gym.make("CartPole-v1")).name
    'rule'
    """
    known = oracle_of(env)
    if known is None or known.danger is None:
        raise _lacks(env, "rule", "danger")
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
    given: set[str] = set()
    for habit in habits:
        name, _, value = habit.partition("=")
        if name not in _HABITS or name in given:
            wrong = "is given twice" if name in given else "is not known"
            fix = f"after the overseer, give each of {', '.join(_HABITS)} once at most, as in local,miss=0.05"
            raise HeedError(f"{name!r} {wrong}", where, fix)
        given.add(name)
        try:
            overseer = _HABITS[name](overseer, value, env)
        except HeedError as error:
            raise HeedError(error.what, where, error.fix) from None
    return overseer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise HeedError(f"{text!r} is no number", fix="give one, as in miss=0.05 or tire=500") from None


def _steps(text: str, env: Env) -> int:
    """A delay in steps: as many as the text says, or the first by which its seconds are over."""
    if text.isdecimal():
        return int(text)
    time = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text)
    if time is None:
        raise HeedError(f"a delay of {text!r}", fix="give whole steps or a time: delay=3, delay=300ms, delay=0.3s")
    seconds = float(time[1]) * (0.001 if time[2] == "ms" else 1.0)
    return math.ceil(seconds / _seconds_of_a_step(env) - 1e-9)


def _seconds_of_a_step(env: Env) -> float:
    known = oracle_of(env)
    if known is not None and known.dt is not None:
        return known.dt
    rate = env.unwrapped.metadata.get("render_fps")
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
    if not is_named(spec):
        raise HeedError(f"there is no overseer {spec!r}", where, fix=f"give {', '.join(_BUILT_IN)} or module:name")
    offered = named(spec, where)
    if _is_overseer(offered) or not callable(offered):
        overseer = offered
    else:
        with users_errors(f"making the overseer {spec!r}", where):
            overseer = offered(env)
    if not _is_overseer(overseer):
        raise HeedError(
            f"{spec!r} is no overseer, and makes none", where, fix="it needs name, judge(proposal) and reset(seed)"
        )
    return overseer


def _is_overseer(value: Any) -> bool:
    return not isinstance(value, type) and {"name", "judge", "reset"} <= set(dir(value))


def _name(env: Env) -> str:
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _lacks(env: Env, kind: str, needed: str) -> HeedError:
    return HeedError(
        f"there is no {kind} oracle for {_name(env)}",
        where=f"--overseer {kind}",
        fix=f"give the environment an oracle with {needed}, or --overseer module:name with your own",
    )
