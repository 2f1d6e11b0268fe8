"""Judgements taken out of a store: as JSON lines or Parquet, and what each person's come to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from heed.errors import HeedError
from heed.oversight.judgements import Judgement
from heed.runs.files import replacing

FORMATS = (".jsonl", ".parquet")


def told(judgement: Judgement) -> dict[str, Any]:
    """A judgement as one flat row; what was shown and said stay as they are."""
    return {**vars(judgement), "at": judgement.at.isoformat()}


def export(judgements: Sequence[Judgement], path: Path) -> None:
    """Write judgements into a file, whole or not at all.

    Args:
        judgements: in their order.
        path: ends in .jsonl (one object a line) or .parquet (``shown`` and ``verdict`` as JSON texts, as they differ by
            row).

    Raises:
        HeedError: another ending, or a place where nothing can be written.
    """
    rows = [told(judgement) for judgement in judgements]
    if path.suffix == ".parquet":
        for row in rows:
            row |= {name: json.dumps(row[name], ensure_ascii=False) for name in ("shown", "verdict")}
    write_rows(rows, path, _SCHEMA)


def require_ending(path: Path) -> None:
    """Refuse a file of another kind, before there is anything to lose.

    Raises:
        HeedError: the path ends in something else than `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise HeedError(
            f"judgements are not written as '{path.suffix}'", str(path), f"end it in {' or '.join(FORMATS)}"
        )


def write_rows(rows: Sequence[dict[str, Any]], path: Path, schema: pa.Schema | None = None) -> None:
    """Write rows into a file, whole or not at all.

    Args:
        rows: each as JSON.
        path: ends in .jsonl (one object a line) or .parquet.
        schema: of the Parquet; told from the rows if None.

    Raises:
        HeedError: another ending, a place where nothing can be written, or columns that Parquet cannot hold.
    """
    require_ending(path)
    try:
        with replacing(path) as file:
            if path.suffix == ".jsonl":
                file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            else:
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    except OSError as error:
        raise HeedError(f"it cannot be written: {error.strerror}", str(path), "free or choose a folder") from error
    except pa.ArrowException as error:  # prompts that are now texts, now conversations
        raise HeedError(f"Parquet cannot hold it: {error}", str(path), "end it in .jsonl") from error


_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("kind", "person", "shown", "verdict", "run", "model_version")]
    + [("latency_ms", pa.float64()), ("key", pa.string()), ("at", pa.string())]
    + [("id", pa.int64()), ("retracts", pa.int64())]
)


def by_person(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """How many judgements each person gave, what share of them blocks, how fast where a key was pressed; most first.

    >>> fast = Judgement("block", "ada", {}, {"block": True}, latency_ms=200.0)
    >>> by_person([fast, Judgement("block", "ada", {}, {"block": False}, latency_ms=400.0)])
    [{'person': 'ada', 'judgements': 2, 'blocks': 0.5, 'median_ms': 300.0}]
    """
    found = []
    for person in {judgement.person: None for judgement in judgements}:
        own = [judgement for judgement in judgements if judgement.person == person]
        spoken = [judgement.latency_ms for judgement in own if not judgement.verdict.get("silent")]
        blocks = [bool(judgement.verdict["block"]) for judgement in own if judgement.kind == "block"]
        found.append(
            {
                "person": person,
                "judgements": len(own),
                "blocks": sum(blocks) / len(blocks) if blocks else None,
                "median_ms": statistics.median(spoken) if spoken else None,
            }
        )
    return sorted(found, key=lambda row: -row["judgements"])
