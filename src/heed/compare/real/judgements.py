"""People's comparisons dealt out by prompt: to judges that train the policy, to judges held out, and to a test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from heed.align.data.conversations import Message, as_message_prompt, completion_text
from heed.align.objectives.base import Objective
from heed.align.preferences.comparisons import Comparison
from heed.runs.statistics import binomial_bounds

Part: TypeAlias = Literal["trained", "held_out", "test"]
SHARES: dict[Part, int] = {"trained": 4, "held_out": 4, "test": 2}
"""Tenths of the prompts that go to each part."""


def deal(comparisons: Sequence[Comparison], objective: str, most: int = 0) -> dict[Part, list[Comparison]]:
    """Deal out the decided comparisons, those of one prompt to one part; by the prompt alone, so always alike.

    Args:
        comparisons: with verdicts.
        objective: on which they are dealt.
        most: of each part; 0 takes all.
    """
    dealt: dict[Part, list[Comparison]] = {part: [] for part in SHARES}
    parts = [part for part, tenths in SHARES.items() for _ in range(tenths)]
    for comparison in sorted(comparisons, key=_hash):  # those that are taken are of as many prompts as they can be
        part = dealt[parts[int(_hash(comparison["prompt"])[:8], 16) % len(parts)]]
        if comparison["verdicts"].get(objective) in ("left", "right") and not (most and len(part) >= most):
            part.append(comparison)
    return dealt


def as_chat(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with every prompt as messages, so that a judge reads what a model of conversations writes.

    >>> [row] = as_chat([{"prompt": "Fever.", "left": "Rest.", "right": "Run.", "verdicts": {"helpful": "left"}}])
    >>> row["prompt"]
    [{'role': 'user', 'content': 'Fever.'}]
    """
    chats = [dict(each) | {"prompt": as_message_prompt(each["prompt"])} for each in comparisons]
    return cast("list[Comparison]", chats)


def write(comparisons: Sequence[Comparison], file: Path) -> None:
    """Write comparisons as `heed reward` reads them: a column of a file is of one type, texts or messages."""
    mixed = len({type(each[side]) for each in comparisons for side in ("left", "right")}) > 1
    rows = [
        each | {side: _messages(each[side]) for side in ("left", "right")} if mixed else each for each in comparisons
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _messages(completion: str | list[Message]) -> list[Message]:
    return [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion


def better_and_worse(comparisons: Sequence[Comparison], objective: str) -> list[tuple[Any, Any]]:
    """The better and the worse completion of each decided comparison."""
    sides = {"left": ("left", "right"), "right": ("right", "left")}
    ordered = [(each, sides.get(each["verdicts"].get(objective, "skip"))) for each in comparisons]
    return [(each[order[0]], each[order[1]]) for each, order in ordered if order is not None]  # type: ignore[literal-required]


def agreement(judge: Objective, comparisons: Sequence[Comparison], objective: str) -> dict[str, Any]:
    """How often a judge prefers what people preferred, beside how often the longer completion is what they did.

    Args:
        judge: with one name.
        comparisons: that it has not learnt from.
        objective: of their verdicts.

    Returns:
        ``share`` and its exact 95% interval ``low`` to ``high``, as if each comparison were of a prompt of its own,
        ``longer``, and ``of``, the number of comparisons; a draw counts half.
    """
    pairs = better_and_worse(comparisons, objective)
    prompts = [each["prompt"] for each in comparisons if each["verdicts"].get(objective) in ("left", "right")]
    better, worse = (judge.score(prompts, [pair[side] for pair in pairs], {})[:, 0] for side in (0, 1))
    sign = judge.specs[0].sign
    won = float(((sign * better > sign * worse).double() + 0.5 * (better == worse)).sum())
    words = [tuple(len(completion_text(side).split()) for side in pair) for pair in pairs]
    longer = sum((one > other) + 0.5 * (one == other) for one, other in words)
    low, high = binomial_bounds(round(won), len(pairs))
    return {"share": won / len(pairs), "low": low, "high": high, "longer": longer / len(pairs), "of": len(pairs)}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
