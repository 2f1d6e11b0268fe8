"""Which policies of a front stand for a preference, and with which shares."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from heed.balance import check_preference
from heed.errors import HeedError, flag_of

Choice = TypeVar("Choice", str, int)

SAME = 1e-6
"""Distance below which two preferences are one."""


@dataclass(frozen=True)
class FrontPoint:
    """A policy of a front.

    Args:
        preference: that it was trained for, [K].
        values: its mean value of each objective in the last evaluation, [K].
        adapter: the folder of its adapter, in peft's format.
        tag: what has to stand before a prompt, where one adapter serves all preferences; else "".
    """

    preference: tuple[float, ...]
    values: tuple[float, ...]
    adapter: Path
    tag: str = ""

    def name(self, names: Sequence[str]) -> str:
        """What a server may call it.

        >>> FrontPoint((0.3, 0.7), (8.0, -0.5), Path("a")).name(["help", "harmless"])
        'help-0.3-harmless-0.7'
        """
        return "-".join(f"{name}-{weight:g}" for name, weight in zip(names, self.preference, strict=True))


@dataclass(frozen=True)
class Pick:
    """What stands for a preference.

    Args:
        asked: the preference, [K].
        parts: one policy, or the two that are mixed.
        shares: of each part in the change of weights; they sum to 1.
    """

    asked: tuple[float, ...]
    parts: tuple[FrontPoint, ...]
    shares: tuple[float, ...]

    @property
    def stands_for(self) -> tuple[float, ...]:
        """The preference that the mixture has, [K]: the asked one, or the nearest that is within reach."""
        mixed = np.array(self.shares) @ np.array([part.preference for part in self.parts])
        return tuple(float(weight) for weight in mixed)

    @property
    def exact(self) -> bool:
        """Whether it stands for what was asked, or for something near."""
        return bool(np.allclose(self.stands_for, self.asked, atol=SAME))


def points_of(
    front: Path, method: str | None = None, seed: int | None = None
) -> tuple[list[str], str, int, list[FrontPoint]]:
    """Read the policies of a front.

    Args:
        front: the folder of a `heed front` run.
        method: of theirs; None for the front's first.
        seed: of theirs; None for the front's first.

    Returns:
        The objectives' names, the method, the seed, and its policies.

    Raises:
        HeedError: no front lies there, it has no such method or seed, or its adapters are not with it.
    """
    file = front / "front.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HeedError("there is no front here", str(front), "give the folder of a finished heed front") from error
    except ValueError as error:
        raise HeedError(
            "this is not JSON", str(file), "go on with heed front --resume, which writes it anew"
        ) from error
    known = told["adapters"]
    if not known:
        raise HeedError("this front has no policies yet", str(front), "go on with heed front --resume")
    method = _chosen("method", method, [each["method"] for each in known])
    own = [each for each in known if each["method"] == method]
    seed = _chosen("seed", seed, [each["seed"] for each in own])
    rows = [each for each in own if each["seed"] == seed]
    points = []
    for each in rows:
        adapter = None if each["adapter"] is None else front / each["adapter"]
        if adapter is None or not (adapter / "adapter_config.json").is_file():
            where = str(adapter or front)
            raise HeedError(
                "a policy of this front has no adapter here", where, "take the folder in which it was trained"
            )
        place = (tuple(each["preference"]), tuple(each["values"]))
        points.append(FrontPoint(*place, adapter=adapter, tag=each.get("tag", "")))
    return list(told["names"]), method, seed, points


def pick_from(points: Sequence[FrontPoint], preference: Sequence[float]) -> Pick:
    """Choose the policies that stand for a preference.

    One that was trained for it, by itself; else, of all pairs, the two whose mixture comes nearest to it, and of such
    the two that lie closest together. Nothing is taken beyond the outermost: past them the nearest stands for itself.

    Args:
        points: of one method and seed.
        preference: weights on the simplex, [K].

    Raises:
        HeedError: it is no preference of so many objectives, or nothing was trained for it and one adapter is told its
            preference by its prompts, of which there is nothing to mix.

    >>> points = [FrontPoint((x, 1 - x), (0.0, 0.0), Path(str(x))) for x in (0.25, 0.5, 0.75)]
    >>> found = pick_from(points, [0.375, 0.625])
    >>> [part.preference for part in found.parts], found.shares
    ([(0.25, 0.75), (0.5, 0.5)], (0.5, 0.5))
    >>> pick_from(points, [0.9, 0.1]).stands_for
    (0.75, 0.25)
    """
    check_preference(preference, len(points[0].preference))
    asked = tuple(float(weight) for weight in preference)
    aim = np.array(asked)
    own = [point for point in points if np.abs(np.array(point.preference) - aim).max() < SAME]
    if own:
        return Pick(asked, (own[0],), (1.0,))
    if any(point.tag for point in points):
        raise HeedError(
            "this policy is told its preference by its prompts, and nothing was trained for this one",
            "--preference",
            f"take one of {'; '.join(','.join(f'{x:g}' for x in point.preference) for point in points)}",
        )
    candidates = [Pick(asked, (point,), (1.0,)) for point in points]
    candidates += [_between(asked, *pair) for pair in itertools.combinations(points, 2)]
    return min(candidates, key=lambda pick: (round(_distance(pick.stands_for, aim), 9), _spread(pick)))


def _between(asked: tuple[float, ...], first: FrontPoint, second: FrontPoint) -> Pick:
    """The point nearest to the preference on the way from one to the other."""
    a, b, aim = (np.array(each) for each in (first.preference, second.preference, asked))
    length = float((b - a) @ (b - a))
    share = 0.0 if length == 0 else float(np.clip((aim - a) @ (b - a) / length, 0, 1))
    return Pick(asked, (first, second), (1 - share, share))


def _distance(found: Sequence[float], aim: np.ndarray) -> float:
    return float(np.linalg.norm(np.array(found) - aim))


def _spread(pick: Pick) -> float:
    """How far apart the parts lie; one alone lies nowhere apart."""
    return _distance(pick.parts[0].preference, np.array(pick.parts[-1].preference))


def _chosen(what: str, wanted: Choice | None, known: Sequence[Choice]) -> Choice:
    there = list(dict.fromkeys(known))
    if wanted is None:
        return there[0]
    if wanted not in there:
        raise HeedError(f"this front has no {what} {wanted}", flag_of(what), f"it has {', '.join(map(str, there))}")
    return wanted
