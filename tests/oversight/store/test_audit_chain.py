"""The audit chain: what was written is proved, and whatever is changed behind its back is found."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import make_url

from heed.errors import HeedError
from heed.oversight.store.database import engine_of
from heed.oversight.store.store import Judgement, Store


def given(number, **changes):
    shown = {"observation": [0.1 * number, 1e-9], "action": (number, 2), 7: "a number for a name"}
    return Judgement("block", "ada", shown, {"block": number % 2 == 0}, run="walk", latency_ms=number, **changes)


@pytest.fixture
def store(store_url):
    made = Store(store_url)
    made.add_all([given(n) for n in range(3)])
    made.add(given(3))
    made.retract(2, "ada", "by mistake")
    yield made
    made.close()


def tampered(url, statement):
    """As somebody with the file or the server in their hands would; no constraint stands in their way."""
    engine = engine_of(make_url(url))
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        free = "PRAGMA foreign_keys=OFF" if sqlite else "ALTER TABLE judgements DISABLE TRIGGER ALL"
        connection.exec_driver_sql(free)
        connection.exec_driver_sql(statement)
        connection.commit()
    engine.dispose()


def test_what_was_written_is_whole_for_whoever_opens_it(store, store_url):
    assert store.verify() == 5
    assert Store(store_url).verify() == 5


def test_an_empty_store_is_whole():
    assert Store("sqlite://").verify() == 0


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE judgements SET verdict = '{\"block\": true}' WHERE id = 2", 2),
        ("UPDATE judgements SET person = 'eve' WHERE id = 1", 1),
        ("UPDATE judgements SET at = '2020-01-01 00:00:00.000000' WHERE id = 4", 4),
        ("UPDATE judgements SET latency_ms = 2.5 WHERE id = 3", 3),
        ("UPDATE judgements SET retracts = 1 WHERE id = 5", 5),
        ("DELETE FROM judgements WHERE id = 3", 4),
        ("UPDATE judgements SET digest = (SELECT digest FROM judgements WHERE id = 1) WHERE id = 2", 2),
    ],
)
def test_whatever_is_changed_is_found_where_it_was_changed(store, store_url, statement, row):
    tampered(store_url, statement)
    with pytest.raises(HeedError, match=f"row {row} is not as it was written"):
        store.verify()


def test_writers_at_once_make_one_chain(store_url):
    stores = [Store(store_url) for _ in range(4)]

    def write(store, first):
        for number in range(10):
            store.add(given(first + number))

    threads = [threading.Thread(target=write, args=(store, 100 * n)) for n, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].count() == stores[0].verify() == 40


def test_a_retry_adds_no_link(store):
    first = given(9, key="k")
    assert store.add(first) == store.add(first) == 6
    store.add(given(10))
    assert store.verify() == 7
