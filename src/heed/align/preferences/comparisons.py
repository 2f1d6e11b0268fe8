"""Comparisons of two completions: heed's record of them, and readers of the formats they are published in."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from heed.align.data.conversations import Message, completion_text, is_messages, located, tools_of
from heed.align.data.tables import Table, read_table
from heed.align.preferences.config import Format
from heed.errors import HeedError

logger = logging.getLogger(__name__)

Verdict: TypeAlias = Literal["left", "right", "tie", "skip"]
VERDICTS = ("left", "right", "tie", "skip")
BOTH_BAD = "both bad"
"""What `heed label` writes of a tie where neither is acceptable; it is read as a tie."""
_ASSISTANT = "\n\nAssistant:"
_TURN = "<extra_id_1>"


class Comparison(TypedDict):
    """Two completions of one prompt, and for each objective which of them is better.

    A completion of several messages, such as calls of tools, stays a list of them; its prompt is one too.
    ``margins`` are the least differences by which the winner's score is to exceed the loser's (absent: 0); ``tools``
    are the prompt's, for the chat template.
    """

    prompt: str | list[Message]
    left: str | list[Message]
    right: str | list[Message]
    verdicts: dict[str, Verdict]
    margins: NotRequired[dict[str, float]]
    tools: NotRequired[list[Any]]


Row: TypeAlias = tuple[str | list[Message], str | list[Message], dict[str, float]]
"""A prompt, one completion of it, and its score on each objective."""
RowReader: TypeAlias = Callable[[Mapping[str, Any], Table, str, str], Row]


def read_comparisons(
    path: str | Path, format: Format = "auto", objective: str = "preference", split: str | None = None
) -> list[Comparison]:
    r"""Read comparisons.

    Args:
        path: a ``.jsonl`` or ``.parquet`` file, a folder written by ``save_to_disk``, or a hub id.
        format: "heed" (prompt, left, right, verdicts, margins), "pku" (PKU-SafeRLHF: objectives ``helpful`` and
            ``harmless``), "hh" (HH-RLHF: transcripts chosen and rejected, split where they part, so that
            ``prompt + left == chosen``), "trl" (prompt, chosen, rejected; the prompt may be left implicit, or also
            stand in both conversations, as in UltraFeedback), "shp" (Stanford's SHP: history, human_ref_A, human_ref_B,
            labels), "strength" (the preferences of HelpSteer2 and 3: two responses, and a number below 0 where the
            first is better), "rated" (HelpSteer2: prompt, response, and a column of numbers for each objective),
            "unpaired" (prompt, completion, label, as TRL's KTO has them), or "auto" to detect it by the columns.
        objective: the name of the one objective of "hh", "trl", "shp", "strength" and "unpaired".
        split: which split, where there are several; "train" if there is one of that name.

    Returns:
        At least one comparison. "rated" and "unpaired" compare the rows of one prompt, wherever they stand: each with
        each, and the good ones with the bad ones. Rows without such a partner, and transcripts of "hh" that share no
        assistant's turn, are left out, with a count.

    Raises:
        HeedError: nothing to read, a malformed line, columns of no known format, or a value that a record cannot hold.
    """
    table = read_table(path, split)
    chosen = _tell_format(table, str(path)) if format == "auto" else format
    known = _READERS | _ROW_READERS
    if chosen not in known:
        raise HeedError(f"format {chosen!r} is not known", where=str(path), fix=f"give auto, {', '.join(known)}")
    columns = known[chosen][0]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise HeedError(
            f"format {chosen!r} needs the columns {', '.join(missing)}",
            where=str(path),
            fix=f"the columns are {', '.join(table.columns)}",
        )
    if chosen in _ROW_READERS:
        return _compared(table, _ROW_READERS[chosen][1], objective, str(path))
    read = _READERS[chosen][1]
    comparisons = []
    for index, row in enumerate(table.data):
        comparisons.append(read(row, table.location(index), objective))
        _add_tools(comparisons[-1], row, table.location(index))
    _say_turns(comparisons, str(path))
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
    if {"human_ref_A", "human_ref_B"} & columns:
        return "shp"
    if {"preference_strength", "overall_preference"} & columns:
        return "strength"
    if "helpfulness" in columns:
        return "rated"
    if {"completion", "label"} <= columns:
        return "unpaired"
    raise HeedError(
        f"cannot tell the comparisons' format from the columns {', '.join(table.columns)}",
        where,
        fix="name columns prompt, left, right, verdicts; prompt, chosen, rejected; or prompt, completion, label",
    )


def _compared(table: Table, read: RowReader, objective: str, path: str) -> list[Comparison]:
    """The rows of each prompt against each other, by their scores, in the order of the first row of a pair."""
    prompts: dict[str, list[int]] = {}
    rows: list[Row] = []
    for index, row in enumerate(table.data):
        rows.append(read(row, table, table.location(index), objective))
        asked = json.dumps([rows[-1][0], row.get("tools")], sort_keys=True, default=str)
        prompts.setdefault(asked, []).append(index)
    pairs = sorted(
        (first, second)
        for of_one in prompts.values()
        for first, second in combinations(of_one, 2)
        if read is not _read_unpaired or rows[first][2] != rows[second][2]
    )
    alone = len(rows) - len({index for pair in pairs for index in pair})
    if not pairs:
        fix = "give prompts that have a good and a bad completion, or two rated ones"
        raise HeedError(f"none of {len(rows)} rows has a partner of the same prompt", path, fix)
    if alone:
        logger.warning("%s: %d of %d rows have no partner of the same prompt and are left out", path, alone, len(rows))
    compared = []
    for first, second in pairs:
        (prompt, left, scores), (_, right, others) = rows[first], rows[second]
        verdicts = {name: _higher(score, others[name]) for name, score in scores.items()}
        compared.append(Comparison(prompt=prompt, left=left, right=right, verdicts=verdicts))
        _add_tools(compared[-1], table.data[first], table.location(first))
    _say_turns(compared, path)
    return compared


def _add_tools(comparison: Comparison | None, row: Mapping[str, Any], where: str) -> None:
    with located(where):
        tools = tools_of(row.get("tools"))
    if comparison and tools:
        comparison["tools"] = tools


def _higher(left: float, right: float) -> Verdict:
    return "tie" if left == right else "left" if left > right else "right"


def _say_turns(comparisons: Sequence[Comparison | None], path: str) -> None:
    """Say of prompts that hold several turns in a text, with HelpSteer2's marks, which no chat template knows."""
    marked = [one for one in comparisons if one and isinstance(one["prompt"], str) and _TURN in one["prompt"]]
    if marked:
        fix = "they are read as they stand; make them messages for a chat model"
        logger.warning("%s: %d prompts hold several turns, marked by %s: %s", path, len(marked), _TURN, fix)


def _read_heed(row: Mapping[str, Any], where: str, objective: str) -> Comparison:  # noqa: ARG001 - one signature
    for column in ("verdicts", "margins"):
        if not isinstance(row.get(column) or {}, Mapping):
            fix = 'give {"objective": "left"}' if column == "verdicts" else 'give {"objective": 0.5}'
            raise HeedError(f"the {column} are {row[column]!r}"[:80], where, fix)
    # A dataset gives every row every key: what a row did not have is None.
    verdicts = {name: verdict for name, verdict in (row["verdicts"] or {}).items() if verdict is not None}
    for name, verdict in verdicts.items():
        if verdict == BOTH_BAD:
            verdicts[name] = "tie"  # which of them is better is not said
        elif verdict not in VERDICTS:
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


def _read_shp(row: Mapping[str, Any], where: str, objective: str) -> Comparison:
    return Comparison(
        prompt=_prompt(row["history"], where),
        left=_text(row["human_ref_A"], where),
        right=_text(row["human_ref_B"], where),
        verdicts={objective: "left" if _flag(row["labels"], where) else "right"},
    )


def _read_strength(row: Mapping[str, Any], where: str, objective: str) -> Comparison:
    """A row of HelpSteer2's preferences, or of HelpSteer3's, which has other names."""
    names = ("prompt", "response_1", "response_2", "preference_strength")
    if "overall_preference" in row:
        names = ("context", "response1", "response2", "overall_preference")
    lacking = [name for name in names if name not in row]
    if lacking:
        raise HeedError(f"a row lacks {', '.join(lacking)}", where, fix=f"give {', '.join(names)}")
    prompt, left, right, strength = (row[name] for name in names)
    return Comparison(
        prompt=_prompt(prompt, where),
        left=_text(left, where),
        right=_text(right, where),
        verdicts={objective: _higher(0, _number(strength, names[-1], where))},
    )


def _read_rated(row: Mapping[str, Any], table: Table, where: str, objective: str) -> Row:  # noqa: ARG001 - one signature
    scores = [
        name
        for name, feature in table.data.features.items()
        if getattr(feature, "dtype", "").startswith(("int", "uint", "float"))
    ]
    if not scores:
        raise HeedError("no column of numbers rates the completions", where, fix="give one for each objective")
    if "response" not in row and "completion" not in row:
        raise HeedError("a row lacks response", where, fix=f"name a column response; there are {', '.join(row)}")
    prompt, completion = _apart(row["prompt"], row["response"] if "response" in row else row["completion"], where)
    return prompt, completion, {name: _number(row[name], name, where) for name in scores}


def _read_unpaired(row: Mapping[str, Any], table: Table, where: str, objective: str) -> Row:  # noqa: ARG001 - one signature
    prompt, completion = _apart(row["prompt"], row["completion"], where)
    return prompt, completion, {objective: float(_flag(row["label"], where))}


def _apart(prompt: Any, completion: Any, where: str) -> tuple[Any, Any]:
    """A prompt and its one completion, in the forms that TRL's preferences may have."""
    _prompt(prompt, where)
    both = _read_trl({"prompt": prompt, "chosen": completion, "rejected": completion}, where, "")
    return both["prompt"], both["left"]


def _flag(value: object, where: str) -> bool:
    if value not in (0, 1):
        raise HeedError(f"the label is {value!r}"[:80], where, fix="give true or false, or 1 or 0")
    return bool(value)


def _number(value: Any, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HeedError(f"{name} is {value!r}"[:80], where, fix="give a number")
    return float(value)


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
    "shp": (("history", "human_ref_A", "human_ref_B", "labels"), _read_shp),
    "strength": ((), _read_strength),
}

_ROW_READERS: dict[str, tuple[tuple[str, ...], RowReader]] = {
    "rated": (("prompt",), _read_rated),
    "unpaired": (("prompt", "completion", "label"), _read_unpaired),
}
