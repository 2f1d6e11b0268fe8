"""heed bench kills: what is acknowledged survives, and a store or a page that breaks its word is caught."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed.bench.pages.killed_pages import ComparePage, WatchPage
from heed.bench.pages.kills import KillBench, differences, kept, run_kill_bench
from heed.cli import main
from heed.errors import HeedError
from heed.oversight.store.store import Judgement, Store


@pytest.mark.parametrize("page", ["compare", "watch"])
def test_what_was_acknowledged_survives_kills_at_any_moment(page, store_url):
    result = run_kill_bench(KillBench(kills=8, page=page, store=store_url, seed=3))
    (row,) = result["rows"]
    assert kept(result) and (row["lost"], row["doubled"], row["altered"], row["refused"]) == (0, 0, 0, 0)
    assert row["kills"] == 8 and row["acknowledged"] >= 40  # twenty before the kills, twenty after them
    store = Store(store_url)
    assert store.verify() == row["links"] >= row["acknowledged"] + row["taken_back"]
    with pytest.raises(HeedError, match="give an empty store"):
        run_kill_bench(KillBench(kills=1, page=page, store=store_url))


class Hasty(Store):
    """Says that it has written what it writes a little later."""

    def add(self, judgement):
        threading.Timer(0.5, super().add, [judgement]).start()
        return random.getrandbits(40)


def test_a_store_that_acknowledges_before_it_has_written_is_caught(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # where the server's process finds Hasty
    result = run_kill_bench(KillBench(kills=4, page="compare", seed=3, span=1.0), opening=Hasty)
    assert result["rows"][0]["lost"] > 0 and not kept(result)


@pytest.fixture
def believed(store_url):
    """A page, and the store of the three judgements that it knows to be written, the last of them taken back."""
    page, store = ComparePage(random.Random(0)), Store(store_url)
    for n in range(3):
        key, verdict = f"k{n}", {"objectives": {"help": "tie"}, "unsafe": {}}
        page.sent[key] = (f"p{n}", verdict)
        store.add(Judgement("compare", "ada", {"pair": f"p{n}"}, verdict, key=key))
        page.active.add(key)
    store.retract(store.effective()[-1].id, "ada", "undo")
    page.active.discard("k2")
    page.retracted.add("k2")
    return page, store, store_url


def faults(page, url):
    counts = differences(url, page)
    return counts["lost"], counts["doubled"], counts["altered"]


def test_a_page_that_believes_what_is_there_finds_no_fault(believed):
    page, _, url = believed
    assert faults(page, url) == (0, 0, 0) and differences(url, page)["links"] == 4


def test_what_is_not_there_is_lost_and_so_is_a_taking_back(believed):
    page, store, url = believed
    page.active.add("never written")
    assert faults(page, url) == (1, 0, 0)
    page.retracted.add("k1")
    page.active.discard("k1")
    assert faults(page, url) == (2, 0, 0)
    store.retract(store.effective()[-1].id, "ada", "undo")  # which nobody has heard of
    page.active.add("k1")
    page.retracted.discard("k1")
    assert faults(page, url) == (2, 0, 0)


@pytest.mark.parametrize(
    ("kind", "repeated", "why", "turned_away"),
    [
        (WatchPage, True, "nothing is in view to be judged (allow): wait for the next proposal", True),
        (WatchPage, True, "the store is broken", False),
        (WatchPage, False, "nothing is in view to be judged (allow): wait for the next proposal", False),
        (ComparePage, True, "nothing is in view to be judged (allow): wait for the next proposal", False),
    ],
)
def test_only_what_is_repeated_before_it_is_shown_again_may_be_turned_away(kind, repeated, why, turned_away):
    page = kind(random.Random(0))
    if repeated:
        page.repeated["k"] = datetime.now(UTC)
    page._hear({"refused": {"do": "allow", "key": "k", "why": why}})
    assert (page.turned_away, page.refused) == (({"k"}, []) if turned_away else (set(), [why]))


def test_what_was_turned_away_is_no_fault_unless_it_was_written_all_the_same(believed):
    page, _, url = believed
    page.turned_away.add("never written")
    assert faults(page, url) == (0, 0, 0) and differences(url, page)["refused"] == 0
    page.turned_away.add("k1")
    assert differences(url, page)["refused"] == 1
    page.refused.append("for no reason")
    assert differences(url, page)["refused"] == 2


def test_a_judgement_under_another_key_is_doubled_and_another_verdict_altered(believed):
    page, store, url = believed
    again = store.effective()[0]
    store.add(replace(again, key="another", id=None))
    assert faults(page, url) == (0, 2, 1)  # one pair stands twice, and nobody said the second
    page.sent["k1"] = ("p1", {"objectives": {"help": "left"}, "unsafe": {}})
    assert faults(page, url) == (0, 2, 2)


def test_a_store_that_was_meddled_with_is_no_result(believed):
    page, store, url = believed
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE judgements SET person = 'eve' WHERE id = 1")
    with pytest.raises(HeedError, match="row 1 is not as it was written"):
        differences(url, page)


def test_the_command_prints_what_was_measured_and_fails_where_a_promise_is_broken(monkeypatch, capsys):
    row = {"name": "compare", "kills": 2, "cut": 1, "acknowledged": 9, "lost": 0, "doubled": 0, "altered": 0}
    row |= {"refused": 0, "turned_away": 0, "retried": 1, "already": 0, "seconds": 2.0}
    result = {"version": "0", "store": "sqlite", "seed": 5, "rows": [row]}
    asked = []
    monkeypatch.setattr("heed.bench.pages.kills.run_kill_bench", lambda bench, tell: asked.append(bench) or result)
    main(["bench", "kills", "--kills", "2", "--seed", "5", "--page", "compare", "--json"])
    assert json.loads(capsys.readouterr().out) == result
    assert asked == [KillBench(kills=2, page="compare", seed=5)]
    row["lost"] = 1
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kills"])
    said = capsys.readouterr()
    assert ended.value.code == 1 and "a promise is broken" in said.err
    assert "| compare | 2 | 1 | 9 | 1 | 0 | 0 | 1 | 0 | 2 |" in said.out


@pytest.mark.parametrize("flags", [["--kills", "0"], ["--page", "report"], ["--span", "0"]])
def test_what_cannot_be_measured_is_refused(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kills", *flags])
    assert ended.value.code == 2 and "heed bench kills" in capsys.readouterr().err
