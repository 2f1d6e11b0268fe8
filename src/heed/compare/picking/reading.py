"""The policies of a front, as `heed front` left them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from heed.compare.picking.front_points import FrontPoint
from heed.errors import HeedError, flag_of

Choice = TypeVar("Choice", str, int)


@dataclass(frozen=True)
class Policies:
    """The policies of a front by one method and seed.

    Args:
        names: of the objectives, [K].
        method: that trained them.
        seed: of their runs.
        points: one for each preference.
        version: of heed, that trained them; "" where the front does not tell.
    """

    names: tuple[str, ...]
    method: str
    seed: int
    points: tuple[FrontPoint, ...]
    version: str = ""


def policies_of(front: Path, method: str | None = None, seed: int | None = None) -> Policies:
    """Read the policies of a front; whether their adapters are there is asked of those that are taken.

    Args:
        front: the folder of a `heed front` run.
        method: of theirs; None for the front's first.
        seed: of theirs; None for the front's first.

    Raises:
        HeedError: no front lies there, or it has no such method or seed.
    """
    file, anew = front / "front.json", "go on with heed front --resume, which writes it anew"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HeedError("there is no front here", str(front), "give the folder of a finished heed front") from error
    except ValueError as error:
        raise HeedError("this is not JSON", str(file), anew) from error
    try:
        names = tuple(map(str, told["names"]))
        known = [(str(each["method"]), int(each["seed"]), _point(front, each, len(names))) for each in told["adapters"]]
    except (KeyError, TypeError, ValueError) as error:
        raise HeedError("this file tells of no front", str(file), anew) from error
    if not known:
        raise HeedError("this front has no policies yet", str(front), "go on with heed front --resume")
    method = _chosen("method", method, [each[0] for each in known])
    seed = _chosen("seed", seed, [each[1] for each in known if each[0] == method])
    points = tuple(point for *of, point in known if of == [method, seed])
    return Policies(names, method, seed, points, _version(front))


def _point(front: Path, told: Mapping[str, Any], count: int) -> FrontPoint:
    """A policy as ``front.json`` has it; a value that was not finite is null there."""
    preference = tuple(map(float, told["preference"]))
    values = tuple(math.nan if value is None else float(value) for value in told["values"])
    if not len(preference) == len(values) == count:
        raise ValueError("so many numbers are not of these objectives")
    adapter = None if told["adapter"] is None else front / str(told["adapter"])
    return FrontPoint(preference, values, adapter, str(told.get("tag", "")))


def _version(front: Path) -> str:
    """The version that trained a front, by its summary, which is written last."""
    try:
        found = json.loads((front / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    return str(found.get("version", "")) if isinstance(found, dict) else ""


def _chosen(what: str, wanted: Choice | None, known: Sequence[Choice]) -> Choice:
    there = list(dict.fromkeys(known))
    if wanted is None:
        return there[0]
    if wanted not in there:
        raise HeedError(f"this front has no {what} {wanted}", flag_of(what), f"it has {', '.join(map(str, there))}")
    return wanted
