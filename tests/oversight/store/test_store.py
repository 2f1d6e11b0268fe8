"""The store of judgements: nothing acknowledged is lost, doubled or changed; what is no store is refused."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import make_url

from heed.errors import HeedError, RunFailed
from heed.oversight.store.database import engine_of
from heed.oversight.store.store import Judgement, Store, open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "judgements.db"


@pytest.fixture
def store(store_url):
    opened = Store(store_url)
    yield opened
    opened.close()


def block(person="ada", **changes):
    return Judgement("block", person, shown={"state": [1.0, -2.5]}, verdict={"block": True}, **changes)


def rows(url):
    """Whatever lies in the table, as the database has it."""
    engine = engine_of(make_url(url))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql("select * from judgements order by id")]
    engine.dispose()
    return found


def test_what_was_added_is_read_back_whole_by_another_store(store, store_url):
    at = datetime(2026, 11, 21, 9, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=-3)))
    given = [
        block(run="r1", model_version="7", latency_ms=412.5, at=at),
        Judgement("compare", "björn", shown=["a", "b", {"deep": [None, 1]}], verdict={"help": "left", "margin": 2}),
    ]
    ids = [store.add(judgement) for judgement in given]
    read = Store(store_url).effective()
    assert read == [replace(judgement, id=number) for judgement, number in zip(given, ids, strict=True)]
    assert read[0].at.utcoffset() == timedelta(0)
    kept = rows(store_url)[0][2]  # SQLite keeps a text, in UTC; PostgreSQL the moment
    assert kept == at if isinstance(kept, datetime) else kept == "2026-11-21 12:30:15.250000"


def test_a_retry_with_the_same_key_is_the_same_judgement(store):
    judgement = block(key="client-1")
    first = store.add(judgement)
    assert store.add(replace(judgement, at=datetime.now(UTC), latency_ms=9.0)) == first
    assert store.add(block()) != first
    assert store.count() == 2


def test_a_key_that_belongs_to_another_judgement_is_refused(store):
    store.add(block(key="client-1"))
    with pytest.raises(HeedError, match="belongs to another judgement"):
        store.add(block(key="client-1", person="bob"))
    assert [judgement.person for judgement in store.effective()] == ["ada"]


def test_a_retraction_is_a_further_row_and_changes_no_other(store, store_url):
    kept, taken = store.add(block()), store.add(block(run="r2"))
    before = rows(store_url)
    retraction = store.retract(taken, person="bob", why="wrong key")
    assert rows(store_url)[:2] == before
    assert len(rows(store_url)) == 3
    assert [judgement.id for judgement in store.effective()] == [kept]
    assert store.count() == 2
    assert rows(store_url)[2][0] == retraction
    assert rows(store_url)[2][4:6] == ("bob", "r2")
    assert store.retract(taken, person="eve", why="again") == retraction
    assert len(rows(store_url)) == 3


@pytest.mark.parametrize("which", ["none", "retraction"])
def test_only_a_judgement_can_be_taken_back(store, which):
    number = store.retract(store.add(block()), "ada", "slip") if which == "retraction" else 99
    with pytest.raises(HeedError, match=f"no judgement {number}"):
        store.retract(number, "ada", "why not")


def test_judgements_are_found_by_kind_and_person_in_the_order_in_which_they_came(store):
    compare = Judgement("compare", "ada", shown=[1, 2], verdict="left")
    ids = [store.add(judgement) for judgement in (block(), compare, block("bob"), block())]

    def found(**by):
        return [judgement.id for judgement in store.effective(**by)]

    assert found() == ids
    assert found(kind="block") == [ids[0], ids[2], ids[3]]
    assert found(person="ada") == [ids[0], ids[1], ids[3]]
    assert found(kind="compare", person="bob") == []


def test_sqlite_writes_ahead_and_waits_for_the_disk(path):
    store = Store(f"sqlite:///{path}")
    store.add(block())
    with sqlite3.connect(path) as reader:
        assert reader.execute("pragma journal_mode").fetchone() == ("wal",)
    with store.reading() as connection:  # a setting of the connection, which nobody else can see
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2
        assert connection.exec_driver_sql("pragma foreign_keys").scalar() == 1


def test_what_was_acknowledged_survives_the_process_being_killed(store_url):
    dies = (
        "import os, signal; from heed.oversight.store.store import Judgement, Store\n"
        f"store = Store({store_url!r})\n"
        "for n in range(5): store.add(Judgement('block', 'ada', n, True))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", dies]).returncode == -9
    assert [judgement.shown for judgement in Store(store_url).effective()] == [0, 1, 2, 3, 4]


def test_several_writers_at_once_lose_and_double_nothing(store_url):
    url = store_url
    Store(url)
    given = [block(person=f"p{writer}", key=f"{writer}-{n}") for writer in range(4) for n in range(15)]

    def write(writer):
        store = Store(url)
        for judgement in given[writer::2]:  # every judgement is sent by two writers
            store.add(judgement)

    threads = [threading.Thread(target=write, args=(writer % 2,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(judgement.key for judgement in Store(url).effective()) == sorted(judgement.key for judgement in given)


@pytest.mark.parametrize(
    ("judgement", "says"),
    [
        (Judgement("veto", "ada", {}, True), "kind 'veto'"),
        (Judgement("retract", "ada", {}, True), "kind 'retract'"),
        (Judgement("block", "", {}, True), "by ''"),
        (Judgement("block", "ada", {"state": {1, 2}}, True), "no JSON"),
        (Judgement("block", "ada", {"state": float("nan")}, True), "no JSON"),
        (Judgement("block", "ada", {}, True, at=datetime(2026, 1, 1)), "no time zone"),
        (Judgement("block", "ada", {}, True, id=3), "in a store already"),
        (Judgement("block", "ada", {}, True, retracts=1), "in a store already"),
    ],
)
def test_what_is_no_judgement_is_refused_and_leaves_no_row(store, judgement, says):
    with pytest.raises(HeedError, match=says):
        store.add(judgement)
    assert store.count() == 0


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.write_bytes(b"these are my notes, please keep them" * 40)
    with pytest.raises(HeedError, match="not a database") as refused:
        Store(f"sqlite:///{path}")
    assert str(path) in refused.value.where
    assert path.read_bytes().startswith(b"these are my notes")


def test_somebody_elses_database_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("create table recipes (name text)")
    before = path.read_bytes()
    with pytest.raises(HeedError, match="holds recipes, no judgements"):
        Store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_table_of_judgements_of_another_shape_is_refused(path):
    with sqlite3.connect(path) as other:
        other.execute("create table judgements (id integer primary key, opinion text)")
    with pytest.raises(HeedError, match="lacks key, at, kind"):
        Store(f"sqlite:///{path}")


def test_a_damaged_store_is_refused_when_it_is_opened(path):
    store = Store(f"sqlite:///{path}")
    for _ in range(300):
        store.add(block())
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = bytes(range(256)) * 48
    path.write_bytes(content)
    with pytest.raises(HeedError, match=r"damaged|malformed"):
        Store(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["no url", "mystery://host/x", "sqlite:////no/such/folder/j.db"])
def test_a_place_where_there_can_be_no_store_is_refused_in_a_line(url):
    with pytest.raises(HeedError) as refused:
        Store(url)
    assert "\n" not in str(refused.value)


def test_a_password_is_not_repeated_in_an_error():
    with pytest.raises(HeedError) as refused:
        Store("mystery://ada:secret@host/x")
    assert "secret" not in str(refused.value)


def test_a_judgement_that_cannot_be_written_is_not_acknowledged(path):
    store = Store(f"sqlite:///{path}")
    store.add(block())
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("create trigger full before insert on judgements begin select raise(fail, 'x'); end")
    with pytest.raises(RunFailed, match=r"a judgement could not be written to .*: x; "):
        store.add(block())
    assert store.count() == 1


def test_a_store_in_memory_is_one_store_for_all_threads():
    store = Store("sqlite://")
    writer = threading.Thread(target=lambda: store.add(block()))
    writer.start()
    writer.join()
    assert store.count() == 1


def test_several_at_once_are_written_in_their_order_and_found_by_their_run(store):
    given = [block(person=f"p{n}", run="odd" if n % 2 else "even") for n in range(7)]
    assert store.add_all(given) == [1, 2, 3, 4, 5, 6, 7]
    assert [judgement.person for judgement in store.effective()] == [f"p{n}" for n in range(7)]
    assert [judgement.person for judgement in store.effective(run="odd")] == ["p1", "p3", "p5"]
    store.retract(2, "ada", "slip")
    assert [judgement.person for judgement in store.effective(run="odd", kind="block")] == ["p3", "p5"]
    store.add(block())
    assert store.runs() == ["even", "odd"]  # one that no run asked for is of none
    assert store.add_all([]) == []


def test_of_several_at_once_all_are_written_or_none():
    store, given = Store("sqlite://"), [block() for _ in range(200)]
    with pytest.raises(HeedError, match="no JSON"):
        store.add_all([block(), Judgement("block", "ada", {"state": float("nan")}, True)])
    assert store.count() == 0
    with store.reading() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages + 2}")  # the disk is full in the midst of them
    with pytest.raises(RunFailed, match=r"200 judgements could not be written .*full"):
        store.add_all(given)
    assert store.count() == 0
    with store.reading() as connection:
        connection.exec_driver_sql("pragma max_page_count = 100000")
    assert store.add_all(given) == list(range(1, 201)) and store.count() == 200


def test_a_retry_of_several_doubles_none(store):
    given = [block(key=f"k{n}") for n in range(4)]
    first = store.add_all(given[:2])
    ids = store.add_all(given)
    assert ids[:2] == first and store.add_all(given) == ids
    assert {judgement.key: judgement.id for judgement in store.effective()} == {f"k{n}": ids[n] for n in range(4)}
    assert store.count() == store.verify() == 4


def test_a_file_that_another_process_writes_to_just_then_is_waited_for(tmp_path):
    file = tmp_path / "judgements.db"
    with contextlib.closing(Store(f"sqlite:///{file}")) as store:
        store.add(block())
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=DELETE")  # as a store is that is being made
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    with contextlib.closing(Store(f"sqlite:///{file}")) as store:
        assert store.count() == 1
    release.join()
    other.close()
    with contextlib.closing(sqlite3.connect(file)) as anew:
        assert anew.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_several_processes_may_make_the_same_store_at_once(store_url):
    begins = (
        "from heed.oversight.store.store import Judgement, Store\n"
        "input(print('ready', flush=True) or '')\n"
        f"store = Store({store_url!r})\n"
        "for n in range(5): store.add(Judgement('block', 'ada', n, True))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    all_of_them = [subprocess.Popen([sys.executable, "-c", begins], **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in all_of_them] == ["ready\n"] * 4
    for process in all_of_them:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in all_of_them] == [0] * 4
    assert Store(store_url).count() == Store(store_url).verify() == 20


@pytest.mark.parametrize(
    ("place", "new", "says"),
    [
        ("postgresql://ada:secret@host/x", True, "a password would be written into the run's config"),
        ("postgresql://ada@host/x?password=secret", True, "a password would be written into the run's config"),
        ("nowhere.db", False, "there is no store of judgements"),
        ("sqlite:///nowhere.db", False, "there is no store of judgements"),
        ("sqlite://", False, "there is no store of judgements"),
        ("://", True, "names no database"),
        ("mystery://host/x", True, "mystery keeps no judgements"),
        ("postgresql+asyncpg://host/x", True, "asyncpg keeps no judgements"),
    ],
)
def test_a_place_that_an_option_cannot_name_is_refused_in_a_line(place, new, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeedError, match=says) as refused:
        open_store(place, "--store", new)
    assert "secret" not in str(refused.value) and "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_without_psycopg_a_url_of_postgresql_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(HeedError, match=r"psycopg is not here.*pip install heed\[postgres\]") as refused:
        Store("postgresql://ada:secret@host/x")
    assert "secret" not in str(refused.value)


def test_a_file_and_its_url_are_one_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("odd name?.db", "--store").add(block())
    assert (tmp_path / "odd name?.db").is_file()
    assert open_store(str(tmp_path / "odd name?.db"), "--judgements", new=False).count() == 1
    open_store("sqlite:///plain.db", "--store").add(block())
    assert open_store("plain.db", "--judgements", new=False).count() == 1
