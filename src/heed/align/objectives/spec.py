"""The command line's way to name an objective: ``[name=]TARGET[,key=value...]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heed.align.objectives.base import Objective, RewardFunction
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.align.objectives.reward_service import RewardService
from heed.errors import HeedError
from heed.runs.importing import is_named, named

_COMMON: dict[str, Callable[[str], Any]] = {"sign": float, "scale": float, "unit": str}
_MODEL: dict[str, Callable[[str], Any]] = {"batch_size": int, "max_length": int, "dtype": str, "device": str}
_SERVICE: dict[str, Callable[[str], Any]] = {"timeout": float, "retries": int}


def parse_objective(text: str, option: str = "--objectives") -> Objective:
    """Make the objective that a text names.

    Args:
        text: ``[name=]TARGET[,key=value...]``. TARGET is a folder or hub id of a sequence-classification model, the
            URL of a reward service, or ``module:function`` (modules of the current folder included). Keys: ``sign``,
            ``scale``, ``unit``; for models also ``head``, ``batch_size``, ``max_length``, ``dtype``, ``device``, or
            ``heads=NAME[:HEAD[:SIGN]]+...`` (no HEAD: the one labelled NAME); for services
            ``timeout``, ``retries``.
        option: where the text was given, for errors.

    Raises:
        HeedError: a text of another form, an unknown key, a value of the wrong kind, or a target that fails to load.

    >>> parse_objective("size=builtins:len,sign=-1").specs
    (ObjectiveSpec(name='size', sign=-1.0, scale=1.0, unit=''),)
    """
    # A comma belongs to the target unless a key follows it.
    head, *pairs = re.split(r",(?=[a-z_]+=)", text.strip())
    options = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    named = re.fullmatch(r"([\w.\-]+)=(.+)", head)
    name, target = (named[1], named[2]) if named else (None, head)
    if not target:
        raise HeedError(
            "an objective without a target", where=f"{option} {text!r}", fix="give [name=]TARGET[,key=value]"
        )
    if target.startswith(("http://", "https://")):
        return RewardService(target, name=name, **_convert(options, _COMMON | _SERVICE, target, option))
    if not Path(target).is_dir() and is_named(target):
        return RewardFunction(_function(target, option), name=name, **_convert(options, _COMMON, target, option))
    if "heads" not in options:
        return RewardModel(target, name=name, **_convert(options, _COMMON | _MODEL | {"head": str}, target, option))
    if name is not None:
        raise HeedError(
            "a many-headed model's objectives are named in heads=", where=f"{option} {name}=", fix=f"leave out {name}="
        )
    heads = [_parse_head(part, option) for part in options.pop("heads").split("+")]
    return ManyHeadedRewardModel(target, heads, **_convert(options, _MODEL, target, option))


def _parse_head(text: str, option: str) -> HeadSpec:
    name, _, rest = text.partition(":")
    head, _, sign = rest.partition(":")
    if not name or sign not in ("", "1", "-1"):
        raise HeedError(
            f"cannot read the head {text!r}", where=f"{option} heads=", fix="give NAME, NAME:HEAD or NAME:HEAD:-1"
        )
    return HeadSpec(name, head or name, sign=float(sign or 1))


def _convert(
    options: dict[str, str], known: dict[str, Callable[[str], Any]], target: str, option: str
) -> dict[str, Any]:
    converted = {}
    for key, value in options.items():
        where = f"{option} {key}={value}"
        if key not in known:
            raise HeedError(
                f"{key!r} is no option of {target.rpartition('@')[2]}", where, fix=f"its options are {', '.join(known)}"
            )
        try:
            converted[key] = known[key](value)
        except ValueError:
            raise HeedError(f"{value!r} is not a number", where, fix=f"give {key} a number") from None
    return converted


def _function(target: str, option: str) -> Callable[..., Any]:
    where = f"{option} {target}"
    found = named(target, where)
    if not callable(found):
        raise HeedError(f"{target!r} is not a function", where, fix="give a function (prompts, completions, **columns)")
    return found
