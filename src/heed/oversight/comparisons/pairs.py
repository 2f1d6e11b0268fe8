"""Pairs of completions that people are to compare: read from a file, and put in the order in which they are asked."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from heed.errors import HeedError

LONGEST_ID = 64


@dataclass(frozen=True)
class Pair:
    """Two completions of one prompt.

    Args:
        id: tells the pair from all others; it stays the same from one session to the next.
        prompt: a text, or a conversation of messages with ``role`` and ``content``.
        completions: the two, in the order of the file.
        scores: for each objective the reward model's score of the first completion less that of the second.
    """

    id: str
    prompt: str | list[dict[str, str]]
    completions: tuple[str, str]
    scores: Mapping[str, float] = field(default_factory=dict)


def read_pairs(path: str | Path) -> list[Pair]:
    """Read pairs from JSON lines.

    A line is ``{"prompt": ..., "completions": ["...", "..."]}``, with ``id`` and ``scores`` if wanted. A pair
    without an id is called by a digest of its texts, so that lines can be added and moved between sessions.

    Args:
        path: the file.

    Returns:
        At least one pair, in the order of the file.

    Raises:
        HeedError: nothing to read, or a line that holds no pair, with its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise HeedError(
            f"the pairs cannot be read: {error.strerror}", str(path), "give a file of JSON lines"
        ) from error
    except UnicodeDecodeError as error:
        raise HeedError("the pairs are no UTF-8 text", str(path), "give a file of JSON lines") from error
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        pair = _pair(line, f"{path}:{number}")
        if pair.id in pairs:
            raise HeedError(f"pair '{pair.id}' is there twice", f"{path}:{number}", "leave one out, or give it an id")
        pairs[pair.id] = pair
    if not pairs:
        raise HeedError("there are no pairs", str(path), 'give lines {"prompt": ..., "completions": [..., ...]}')
    return list(pairs.values())


def _pair(line: str, where: str) -> Pair:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise HeedError(f"this is no JSON: {error}"[:120], where, "give one object a line") from error
    if not isinstance(row, dict):
        raise HeedError("this is no object", where, 'give {"prompt": ..., "completions": [..., ...]}')
    unknown = sorted(row.keys() - {"id", "prompt", "completions", "scores"})
    if unknown:
        raise HeedError(f"unknown: {', '.join(unknown)}"[:120], where, "give id, prompt, completions, scores")
    prompt, completions = _prompt(row.get("prompt"), where), _completions(row.get("completions"), where)
    named = row["id"] if row.get("id") is not None else _digest(prompt, completions)
    if not isinstance(named, str) or not 0 < len(named) <= LONGEST_ID:
        raise HeedError(f"the id is {named!r}"[:120], where, f"give a text of at most {LONGEST_ID} characters")
    return Pair(named, prompt, completions, _scores(row.get("scores"), where))


def _prompt(value: Any, where: str) -> str | list[dict[str, str]]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(_is_message(message) for message in value):
        return [{"role": message["role"], "content": message["content"]} for message in value]
    fix = 'give a text, or messages [{"role": "user", "content": "..."}]'
    raise HeedError(f"the prompt is {value!r}"[:120], where, fix)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("role", "content"))


def _completions(value: Any, where: str) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        raise HeedError(f"the completions are {value!r}"[:120], where, "give a list of two texts")
    if value[0] == value[1]:
        raise HeedError("both completions are the same", where, "leave the line out: there is nothing to compare")
    return value[0], value[1]


def _scores(value: Any, where: str) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HeedError(f"the scores are {value!r}"[:120], where, 'give {"objective": margin}')
    for name, margin in value.items():
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not math.isfinite(margin):
            fix = "give a number: the first completion's score less the second's"
            raise HeedError(f"the score of '{name}' is {margin!r}"[:120], where, fix)
    return {name: float(margin) for name, margin in value.items()}


def _digest(prompt: Any, completions: tuple[str, str]) -> str:
    return hashlib.sha256(json.dumps([prompt, completions]).encode()).hexdigest()[:16]


def uncertainty(margins: Sequence[float]) -> float:
    """How little the judges know of a pair: minus the smallest margin of them all; 0 is the most.

    >>> uncertainty([0.5, -2.0])
    -0.5
    """
    return -min(abs(margin) for margin in margins)


def conflict(margins: Sequence[float]) -> float:
    """How much two objectives want different completions: the largest ``-m_i m_j`` of all pairs of margins.

    Positive if two of them differ in sign, and the larger the surer both are.

    >>> conflict([1.0, -2.0, 0.5]), conflict([1.0, 2.0])
    (2.0, -2.0)
    """
    return max(-one * other for one, other in combinations(margins, 2))


ORDERS: dict[str, Callable[[Sequence[float]], float] | None] = {
    "random": None,
    "uncertain": uncertainty,
    "conflicting": conflict,
}
"""How it is chosen which pair is next: by what is greatest, or by lot."""


def require_order(order: str, objectives: Sequence[str]) -> None:
    """Refuse an order that cannot be.

    Raises:
        HeedError: one that is unknown, or one objective that should conflict.
    """
    if order not in ORDERS:
        raise HeedError(f"there is no order '{order}'", "--next", f"take {', '.join(ORDERS)}")
    if ORDERS[order] is conflict and len(objectives) < 2:
        raise HeedError("one objective conflicts with nothing", "--next conflicting", "give two objectives or more")


def in_order(pairs: Sequence[Pair], order: str, objectives: Sequence[str], seed: int = 0) -> list[Pair]:
    """Pairs in the order in which they are to be judged; equal ones by lot.

    Args:
        pairs: all of them.
        order: one of `ORDERS`.
        objectives: whose scores count.
        seed: of the lot.

    Raises:
        HeedError: an order that is unknown, a score that is missing, or one objective that should conflict.

    >>> certain, uncertain = Pair("a", "?", ("x", "y"), {"help": 3.0}), Pair("b", "?", ("x", "y"), {"help": -0.1})
    >>> [pair.id for pair in in_order([certain, uncertain], "uncertain", ["help"])]
    ['b', 'a']
    """
    require_order(order, objectives)
    mixed = random.Random(seed).sample(pairs, len(pairs))
    by = ORDERS[order]
    if by is None:
        return mixed
    for pair in pairs:
        missing = [name for name in objectives if name not in pair.scores]
        if missing:
            fix = 'give --reward, or every pair "scores", or take --next random'
            raise HeedError(f"pair '{pair.id}' has no score of {', '.join(missing)}", f"--next {order}", fix)
    return sorted(mixed, key=lambda pair: -by([pair.scores[name] for name in objectives]))
