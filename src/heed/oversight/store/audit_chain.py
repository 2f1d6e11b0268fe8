"""The audit chain: each digest is of a judgement and of the digest before it, so that no change goes unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

LINKED = ("key", "at", "kind", "person", "run", "model_version", "shown", "verdict", "latency_ms", "retracts")
"""What a digest is of: all that is stored but the row's id."""


def as_read_back(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, names as texts.

    >>> as_read_back({1: (2, 3)})
    {'1': [2, 3]}
    """
    return json.loads(json.dumps(value))


def link(before: str, row: Mapping[str, Any]) -> str:
    """The digest of a row after another one's: SHA-256, 64 hexadecimal digits.

    Args:
        before: the digest of the row before; "" for the first.
        row: with the columns of `LINKED`; ``at`` has a time zone.

    >>> from datetime import datetime
    >>> row = dict.fromkeys(LINKED, "") | {"at": datetime(2026, 1, 1, tzinfo=UTC), "latency_ms": 0.0}
    >>> link("", row) == link("", dict(row)), link("", row) == link("", row | {"person": "eve"}), len(link("", row))
    (True, False, 64)
    """
    content = {name: row[name] for name in LINKED}
    content |= {"at": row["at"].astimezone(UTC).isoformat(), "latency_ms": float(row["latency_ms"])}
    content |= {name: as_read_back(row[name]) for name in ("shown", "verdict")}
    text = json.dumps([before, content], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def first_broken(rows: Iterable[tuple[int, str, Mapping[str, Any]]]) -> int | None:
    """The id of the first row that is not as it was written, or that does not follow the one before; None if all are.

    A row that was changed, left out or put in between is found there; rows cut off at the end are not: compare the
    last digest with one that was written down elsewhere.

    Args:
        rows: id, digest and columns, in the order of their ids.
    """
    before = ""
    for number, digest, row in rows:
        before = link(before, row)
        if digest != before:
            return number
    return None
