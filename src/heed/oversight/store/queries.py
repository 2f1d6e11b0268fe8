"""Queries of a store, piece by piece: a page of judgements, one of them whole, or all of a kind in passing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.engine import Row

from heed.oversight.store.audit_chain import LINKED, link
from heed.oversight.store.database import TABLE
from heed.oversight.store.store import RETRACTION, Judgement, Store

Status = Literal["all", "active", "retracted"]
BATCH = 1000
"""Rows that are read at once in passing."""
MOST_NAMES = 200
"""People or runs that are named."""

_RETRACTION = TABLE.alias("retraction")


@dataclass(frozen=True)
class Filter:
    """Which judgements are asked for; None asks for all of them.

    Args:
        kind: "block", "compare" or "mark".
        person: whose.
        run: which run's.
        status: active, or retracted.
    """

    kind: str | None = None
    person: str | None = None
    run: str | None = None
    status: Status = "all"


@dataclass(frozen=True)
class Retraction:
    """That a judgement was retracted.

    Args:
        id: the row that says so.
        person: who did.
        at: when.
        why: the reason they gave.
    """

    id: int
    person: str
    at: datetime
    why: str


@dataclass(frozen=True)
class Found:
    """A judgement as it lies in the store.

    Args:
        id: its row.
        judgement: what it says.
        digest: of its row in the audit chain.
        retraction: by whom, when and why; None if it is active.
    """

    id: int
    judgement: Judgement
    digest: str
    retraction: Retraction | None


def page(store: Store, wanted: Filter, before: int | None = None, most: int = 50) -> list[Found]:
    """Some judgements, newest first, as many as are asked for and no more.

    Args:
        store: where.
        wanted: which.
        before: only those of smaller ids; the last id of one page asks for the next.
        most: how many.

    Raises:
        RunFailed: the database cannot be read.

    >>> store = Store("sqlite://")
    >>> ids = [store.add(Judgement("block", "ada", shown={"step": n}, verdict={"block": True})) for n in range(5)]
    >>> [[found.id for found in page(store, Filter(), before, most=2)] for before in (None, 4, 2)]
    [[5, 4], [3, 2], [1]]
    """
    rows = _matching(wanted).order_by(TABLE.c.id.desc()).limit(most)
    if before is not None:
        rows = rows.where(TABLE.c.id < before)
    with store.reading() as connection:
        return [_found(row) for row in connection.execute(rows)]


def one(store: Store, judgement_id: int) -> Found | None:
    """A judgement by its id; None if there is none, or if that row is a retraction.

    Raises:
        RunFailed: the database cannot be read.
    """
    with store.reading() as connection:
        row = connection.execute(_matching(Filter()).where(TABLE.c.id == judgement_id)).one_or_none()
    return None if row is None else _found(row)


def follows(store: Store, found: Found) -> bool:
    """Whether a judgement is as it was written, after the row that lies before it now.

    That is one link of the audit chain; `Store.verify` follows them all.

    Raises:
        RunFailed: the database cannot be read.
    """
    digests = select(TABLE.c.digest).where(TABLE.c.id < found.id).order_by(TABLE.c.id.desc()).limit(1)
    with store.reading() as connection:
        before = connection.execute(digests).scalar_one_or_none() or ""
    return link(before, {name: getattr(found.judgement, name) for name in LINKED}) == found.digest


def passing(store: Store, wanted: Filter) -> Iterator[Judgement]:
    """All of them, oldest first; a batch of them is held at a time, and no connection between two batches.

    Raises:
        RunFailed: the database cannot be read.
    """
    rows, last = _matching(wanted).order_by(TABLE.c.id).limit(BATCH), 0
    while True:
        with store.reading() as connection:
            batch = [_found(row) for row in connection.execute(rows.where(TABLE.c.id > last))]
        yield from (found.judgement for found in batch)
        if len(batch) < BATCH:
            return
        last = batch[-1].id


def people_of(store: Store) -> list[str]:
    """Who judged, by name; the first `MOST_NAMES` of them.

    Raises:
        RunFailed: the database cannot be read.
    """
    named = select(TABLE.c.person).where(TABLE.c.kind != RETRACTION).distinct().order_by(TABLE.c.person)
    with store.reading() as connection:
        return list(connection.execute(named.limit(MOST_NAMES)).scalars())


def last_row(store: Store) -> int:
    """The id of the last row of all, retractions included; 0 if there is none.

    Raises:
        RunFailed: the database cannot be read.
    """
    with store.reading() as connection:
        return connection.execute(select(func.max(TABLE.c.id))).scalar_one() or 0


def _matching(wanted: Filter) -> Select[Any]:
    of = _RETRACTION.c
    retraction = [column.label(f"retraction_{column.name}") for column in (of.id, of.person, of.at, of.verdict)]
    rows = select(TABLE, *retraction).outerjoin(_RETRACTION, of.retracts == TABLE.c.id)
    rows = rows.where(TABLE.c.kind != RETRACTION)
    asked: dict[ColumnElement[Any], str | None] = {
        TABLE.c.kind: wanted.kind,
        TABLE.c.person: wanted.person,
        TABLE.c.run: wanted.run,
    }
    for column, value in asked.items():
        if value is not None:
            rows = rows.where(column == value)
    if wanted.status == "all":
        return rows
    active = of.id.is_(None)
    return rows.where(active if wanted.status == "active" else ~active)


def _found(row: Row[Any]) -> Found:
    columns = dict(row._mapping)
    retracted = {name: columns.pop(f"retraction_{name}") for name in ("id", "person", "at", "verdict")}
    verdict, digest = retracted.pop("verdict"), columns.pop("digest")
    retraction = None if retracted["id"] is None else Retraction(**retracted, why=str(verdict["why"]))
    return Found(columns["id"], Judgement(**columns), digest, retraction)
