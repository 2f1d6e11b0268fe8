"""Judgements exported from a store, as JSON lines or Parquet, and a summary of each person's."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedWriter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from heed.errors import HeedError
from heed.oversight.store.store import MARK, Judgement
from heed.runs.files import replacing

FORMATS = (".jsonl", ".parquet")
GROUP = 1000
"""Judgements that are written at once: a row group of Parquet."""


def as_row(judgement: Judgement) -> dict[str, Any]:
    """A judgement as one flat row; what was shown and the verdict stay as they are."""
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
    with _into(path) as file:
        for piece in STREAMS[path.suffix](judgements):
            file.write(piece)


def as_jsonl(judgements: Iterable[Judgement]) -> Iterator[bytes]:
    """Judgements as JSON lines, piece by piece: no more than `GROUP` of them are held at a time.

    >>> b"".join(as_jsonl([Judgement("block", "ada", {}, {"block": True})]))[:34]
    b'{"kind": "block", "person": "ada",'
    """
    rest = iter(judgements)
    while group := [_line(as_row(judgement)) for judgement in islice(rest, GROUP)]:
        yield b"".join(group)


def as_parquet(judgements: Iterable[Judgement]) -> Iterator[bytes]:
    """Judgements as Parquet, piece by piece: no more than `GROUP` of them are held at a time.

    >>> b"".join(as_parquet([]))[:4]
    b'PAR1'
    """
    sink, rest = _Sink(), iter(judgements)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), _SCHEMA) as writer:
        while group := [as_row(judgement) for judgement in islice(rest, GROUP)]:
            for row in group:
                row |= {name: json.dumps(row[name], ensure_ascii=False) for name in ("shown", "verdict")}
            writer.write_table(pa.Table.from_pylist(group, schema=_SCHEMA))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What is written into it can be taken out again, piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self._length += len(self._pieces[-1])
        return len(self._pieces[-1])

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


STREAMS: dict[str, Callable[[Iterable[Judgement]], Iterator[bytes]]] = {".jsonl": as_jsonl, ".parquet": as_parquet}
"""How judgements are written, by what a file's name ends in."""


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


def require_ending(path: Path) -> None:
    """Refuse a file of another kind, before there is anything to lose.

    Raises:
        HeedError: the path ends in something else than `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise HeedError(
            f"judgements are not written as '{path.suffix}'", str(path), f"end it in {' or '.join(FORMATS)}"
        )


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows into a file, whole or not at all.

    Args:
        rows: each as JSON.
        path: ends in .jsonl (one object a line) or .parquet.

    Raises:
        HeedError: another ending, a place where nothing can be written, or columns that Parquet cannot hold.
    """
    try:
        with _into(path) as file:
            if path.suffix == ".jsonl":
                file.writelines(map(_line, rows))
            else:
                pq.write_table(pa.Table.from_pylist(rows), file)
    except pa.ArrowException as error:  # prompts that are now texts, now conversations
        raise HeedError(f"Parquet cannot hold it: {error}", str(path), "end it in .jsonl") from error


@contextmanager
def _into(path: Path) -> Iterator[BufferedWriter]:
    require_ending(path)
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise HeedError(f"it cannot be written: {error.strerror}", str(path), "free or choose a folder") from error


_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("kind", "person", "shown", "verdict", "run", "model_version")]
    + [("latency_ms", pa.float64()), ("key", pa.string()), ("at", pa.string())]
    + [("id", pa.int64()), ("retracts", pa.int64())]
)


def spoken(judgement: Judgement) -> bool:
    """Whether a key gave it: not silence, nor acting in the agent's place.

    >>> spoken(Judgement("block", "ada", {}, {"block": False, "silent": True}))
    False
    """
    verdict = judgement.verdict
    return not (isinstance(verdict, dict) and (verdict.get("silent") or verdict.get("acted")))


def by_person(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """How many judgements each person gave, what share of them blocks, how fast a key gave them; most first.

    >>> fast = Judgement("block", "ada", {}, {"block": True}, latency_ms=200.0)
    >>> by_person([fast, Judgement("block", "ada", {}, {"block": False}, latency_ms=400.0)])
    [{'person': 'ada', 'judgements': 2, 'blocks': 0.5, 'median_ms': 300.0}]
    """
    found = []
    judgements = [judgement for judgement in judgements if judgement.kind != MARK]
    for person in {judgement.person: None for judgement in judgements}:
        own = [judgement for judgement in judgements if judgement.person == person]
        latencies = [judgement.latency_ms for judgement in own if spoken(judgement)]
        blocks = [bool(judgement.verdict["block"]) for judgement in own if judgement.kind == "block"]
        found.append(
            {
                "person": person,
                "judgements": len(own),
                "blocks": sum(blocks) / len(blocks) if blocks else None,
                "median_ms": statistics.median(latencies) if latencies else None,
            }
        )
    return sorted(found, key=lambda row: -row["judgements"])
