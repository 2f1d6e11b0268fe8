"""Comparisons of two completions: heed's record of them, and readers of the formats they are published in."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from heed.align.data.conversations import Message, completion_text, is_messages
from heed.align.data.tables import Table, read_table
from heed.errors import HeedError

logger = logging.getLogger(__name__)

Verdict: TypeAlias = Literal["left", "right", "tie", "skip"]
Format: TypeAlias = Literal["auto", "heed", "pku", "hh", "trl"]
VERDICTS = ("left", "right", "tie", "skip")
_ASSISTANT = "\n\nAssistant:"


class Comparison(TypedDict):
    """Two completions of one prompt, and for each objective which of them is better.

    A completion of several messages, such as calls of tools, stays a list of them; its prompt is one too.
    ``margins`` are the least differences by which the winner's score is to exceed the loser's (absent: 0).
    """

    prompt: str | list[Message]
    left: str | list[Message]
    right: str | list[Message]
    verdicts: dict[str, Verdict]
    margins: NotRequired[dict[str, float]]


def read_comparisons(
    path: str | Path, format: Format = "auto", objective: str = "preference", split: str | None = None
) -> list[Comparison]:
    r"""Read comparisons.

    Args:
        path: a ``.jsonl`` or ``.parquet`` file, a folder written by ``save_to_disk``, or a hub id.
        format: "heed" (prompt, left, right, verdicts, margins), "pku" (PKU-SafeRLHF: objectives ``helpful`` and
            ``harmless``), "hh" (HH-RLHF: transcripts chosen and rejected, split where they part, so that
            ``prompt + left == chosen``), "trl" (prompt, chosen, rejected; the prompt may be left implicit, or also
            stand in both conversations, as in UltraFeedback), or "auto" to detect it by the columns.
        objective: the name of the one objective of "hh" and "trl".
        split: which split, where there are several; "train" if there is one of that name.

    Returns:
        At least one comparison. Transcripts of "hh" that share no assistant's turn are left out, with a count.

    Raises:
        HeedError: nothing to read, a malformed line, columns of no known format, or a value that a record cannot hold.
    """
    table = read_table(path, split)
    chosen = _tell_format(table, str(path)) if format == "auto" else format
    if chosen not in _READERS:
        raise HeedError(f"format {chosen!r} is not known", where=str(path), fix=f"give auto, {', '.join(_READERS)}")
    columns, read = _READERS[chosen]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise HeedError(
            f"format {chosen!r} needs the columns {', '.join(missing)}",
            where=str(path),
            fix=f"the columns are {', '.join(table.columns)}",
        )
    comparisons = [read(row, table.location(index), objective) for index, row in enumerate(table.data)]
    kept = [comparison for comparison in comparisons if comparison is not None]
    if not kept:
        raise HeedError("no transcript pair shares an assistant's turn", where=str(path), fix="check the format")
    if len(kept) < len(comparisons):
        logger.warning(
            "%s: %d of %d transcript pairs share no assistant's turn and are left out",
            path,
            len(comparisons) - len(kept),
            len(comparisons),
        )
    return kept


def _tell_format(table: Table, where: str) -> str:
    columns = set(table.columns)
    if "verdicts" in columns:
        return "heed"
    if "better_response_id" in columns:
        return "pku"
    if {"chosen", "rejected"} <= columns:
        first = table.data[0]["chosen"]
        transcripts = "prompt" not in columns and isinstance(first, str) and _ASSISTANT in first
        return "hh" if transcripts else "trl"
    raise HeedError(
        f"cannot tell the comparisons' format from the columns {', '.join(table.columns)}",
        where,
        fix="name columns prompt, left, right, verdicts; or prompt, chosen, rejected",
    )


def _read_heed(row: Mapping[str, Any], where: str, objective: str) -> Comparison:  # noqa: ARG001 - one signature
    # A dataset gives every row every key: what a row did not have is None.
    verdicts = {name: verdict for name, verdict in (row["verdicts"] or {}).items() if verdict is not None}
    for name, verdict in verdicts.items():
        if verdict not in VERDICTS:
            raise HeedError(f"verdict {verdict!r} on {name!r}", where, fix=f"give one of {', '.join(VERDICTS)}")
    if not verdicts:
        raise HeedError("a comparison without a verdict", where, fix='give verdicts {"objective": "left"}')
    comparison = Comparison(
        prompt=_prompt(row["prompt"], where),
        left=_text(row["left"], where),
        right=_text(row["right"], where),
        verdicts=verdicts,
    )
    margins = {name: margin for name, margin in (row.get("margins") or {}).items() if margin is not None}
    for name, margin in margins.items():
        if not (isinstance(margin, int | float) and math.isfinite(margin) and margin >= 0):
            raise HeedError(
                f"margin {margin!r} on {name!r}", where, fix="give a number >= 0; the verdict says whose it is"
            )
    if margins:
        comparison["margins"] = margins
    return comparison


def _read_pku(row: Mapping[str, Any], where: str, objective: str) -> Comparison:  # noqa: ARG001 - one signature
    return Comparison(
        prompt=_prompt(row["prompt"], where),
        left=_text(row["response_0"], where),
        right=_text(row["response_1"], where),
        verdicts={
            "helpful": _side(row["better_response_id"], where),
            "harmless": _side(row["safer_response_id"], where),
        },
    )


def _side(index: object, where: str) -> Verdict:
    if index not in (0, 1):
        raise HeedError(f"the better response is {index!r}", where, fix="give 0 or 1")
    return "right" if index else "left"


def _read_hh(row: Mapping[str, Any], where: str, objective: str) -> Comparison | None:
    chosen, rejected = _text(row["chosen"], where), _text(row["rejected"], where)
    start = chosen[: _shared_length(chosen, rejected)].rfind(_ASSISTANT)
    if start < 0:
        return None
    start += len(_ASSISTANT)
    return Comparison(prompt=chosen[:start], left=chosen[start:], right=rejected[start:], verdicts={objective: "left"})


def _read_trl(row: Mapping[str, Any], where: str, objective: str) -> Comparison:
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if prompt is None:
        prompt, chosen, rejected = _extract_prompt(chosen, rejected, where)
    elif is_messages(chosen) and is_messages(rejected):
        chosen, rejected = ([_message(message) for message in said] for said in (chosen, rejected))
        prompt = _asked(prompt, chosen) if isinstance(prompt, str) else _prompt(prompt, where)
        count = len(prompt)
        if chosen[:count] == prompt and rejected[:count] == prompt:
            chosen, rejected = chosen[count:], rejected[count:]
    return Comparison(
        prompt=_prompt(prompt, where),
        left=_completion(chosen, where),
        right=_completion(rejected, where),
        verdicts={objective: "left"},
    )


def _asked(prompt: str, conversation: list[Message]) -> list[Message]:
    """The messages up to the user's that is the prompt; that message alone where the conversation begins after it."""
    for index, message in enumerate(conversation):
        if message["role"] == "user" and str(message["content"]).strip() == prompt.strip():
            return conversation[: index + 1]
    return [{"role": "user", "content": prompt}]


def _extract_prompt(chosen: Any, rejected: Any, where: str) -> tuple[Any, Any, Any]:
    """Split two conversations or texts where they part, as TRL's ``extract_prompt`` does."""
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        raise HeedError("chosen and rejected are neither both texts nor both messages", where, fix="give them one form")
    shared = _shared_length(chosen, rejected)
    if isinstance(chosen, list):
        # Where one reply was preferred to an identical one, the shared part would swallow both.
        shared = min(shared, len(chosen) - 1, len(rejected) - 1)
    elif shared and chosen[shared - 1] == " ":
        shared -= 1  # the space before a word belongs to the word, for most tokenizers
    if shared <= 0:
        raise HeedError("chosen and rejected share no beginning", where, fix="add a column 'prompt'")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _shared_length(one: Sequence[Any], other: Sequence[Any]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def _prompt(value: Any, where: str) -> str | list[Message]:
    if isinstance(value, str) and value:
        return value
    if is_messages(value):
        return [_message(message) for message in value]
    raise HeedError(f"the prompt is {value!r}"[:80], where, fix="give a text or a list of messages")


def _message(message: Mapping[str, Any]) -> Message:
    """A message with what it has beside role and content; a dataset gives what it lacks as None."""
    return {key: value for key, value in message.items() if value is not None or key == "content"}


def _completion(value: Any, where: str) -> str | list[Message]:
    """A completion's text, or its messages where it has several."""
    if not is_messages(value) or len(value) == 1:
        return _text(value, where)
    if value[0]["role"] in ("user", "system"):
        raise HeedError(
            f"a completion begins with a message of the {value[0]['role']}: {value[0]['content']!r}"[:120],
            where,
            fix="let it begin with the assistant's, or with the whole prompt",
        )
    return [_message(message) for message in value]


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if is_messages(value) and len(value) == 1 and isinstance(value[0]["content"], str):
        return completion_text(value)
    raise HeedError(f"a completion is {value!r}"[:80], where, fix="give a text, or one message of the assistant")


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any], str, str], Comparison | None]]] = {
    "heed": (("prompt", "left", "right", "verdicts"), _read_heed),
    "pku": (("prompt", "response_0", "response_1", "better_response_id", "safer_response_id"), _read_pku),
    "hh": (("chosen", "rejected"), _read_hh),
    "trl": (("chosen", "rejected"), _read_trl),
}
