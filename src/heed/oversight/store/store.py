"""The store of judgements: every verdict that a person or script gave, in one database that only grows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, make_url, select
from sqlalchemy.engine import URL, Row
from sqlalchemy.exc import ArgumentError, IntegrityError

from heed.errors import HeedError, RunFailed
from heed.oversight.store.audit_chain import LINKED, as_read_back, first_broken, link
from heed.oversight.store.database import FAULTS, SECRETS, TABLE, cause, engine_of, open_table, shown_url, write_alone

MARK = "mark"
"""The kind of a moment that somebody marked: it judges nothing, and nothing is learnt from it."""
KINDS = ("block", "compare", MARK)
RETRACTION = "retract"
"""The kind of a row that retracts a judgement."""
_BATCH = 1000
"""Rows that are in hand at a time, where all are read."""
_LAST_DIGEST = select(TABLE.c.digest).order_by(TABLE.c.id.desc()).limit(1)


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Args:
        kind: "block", "compare", or "mark", which judges nothing.
        person: who gave it; an overseer's name if a script did.
        shown: what was shown, as JSON.
        verdict: the answer, as JSON.
        run: the run that asked.
        model_version: the version of the model whose action or text was judged.
        latency_ms: from showing to answering, in milliseconds.
        key: made by the client; a retry with the same key is the same judgement.
        at: when it was given, with a time zone; stored as UTC.
        id: its row, given by the store.
        retracts: the row that this one retracts; only the store sets it.

    >>> Judgement("block", "ada", shown={"x": 1.0}, verdict={"block": True}).run
    ''
    """

    kind: str
    person: str
    shown: Any
    verdict: Any
    run: str = ""
    model_version: str = ""
    latency_ms: float = 0.0
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None
    retracts: int | None = None


class Store:
    """Judgements in a database; rows are added, never changed or deleted.

    What `add` has returned from is on disk: SQLite runs in write-ahead mode with full synchronisation, and PostgreSQL
    commits synchronously, so a reader never waits for a writer, and neither a crash nor a power cut loses an
    acknowledged judgement. Writers in other threads, processes and on other machines wait for each other.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///judgements.db`` is a file, ``sqlite://`` a database in memory,
            ``postgresql://USER@HOST/DATABASE`` one on a server.

    Raises:
        HeedError: if the URL cannot be used, or what is there is damaged, or not a store of judgements.

    >>> store = Store("sqlite://")
    >>> first = store.add(Judgement("block", "ada", shown={"x": 1.0}, verdict={"block": True}))
    >>> store.retract(first, person="ada", why="pressed by mistake")
    2
    >>> store.count(), store.effective()
    (1, [])
    """

    def __init__(self, url: str | URL = "sqlite:///judgements.db") -> None:
        try:
            parsed = make_url(url)
            self._where = shown_url(parsed)
            self._engine = engine_of(parsed)
        except ArgumentError as error:  # whose text may repeat a password
            raise HeedError("this names no database", where="Store", fix="give sqlite:///FILE") from error
        try:
            open_table(self._engine, self._where)
        except HeedError:
            self._engine.dispose()
            raise
        except FAULTS as error:
            self._engine.dispose()
            fix = "give another file, or restore this one from a copy"
            if self._engine.dialect.name != "sqlite":
                fix = "see that the server runs, has this database, and lets this user in (PGPASSWORD, ~/.pgpass)"
            raise HeedError(f"the store of judgements cannot be opened: {cause(error)}", self._where, fix) from error

    def add(self, judgement: Judgement) -> int:
        """Write a judgement down, and return its id; one whose key is there already is the same one, with the same id.

        Raises:
            HeedError: an unknown kind, no person, what is shown or answered not JSON, a time without a zone, or a key
                that belongs to another judgement.
            RunFailed: it could not be written.
        """
        return self.add_all([judgement])[0]

    def add_all(self, judgements: Sequence[Judgement]) -> list[int]:
        """Write several down at once, as `add` does one, and return their ids: all of them are written, or none is.

        The disk is waited for once. Where some are there already, each is added by itself. What a person gave is better
        added as soon as it is given.
        """
        for judgement in judgements:
            self._check(judgement)
        return self._insert(judgements)

    def _check(self, judgement: Judgement) -> None:
        if judgement.kind not in KINDS or not judgement.person:
            raise HeedError(
                f"a judgement of kind {judgement.kind!r} by {judgement.person!r}",
                where=self._where,
                fix=f"give a person, and one of {', '.join(KINDS)}",
            )
        try:
            json.dumps([judgement.shown, judgement.verdict, judgement.latency_ms], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise HeedError(
                f"no JSON: {error}", where="shown, verdict, latency_ms", fix="give numbers, texts, lists, dicts"
            ) from error
        if judgement.at.tzinfo is None:
            raise HeedError(f"{judgement.at} has no time zone", where="at", fix="give datetime.now(UTC)")
        if judgement.id is not None or judgement.retracts is not None:
            raise HeedError("a judgement that is in a store already", where=self._where, fix="make a new Judgement")

    def retract(self, judgement_id: int, person: str, why: str) -> int:
        """Retract a judgement by a further row, and return that row's id; a second time is the same row.

        Raises:
            HeedError: if there is no such judgement, or no person.
            RunFailed: it could not be written.
        """
        given = self._one(TABLE.c.id == judgement_id)
        if given is None or given.kind == RETRACTION or not person:
            raise HeedError(
                f"there is no judgement {judgement_id} for {person!r} to retract",
                where=self._where,
                fix="give a person, and an id that add returned",
            )
        retraction = replace(
            given,
            kind=RETRACTION,
            person=person,
            shown=None,
            verdict={"why": why},
            latency_ms=0.0,
            key=f"retract {judgement_id}",
            at=datetime.now(UTC),
            id=None,
            retracts=judgement_id,
        )
        return self._insert([retraction])[0]

    def effective(self, kind: str | None = None, person: str | None = None, run: str | None = None) -> list[Judgement]:
        """The active judgements, oldest first: without those that were retracted, and without the retractions.

        Args:
            kind: only "block", "compare" or "mark".
            person: only this person's.
            run: only those that this run asked for.

        Raises:
            RunFailed: the database cannot be read.
        """
        retracted = select(TABLE.c.retracts).where(TABLE.c.retracts.is_not(None))
        wanted = select(TABLE).where(TABLE.c.kind != RETRACTION, TABLE.c.id.not_in(retracted))
        for column, value in ((TABLE.c.kind, kind), (TABLE.c.person, person), (TABLE.c.run, run)):
            if value is not None:
                wanted = wanted.where(column == value)
        with self.reading() as connection:
            return [_judgement(row) for row in connection.execute(wanted.order_by(TABLE.c.id))]

    def count(self) -> int:
        """How many judgements were given, retracted ones included; marks are none."""
        wanted = select(func.count()).select_from(TABLE).where(TABLE.c.kind.not_in((RETRACTION, MARK)))
        with self.reading() as connection:
            return connection.execute(wanted).scalar_one()

    def runs(self) -> list[str]:
        """The runs that asked for judgements, in the order in which they began to."""
        wanted = select(TABLE.c.run).where(TABLE.c.run != "").group_by(TABLE.c.run).order_by(func.min(TABLE.c.id))
        with self.reading() as connection:
            return list(connection.execute(wanted).scalars())

    def verify(self) -> int:
        """Check the audit chain (`heed.oversight.store.audit_chain`), and return how many rows it links.

        Raises:
            HeedError: a row that is not as it was written, or not where it was.
        """
        with self.reading() as connection:  # as it was at one time, a batch of rows in hand at a time
            rows = connection.execution_options(yield_per=_BATCH).execute(select(TABLE).order_by(TABLE.c.id))
            read = count()
            broken = first_broken((row.id, row.digest, dict(row._mapping)) for row, _ in zip(rows, read, strict=False))
        if broken is not None:
            raise HeedError(
                f"row {broken} is not as it was written, or one before it is missing",
                where=self._where,
                fix="trust nothing from there on, and restore the store from a copy",
            )
        return next(read)

    def close(self) -> None:
        """Give up the connections; the store can be opened again."""
        self._engine.dispose()

    def _one(self, condition: ColumnElement[bool]) -> Judgement | None:
        with self.reading() as connection:
            row = connection.execute(select(TABLE).where(condition)).one_or_none()
        return None if row is None else _judgement(row)

    def _insert(self, judgements: Sequence[Judgement]) -> list[int]:
        rows = [{name: getattr(judgement, name) for name in LINKED} for judgement in judgements]
        insert, ids = TABLE.insert().returning(TABLE.c.id), []
        try:
            with self._engine.begin() as connection:
                write_alone(connection)
                before = connection.execute(_LAST_DIGEST).scalar_one_or_none() or ""
                for row in rows:
                    before = link(before, row)
                    ids.append(connection.execute(insert, row | {"digest": before}).scalar_one())
            return ids
        except FAULTS as error:
            if isinstance(error, IntegrityError):  # some are there already: each by itself
                if len(judgements) > 1:
                    return [self._insert([judgement])[0] for judgement in judgements]
                if (there := self._there(judgements[0])) is not None:
                    return [there]
            what = "a judgement" if len(judgements) == 1 else f"{len(judgements)} judgements"
            raise RunFailed(f"{what} could not be written to {self._where}: {cause(error)}") from error

    def _there(self, judgement: Judgement) -> int | None:
        """The id of a judgement whose key is in the store, if it is the same one."""
        there = self._one(TABLE.c.key == judgement.key)
        if there is None:
            return None
        if judgement.kind != RETRACTION and _content(there) != _content(judgement):
            raise HeedError(
                f"the key {judgement.key!r} belongs to another judgement ({there.id})",
                where=self._where,
                fix="make a new key for each judgement, and keep it for retries",
            )
        return there.id

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Within: a connection for queries of one's own (see `heed.oversight.store.queries`).

        Raises:
            RunFailed: the database cannot be read.
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except FAULTS as error:
            raise RunFailed(f"no judgements could be read from {self._where}: {cause(error)}") from error


def open_store(place: str, option: str, new: bool = True) -> Store:
    """The store that an option of a command names.

    Args:
        place: a SQLAlchemy URL without a password, or the path of a SQLite file.
        option: the option, for errors.
        new: whether one is made where there is none.

    Raises:
        HeedError: a password, which the run's config would tell; no file, where none is to be made; what `Store` says.

    >>> open_store("sqlite://", "--store").runs()
    []
    """
    try:
        url = make_url(place) if "://" in place else URL.create("sqlite", database=place)
    except ArgumentError as error:  # its text may repeat a password
        fix = "give sqlite:///FILE, a file, or another URL of SQLAlchemy"
        raise HeedError("this names no database", option, fix) from error
    if url.password is not None or not url.query.keys().isdisjoint(SECRETS):
        fix = "leave it out: PostgreSQL reads ~/.pgpass and PGPASSWORD"
        raise HeedError("a password would be written into the run's config.yaml", option, fix)
    if not new and url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise HeedError("there is no store of judgements", f"{option} {place}", "give one that a run has written")
    return Store(url)


def _judgement(row: Row[Any]) -> Judgement:
    return Judgement(**{name: value for name, value in row._mapping.items() if name != "digest"})


def _content(judgement: Judgement) -> tuple[Any, ...]:
    """What makes two judgements the same one, whenever they arrived."""
    return judgement.kind, judgement.person, judgement.run, as_read_back([judgement.shown, judgement.verdict])
