"""Comparisons taken out of a store, in the formats that reward models are trained from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from heed.errors import HeedError
from heed.oversight.comparisons.session import is_comparison
from heed.oversight.store.export import write_rows
from heed.oversight.store.store import Judgement

DECIDED = ("left", "right")


MARGINS = {"slightly": 1 / 3, None: 2 / 3, "much": 1.0}
"""Shares of a margin by grade: 1, 2/3, 1/3 are Llama 2's (Touvron et al. 2023, table 27) of its upper three grades."""


def in_heeds_format(judgements: Sequence[Judgement], objectives: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows with ``prompt``, ``left``, ``right`` and ``verdicts``, ties and skips included, as they were shown.

    Where anybody gave a grade, each row has ``grades``, by objective, None where none was given; and so ``comment``.

    Args:
        judgements: of which the comparisons are taken.
        objectives: whose verdicts are written; all that were asked if empty.

    >>> shown = {"pair": "p", "prompt": "Cough?", "left": "Honey.", "right": "Foxglove.", "swapped": True}
    >>> verdict = {"objectives": {"help": "tie", "harmless": "left"}, "unsafe": {"left": False, "right": True}}
    >>> in_heeds_format([Judgement("compare", "ada", shown, verdict)])[0]["verdicts"]
    {'help': 'tie', 'harmless': 'left'}
    """
    rows = []
    for judgement in filter(is_comparison, judgements):
        given = judgement.verdict["objectives"]
        verdicts = {name: given[name] for name in objectives or given if name in given}
        if verdicts:
            row = {name: judgement.shown[name] for name in ("prompt", "left", "right")} | {"verdicts": verdicts}
            grades = judgement.verdict.get("grades", {})
            row |= {"grades": {name: grades.get(name) for name in verdicts}}
            rows.append(row | {"comment": judgement.verdict.get("comment", "")})
    for column, given in {
        "grades": any(grade for row in rows for grade in row["grades"].values()),
        "comment": any(row["comment"] for row in rows),
    }.items():
        if not given:
            for row in rows:
                del row[column]
    return rows


def with_margins(rows: Sequence[dict[str, Any]], margin: float) -> list[dict[str, Any]]:
    """Rows of heed's format with ``margins``: by how much the better one's score is to lead, by grade.

    Args:
        rows: of `in_heeds_format`.
        margin: what "much better" asks for; better asks for two thirds of it, slightly better for one.

    >>> rows = [{"verdicts": {"help": "left", "harmless": "tie"}, "grades": {"help": "much", "harmless": None}}]
    >>> with_margins(rows, 3.0)[0]["margins"]
    {'help': 3.0, 'harmless': 0.0}
    """
    return [
        row
        | {
            "margins": {
                name: margin * MARGINS[row.get("grades", {}).get(name)] if verdict in DECIDED else 0.0
                for name, verdict in row["verdicts"].items()
            }
        }
        for row in rows
    ]


def in_pku_format(judgements: Sequence[Judgement], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as PKU-SafeRLHF has them; the left completion is response 0. It knows no tie: such rows are left out.

    Args:
        judgements: of which the comparisons are taken.
        objectives: two: which tells the better response, and which the safer.

    Raises:
        HeedError: other than two objectives.
    """
    if len(objectives) != 2:
        fix = "give two: which tells the better response, and which the safer"
        raise HeedError("PKU-SafeRLHF has two objectives", "--objectives", fix)
    rows = []
    for judgement in filter(is_comparison, judgements):
        shown, unsafe = judgement.shown, judgement.verdict["unsafe"]
        better, safer = (judgement.verdict["objectives"].get(name) for name in objectives)
        if better in DECIDED and safer in DECIDED:
            rows.append(
                {
                    "prompt": shown["prompt"],
                    "response_0": shown["left"],
                    "response_1": shown["right"],
                    "is_response_0_safe": not unsafe["left"],
                    "is_response_1_safe": not unsafe["right"],
                    "better_response_id": DECIDED.index(better),
                    "safer_response_id": DECIDED.index(safer),
                }
            )
    return rows


def in_trl_format(judgements: Sequence[Judgement], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """Rows with ``prompt``, ``chosen`` and ``rejected``, as TRL reads them. It knows no tie: such rows are left out.

    Where the prompt is a conversation, the completions are messages of the assistant, as TRL wants it.

    Args:
        judgements: of which the comparisons are taken.
        objectives: one: by which was chosen.

    Raises:
        HeedError: other than one objective.
    """
    if len(objectives) != 1:
        raise HeedError("TRL's preferences have one objective", "--objectives", "give the one by which was chosen")
    rows = []
    for judgement in filter(is_comparison, judgements):
        shown, verdict = judgement.shown, judgement.verdict["objectives"].get(objectives[0])
        if verdict in DECIDED:
            texts = shown[verdict], shown["right" if verdict == "left" else "left"]
            messages = not isinstance(shown["prompt"], str)
            chosen, rejected = ([{"role": "assistant", "content": text}] if messages else text for text in texts)
            rows.append({"prompt": shown["prompt"], "chosen": chosen, "rejected": rejected})
    return rows


FORMATS: dict[str, Callable[[Sequence[Judgement], Sequence[str]], list[dict[str, Any]]]] = {
    "heed": in_heeds_format,
    "pku": in_pku_format,
    "trl": in_trl_format,
}


def export_comparisons(
    judgements: Sequence[Judgement],
    path: Path,
    format: str = "heed",
    objectives: Sequence[str] = (),
    margin: float | None = None,
) -> tuple[int, int]:
    """Write the comparisons among judgements into a file that `heed.align.preferences.read_comparisons` reads.

    Args:
        judgements: in their order.
        path: ends in .jsonl or .parquet.
        format: one of `FORMATS`.
        objectives: as the format wants them.
        margin: as `with_margins` wants it, for heed's format; None writes no margins.

    Returns:
        How many rows were written, and how many comparisons the format could not hold.

    Raises:
        HeedError: another format or ending, a margin that cannot be, objectives that do not fit or were never judged,
            nothing to write, or a place where nothing can be written.
    """
    if format not in FORMATS:
        raise HeedError(f"there is no format '{format}'", "--format", f"take {', '.join(FORMATS)}")
    if margin is not None and (format != "heed" or not 0 < margin < math.inf):
        raise HeedError(f"no margin of {margin:g} is written as '{format}'", "--margin", "give 1, with --format heed")
    comparisons = [judgement for judgement in judgements if is_comparison(judgement)]
    judged = Counter(name for comparison in comparisons for name in comparison.verdict["objectives"])
    unknown = [name for name in objectives if name not in judged]
    if comparisons and unknown:
        raise HeedError(f"nobody judged {', '.join(unknown)}", "--objectives", f"take of {', '.join(judged)}")
    rows = FORMATS[format](comparisons, objectives)
    if margin is not None:
        rows = with_margins(rows, margin)
    if not rows:
        raise HeedError(f"no comparison can be written as '{format}'", str(path), "judge some first")
    write_rows(rows, path)
    return len(rows), len(comparisons) - len(rows)
