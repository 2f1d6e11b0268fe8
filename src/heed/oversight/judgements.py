"""The store of judgements: every verdict that a person or script gave, in one database that only grows."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    false,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import URL, Row, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeDecorator

from heed.errors import HeedError, RunFailed
from heed.oversight.chain import LINKED, as_read_back, first_broken, link

KINDS = ("block", "compare")
_RETRACTION = "retract"
_PATIENCE_S = 30.0
"""How long one writer waits for another before the write fails."""


class _UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its form
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its form
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC) if value else None


_METADATA = MetaData()
_TABLE = Table(
    "judgements",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("at", _UtcTime, nullable=False),
    Column("kind", String(16), nullable=False, index=True),
    Column("person", String(200), nullable=False, index=True),
    Column("run", String(200), nullable=False),
    Column("model_version", String(200), nullable=False),
    Column("shown", JSON, nullable=False),
    Column("verdict", JSON, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("retracts", Integer, ForeignKey("judgements.id"), nullable=True, index=True),
    Column("digest", String(64), nullable=False),
    sqlite_autoincrement=True,  # an id is never given out twice
)

_LAST_DIGEST = select(_TABLE.c.digest).order_by(_TABLE.c.id.desc()).limit(1)


@dataclass(frozen=True)
class Judgement:
    """One verdict.

    Args:
        kind: "block" or "compare".
        person: who gave it; an overseer's name if a script did.
        shown: what was shown, as JSON.
        verdict: the answer, as JSON.
        run: the run that asked.
        model_version: the version of the model whose action or text was judged.
        latency_ms: from showing to answering, in milliseconds.
        key: made by the client; a retry with the same key is the same judgement.
        at: when it was given, with a time zone; stored as UTC.
        id: its row, given by the store.
        retracts: the row that this one takes back; only the store sets it.

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

    What `add` has returned from is on disk: SQLite runs in write-ahead mode with full synchronisation, so a reader
    never waits for a writer, and neither a crash nor a power cut takes back an acknowledged judgement.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///judgements.db`` is a file, ``sqlite://`` a database in memory.

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
            self._where = parsed.render_as_string(hide_password=True)
            self._engine = _engine(parsed)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            # The URL itself may hold a password, so it is not repeated.
            raise HeedError(f"no database can be opened: {error}", where="Store", fix="give sqlite:///FILE") from error
        try:
            self._open()
        except (DatabaseError, sqlite3.DatabaseError, HeedError) as error:
            self._engine.dispose()
            if isinstance(error, HeedError):
                raise
            raise HeedError(
                f"the store of judgements cannot be opened: {_cause(error)}",
                where=self._where,
                fix="give another file, or restore this one from a copy",
            ) from error

    def _open(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if found != "ok":
                raise HeedError(
                    f"the store of judgements is damaged: {found}", where=self._where, fix="restore it from a copy"
                )
        tables = inspect(self._engine).get_table_names()
        if tables and _TABLE.name not in tables:
            held = ", ".join(sorted(tables)[:3])
            raise HeedError(f"the database holds {held}, no judgements", where=self._where, fix="give a new file")
        if tables:
            columns = {column["name"] for column in inspect(self._engine).get_columns(_TABLE.name)}
            missing = [column.name for column in _TABLE.columns if column.name not in columns]
            if missing:
                lacks = f"its table of judgements lacks {', '.join(missing)}"
                raise HeedError(lacks, where=self._where, fix="give a new file")
        if self._engine.dialect.name == "sqlite":  # only now: a foreign file is left as it was
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        with self._engine.begin() as connection:  # another process may be making the same store just now
            connection.execute(CreateTable(_TABLE, if_not_exists=True))
            for index in _TABLE.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))

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
        """Take a judgement back by a further row, and return that row's id; a second time is the same row.

        Raises:
            HeedError: if there is no such judgement, or no person.
        """
        taken = self._one(_TABLE.c.id == judgement_id)
        if taken is None or taken.kind == _RETRACTION or not person:
            raise HeedError(
                f"there is no judgement {judgement_id} for {person!r} to take back",
                where=self._where,
                fix="give a person, and an id that add returned",
            )
        taking_back = replace(
            taken,
            kind=_RETRACTION,
            person=person,
            shown=None,
            verdict={"why": why},
            latency_ms=0.0,
            key=f"retract {judgement_id}",
            at=datetime.now(UTC),
            id=None,
            retracts=judgement_id,
        )
        return self._insert([taking_back])[0]

    def effective(self, kind: str | None = None, person: str | None = None, run: str | None = None) -> list[Judgement]:
        """The judgements that stand, oldest first: without those taken back, and without the taking back.

        Args:
            kind: only "block" or "compare".
            person: only this person's.
            run: only those that this run asked for.
        """
        retracted = select(_TABLE.c.retracts).where(_TABLE.c.retracts.is_not(None))
        wanted = select(_TABLE).where(_TABLE.c.kind != _RETRACTION, _TABLE.c.id.not_in(retracted))
        for column, value in ((_TABLE.c.kind, kind), (_TABLE.c.person, person), (_TABLE.c.run, run)):
            if value is not None:
                wanted = wanted.where(column == value)
        with self._engine.connect() as connection:
            return [_judgement(row) for row in connection.execute(wanted.order_by(_TABLE.c.id))]

    def count(self) -> int:
        """How many judgements were given, those taken back included."""
        wanted = select(func.count()).select_from(_TABLE).where(_TABLE.c.kind != _RETRACTION)
        with self._engine.connect() as connection:
            return connection.execute(wanted).scalar_one()

    def runs(self) -> list[str]:
        """The runs that asked for judgements, in the order in which they began to."""
        wanted = select(_TABLE.c.run).where(_TABLE.c.run != "").group_by(_TABLE.c.run).order_by(func.min(_TABLE.c.id))
        with self._engine.connect() as connection:
            return list(connection.execute(wanted).scalars())

    def verify(self) -> int:
        """Check the audit chain (`heed.oversight.chain`), and return how many rows it links.

        Raises:
            HeedError: a row that is not as it was written, or not where it was.
        """
        with self._engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(select(_TABLE).order_by(_TABLE.c.id))]
        broken = first_broken((row["id"], row["digest"], row) for row in rows)
        if broken is not None:
            raise HeedError(
                f"row {broken} is not as it was written, or one before it is missing",
                where=self._where,
                fix="trust nothing from there on, and restore the store from a copy",
            )
        return len(rows)

    def close(self) -> None:
        """Give up the connections; the store can be opened again."""
        self._engine.dispose()

    def _one(self, condition: ColumnElement[bool]) -> Judgement | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(_TABLE).where(condition)).one_or_none()
        return None if row is None else _judgement(row)

    def _insert(self, judgements: Sequence[Judgement]) -> list[int]:
        rows = [{name: getattr(judgement, name) for name in LINKED} for judgement in judgements]
        insert, ids = _TABLE.insert().returning(_TABLE.c.id), []
        try:
            with self._engine.begin() as connection:
                self._write_alone(connection)
                before = connection.execute(_LAST_DIGEST).scalar_one_or_none() or ""
                for row in rows:
                    before = link(before, row)
                    ids.append(connection.execute(insert, row | {"digest": before}).scalar_one())
                return ids
        except IntegrityError:
            if len(judgements) > 1:  # some are there already: each by itself
                return [self._insert([judgement])[0] for judgement in judgements]
            return [self._there(judgements[0])]
        except DatabaseError as error:
            what = "a judgement" if len(judgements) == 1 else f"{len(judgements)} judgements"
            raise RunFailed(f"{what} could not be written to {self._where}: {_cause(error)}") from error

    def _write_alone(self, connection: Connection) -> None:
        """Let no other writer in until the transaction ends, so that the chain has one end; readers go on."""
        if self._engine.dialect.name == "sqlite":  # whose lock comes with the first write, be it of nothing
            connection.execute(_TABLE.update().where(false()).values(key=""))
        else:
            connection.exec_driver_sql(f"LOCK TABLE {_TABLE.name} IN EXCLUSIVE MODE")

    def _there(self, judgement: Judgement) -> int:
        """The id of a judgement whose key is in the store, if it is the same one."""
        there = self._one(_TABLE.c.key == judgement.key)
        if there is None or there.id is None:
            raise RunFailed(f"a judgement could not be written to {self._where}: its key was there, and is gone")
        if judgement.kind != _RETRACTION and _content(there) != _content(judgement):
            raise HeedError(
                f"the key {judgement.key!r} belongs to another judgement ({there.id})",
                where=self._where,
                fix="make a new key for each judgement, and keep it for retries",
            )
        return there.id


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
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise HeedError(f"{url.get_backend_name()} keeps no judgements", option, "give a file, or a URL of PostgreSQL")
    if url.password is not None:
        fix = "leave it out: PostgreSQL reads ~/.pgpass and PGPASSWORD"
        raise HeedError("a password would be written into the run's config.yaml", option, fix)
    if not new and url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise HeedError("there is no store of judgements", f"{option} {place}", "give one that a run has written")
    return Store(url)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    if url.database in (None, "", ":memory:"):  # one connection for all, or each would have a database of its own
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, connect_args={"timeout": _PATIENCE_S})
    event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    """A commit returns when the disk has it; a retraction must name a judgement."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _cause(error: Exception) -> str:
    return str(error.orig if isinstance(error, DatabaseError) else error)


def _judgement(row: Row[Any]) -> Judgement:
    return Judgement(**{name: value for name, value in row._mapping.items() if name != "digest"})


def _content(judgement: Judgement) -> tuple[Any, ...]:
    """What makes two judgements the same one, whenever they arrived."""
    return judgement.kind, judgement.person, judgement.run, as_read_back([judgement.shown, judgement.verdict])
