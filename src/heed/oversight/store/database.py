"""The database below the store of judgements: its one table, and what SQLite and PostgreSQL each need to keep it."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
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
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeDecorator

from heed.errors import HeedError

PATIENCE_S = 30
"""How long one writer waits for another before the write fails."""
STUCK_S = 10
"""After how long a writer that fell silent within a transaction is put out, on PostgreSQL."""
_ALONE = 0x68656564
"""The advisory lock of writers ("heed"), on PostgreSQL."""
_REACHING = {
    "connect_timeout": 10,
    "tcp_user_timeout": 1000 * PATIENCE_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "client_encoding": "utf8",
    "application_name": "heed",
}
"""Settings of libpq where the URL has none: a server that is gone is noticed within half a minute."""
SECRETS = ("password", "sslpassword")
"""What a URL must not tell, beside the password before its host."""
FAULTS = (DBAPIError, PoolExhausted, sqlite3.Error)
"""What a database that cannot be read or written raises."""


class _UtcTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its form
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - its form
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC) if value else None


TABLE = Table(
    "judgements",
    MetaData(),
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


def shown_url(url: URL) -> str:
    """A URL without its secrets.

    >>> from sqlalchemy import make_url
    >>> shown_url(make_url("postgresql://ada:secret@host/x?password=secret"))
    'postgresql://ada:***@host/x'
    """
    return url.difference_update_query(SECRETS).render_as_string(hide_password=True)


def engine_of(url: URL) -> Engine:
    """An engine whose commits are on disk when they return.

    Raises:
        HeedError: neither SQLite nor PostgreSQL, or psycopg is not installed.
    """
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return _postgresql(url)
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        fix = "give a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        raise HeedError(f"{url.drivername} keeps no judgements", shown_url(url), fix)
    if url.database in (None, "", ":memory:"):  # one connection for all, or each would have a database of its own
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, connect_args={"timeout": float(PATIENCE_S)})
    event.listen(engine, "connect", _durable)
    return engine


def _postgresql(url: URL) -> Engine:
    reaching = {name: value for name, value in _REACHING.items() if name not in url.query}
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=reaching,
            pool_pre_ping=True,  # a connection that the server dropped is made anew
            isolation_level="READ COMMITTED",  # what is read under the writers' lock is read after it was got
        )
    except ImportError as error:
        raise HeedError(f"psycopg is not here: {error}", shown_url(url), "pip install heed[postgres]") from error


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    """A commit returns when the disk has it; a retraction must name a judgement."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def open_table(engine: Engine, where: str) -> None:
    """See that the database holds judgements and nothing else, whole; make the table where there is none.

    Args:
        engine: from `engine_of`.
        where: the database, for errors.

    Raises:
        HeedError: it is damaged, somebody else's, or does not wait for its disk.
        DBAPIError: it cannot be reached or used.
    """
    sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        asked = "PRAGMA quick_check(1)" if sqlite else "SHOW fsync"
        found = connection.exec_driver_sql(asked).scalar_one()
    if sqlite and found != "ok":
        raise HeedError(f"the store of judgements is damaged: {found}", where, "restore it from a copy")
    if not sqlite and found != "on":
        raise HeedError("the server does not wait for its disk", where, "set fsync = on in its postgresql.conf")
    another = "give a new file" if sqlite else "give a database of its own"
    tables = inspect(engine).get_table_names()
    if tables and TABLE.name not in tables:
        raise HeedError(f"the database holds {', '.join(sorted(tables)[:3])}, no judgements", where, another)
    if tables:
        columns = {column["name"] for column in inspect(engine).get_columns(TABLE.name)}
        missing = [column.name for column in TABLE.columns if column.name not in columns]
        if missing:
            raise HeedError(f"its table of judgements lacks {', '.join(missing)}", where, another)
        if not sqlite:
            return
    if sqlite:  # only now: a foreign file is left as it was
        _write_ahead(engine)
    with engine.begin() as connection:  # another process may be making the same store just now
        if not sqlite:
            write_alone(connection)
            if inspect(connection).has_table(TABLE.name):
                return
        connection.execute(CreateTable(TABLE, if_not_exists=True))
        for index in TABLE.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _write_ahead(engine: Engine) -> None:
    """Switch a file of SQLite to its write-ahead log, once no other process writes to it.

    For this switch SQLite does not wait as it does for a write: it gives up at once, whatever the timeout.
    """
    patience = time.monotonic() + PATIENCE_S
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except DBAPIError as error:
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > patience:
                raise
            time.sleep(0.05)


def write_alone(connection: Connection) -> None:
    """Let no other writer in until the transaction ends, so that the chain has one end; readers go on."""
    if connection.dialect.name == "sqlite":  # whose lock comes with the first write, be it of nothing
        connection.execute(TABLE.update().where(false()).values(key=""))
        return
    commits = func.current_setting("synchronous_commit")
    connection.execute(
        select(
            func.set_config("synchronous_commit", func.coalesce(func.nullif(commits, "off"), "on"), True),
            func.set_config("lock_timeout", f"{PATIENCE_S}s", True),
            func.set_config("idle_in_transaction_session_timeout", f"{STUCK_S}s", True),
        )
    )
    connection.execute(select(func.pg_advisory_xact_lock(_ALONE)))  # which whoever may only add rows can take, too


def cause(error: Exception) -> str:
    """A database's error, in a line."""
    return " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
