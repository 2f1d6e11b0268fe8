"""What only PostgreSQL can do to a store: be gone and back, let nobody in, or not wait for its disk."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import make_url

from heed.cli import main
from heed.errors import HeedError, RunFailed
from heed.oversight.store.database import PATIENCE_S
from heed.oversight.store.store import Judgement, Store, open_store

pytestmark = pytest.mark.postgres


def block(**changes):
    return Judgement("block", "ada", shown={"state": [1.0, -2.5]}, verdict={"block": True}, **changes)


@pytest.fixture
def own(postgres_server):
    """A server that a test may stop."""
    if not postgres_server.ours:
        pytest.skip("the server that HEED_TEST_POSTGRES names is not ours to stop")
    return postgres_server


def one_line(error, *secrets):
    text = str(error.value)
    assert "\n" not in text and not any(secret in text for secret in secrets)
    return text


def test_the_url_of_people_and_of_sqlalchemy_name_one_store(postgres_url):
    assert Store(postgres_url).add(block()) == 1
    assert Store(make_url(postgres_url).set(drivername="postgresql+psycopg")).count() == 1


def test_a_wrong_password_is_one_line_without_it(postgres_url, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "a wrong one")
    with pytest.raises(
        HeedError, match=r"cannot be opened: .*password authentication failed for user .*~/.pgpass"
    ) as got:
        open_store(postgres_url, "--store")
    one_line(got, "a wrong one")
    secret = make_url(postgres_url).set(password="hunter2")
    for url in (secret, make_url(postgres_url).update_query_dict({"password": "hunter2"})):
        with pytest.raises(HeedError, match="cannot be opened") as got:
            Store(url)
        one_line(got, "hunter2")


def test_no_such_database_and_no_server_are_one_line(postgres_url, tmp_path):
    for url, said in (
        (make_url(postgres_url).set(database="nowhere"), 'database "nowhere" does not exist'),
        (make_url(f"postgresql://heed@/x?host={tmp_path}"), "No such file or directory"),
        (make_url("postgresql://heed@127.0.0.1:1/x"), "Connection refused"),
    ):
        with pytest.raises(HeedError, match=said) as got:
            Store(url)
        one_line(got)


@pytest.fixture
def reader(postgres_server, postgres_url):
    """A user with a password of their own, and the store's URL for them."""
    name = make_url(postgres_url).database + "_reader"
    postgres_server.does(f"CREATE USER {name} PASSWORD 'reads'")
    yield name, make_url(postgres_url).set(username=name, password="reads")
    postgres_server.does(f"DROP OWNED BY {name}; DROP USER {name}", postgres_url)


def test_who_may_only_read_reads_and_is_told_so_when_they_write(reader, postgres_server, postgres_url):
    name, url = reader
    with pytest.raises(HeedError, match="permission denied for schema public") as got:
        Store(url)  # there is no table yet, and they cannot make it
    one_line(got, "reads@")
    owners = Store(postgres_url)
    number = owners.add(block())
    postgres_server.does(f"GRANT SELECT ON judgements TO {name}", postgres_url)
    theirs = Store(url)
    assert [judgement.id for judgement in theirs.effective()] == [number] and theirs.verify() == 1
    for write in (lambda: theirs.add(block()), lambda: theirs.retract(number, "eve", "no")):
        with pytest.raises(RunFailed, match=r"could not be written .*permission denied") as got:
            write()
        one_line(got)
    assert owners.verify() == owners.count() == 1


def test_who_may_only_add_adds_and_takes_back_and_can_change_nothing(reader, postgres_server, postgres_url):
    name, url = reader
    Store(postgres_url).add(block())
    postgres_server.does(f"GRANT SELECT, INSERT ON judgements TO {name}", postgres_url)
    postgres_server.does(f"GRANT USAGE ON SEQUENCE judgements_id_seq TO {name}", postgres_url)
    theirs = Store(url)
    number = theirs.add(block(key="k"))
    assert theirs.add(block(key="k")) == number
    theirs.retract(number, "ada", "slip")
    assert theirs.verify() == 3 and [judgement.id for judgement in theirs.effective()] == [1]
    with pytest.raises(Exception, match="permission denied"), theirs.reading() as connection:
        connection.exec_driver_sql("UPDATE judgements SET person = 'eve'")


def test_a_dropped_connection_is_made_anew(postgres_server, postgres_url):
    store = Store(postgres_url)
    store.add(block(key="a"))
    name = make_url(postgres_url).database
    gone = postgres_server.does(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert gone and all(row == (True,) for row in gone)
    store.add(block(key="b"))
    assert [judgement.key for judgement in store.effective()] == ["a", "b"] and store.verify() == 2


def test_a_server_that_crashes_and_comes_back_loses_and_doubles_nothing(own, postgres_url):
    store = Store(postgres_url)
    given = [block(key=f"k{n}") for n in range(3)]
    store.add(given[0])
    own.stop("immediate")
    try:
        for fails in (lambda: store.add_all(given), store.effective, store.count, store.runs, store.verify):
            with pytest.raises(RunFailed, match=r"could (not )?be (written|read)") as got:
                fails()
            one_line(got)
        with pytest.raises(HeedError, match="cannot be opened"):
            Store(postgres_url)
    finally:
        own.start()
    store.add_all(given)
    assert [judgement.key for judgement in store.effective()] == ["k0", "k1", "k2"] and store.verify() == 3


def test_a_connection_lost_within_a_transaction_writes_nothing_and_the_retry_all(postgres_server, postgres_url):
    store = Store(postgres_url)
    store.add(block(key="a"))
    postgres_server.does(
        "CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'",
        postgres_url,
    )
    postgres_server.does(
        "CREATE TRIGGER dies BEFORE INSERT ON judgements FOR EACH ROW EXECUTE FUNCTION dies()", postgres_url
    )
    with pytest.raises(RunFailed, match="2 judgements could not be written") as got:
        store.add_all([block(key="b"), block(key="c")])
    one_line(got)
    postgres_server.does("DROP TRIGGER dies ON judgements", postgres_url)
    assert store.count() == 1
    store.add_all([block(key="b"), block(key="c")])
    assert store.verify() == 3


def test_a_commit_waits_for_the_disk_even_where_the_database_is_set_not_to(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    for given, kept in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres_server.does(f"ALTER DATABASE {name} SET synchronous_commit = {given}")
        postgres_server.does("DROP TABLE IF EXISTS seen, judgements", postgres_url)
        store = Store(postgres_url)
        postgres_server.does("CREATE TABLE seen (setting text)", postgres_url)
        postgres_server.does(
            "CREATE OR REPLACE FUNCTION sees() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN INSERT INTO seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END'",
            postgres_url,
        )
        postgres_server.does(
            "CREATE TRIGGER sees BEFORE INSERT ON judgements FOR EACH ROW EXECUTE FUNCTION sees()", postgres_url
        )
        store.add(block())
        assert postgres_server.does("SELECT setting FROM seen", postgres_url) == [(kept,)]
        store.close()


def test_a_server_that_does_not_wait_for_its_disk_is_refused(own, postgres_url):
    own.does("ALTER SYSTEM SET fsync = off")
    try:
        own.does("SELECT pg_reload_conf()")
        own.settled("fsync", "off")
        with pytest.raises(HeedError, match="does not wait for its disk"):
            Store(postgres_url)
    finally:
        own.does("ALTER SYSTEM RESET fsync")
        own.does("SELECT pg_reload_conf()")
        own.settled("fsync", "on")


def test_a_writer_that_fell_silent_holds_the_others_up_no_longer_than_they_have_patience(postgres_url, monkeypatch):
    monkeypatch.setattr("heed.oversight.store.database.STUCK_S", 1)
    silent, other = Store(postgres_url), Store(postgres_url)
    from heed.oversight.store.database import write_alone

    with silent.reading() as connection:
        write_alone(connection)  # and then no word
        done = []
        writer = threading.Thread(target=lambda: done.append(other.add(block())))
        writer.start()
        writer.join(PATIENCE_S)
        assert done == [1]
        connection.invalidate()


def test_chains_are_one_even_where_the_database_reads_repeatably(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    postgres_server.does(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    stores = [Store(postgres_url) for _ in range(4)]

    def write(store):
        for _ in range(10):
            store.add(block())

    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].verify() == 40


def test_names_of_any_script_are_kept_in_a_database_of_any_encoding(postgres_server):
    url = postgres_server.database("ENCODING 'SQL_ASCII'", "TEMPLATE template0")
    try:
        Store(url).add(Judgement("compare", "björn", shown="\u4f60\ud800\x00", verdict={"über": "ß"}))
        (found,) = Store(url).effective(person="björn")
        assert (found.shown, found.verdict) == ("\u4f60\ud800\x00", {"über": "ß"})
        assert Store(url).verify() == 1
    finally:
        postgres_server.drop(url)


def test_somebody_elses_database_is_refused_and_left_alone(postgres_server, postgres_url):
    postgres_server.does("CREATE TABLE recipes (name text)", postgres_url)
    with pytest.raises(HeedError, match=r"holds recipes, no judgements .*give a database of its own"):
        Store(postgres_url)
    tables = postgres_server.does("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", postgres_url)
    assert tables == [("recipes",)]


def test_commands_read_and_write_it(postgres_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--env", "heed/PointHazard-v0", "--overseer", "far-sighted", "--steps", "30", "--learning-starts", "100"]
    small += ["--evaluation-episodes", "0", "--hidden", "8", "--dynamics-hidden", "8", "--members", "2"]
    main(["guard", *small, "--store", postgres_url, "--out", "run"])
    assert not (tmp_path / "run" / "judgements.db").exists()
    capsys.readouterr()
    main(["judgements", postgres_url, "--verify"])
    assert capsys.readouterr().out == "30 rows, each as it was written\n"
    main(["judgements", postgres_url, "--retract", "3", "--person", "ada", "--why", "slip"])
    main(["judgements", postgres_url, "--export", "all.jsonl"])
    assert "29 judgements in all.jsonl" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["judgements", str(make_url(postgres_url).set(database="nowhere").render_as_string())])
    assert ended.value.code == 2 and 'database "nowhere" does not exist' in capsys.readouterr().err
