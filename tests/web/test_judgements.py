"""The page of judgements over real HTTP: who may see and retract what, and what a tampered row does."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import threading
import time
import urllib.request

import pyarrow.parquet as pq
import pytest
from judgements_room import HOSTILE, JudgementsRoom, block, comparison

from heed.errors import HeedError, RunFailed
from heed.oversight.store import queries
from heed.oversight.store.export import export
from heed.oversight.store.store import Judgement, Store
from heed.web import judgements as judgements_server
from heed.web.judgements import OpenedLater

GIVEN = [
    *(block("ada", step) for step in range(3)),
    *(block("bob", step, blocks=step == 0, run="walk-2") for step in range(3)),
    comparison("ada"),
    comparison("bob", says="right"),
]


@pytest.fixture
def room(tmp_path):
    with contextlib.ExitStack() as opened:
        yield JudgementsRoom(opened, tmp_path / "judgements.db", GIVEN)


@pytest.mark.parametrize(
    "path", ["", "/1", "/about", "/agreement", "/verify", "/export/jsonl", "/export/parquet", "/999", "/none"]
)
def test_nobody_is_shown_anything_without_a_token(room, path):
    status, headers, content = room.request(f"/api/judgements{path}", by=None)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(content) == {"detail": "a token is needed"}


def test_who_asks_and_what_there_is(room):
    status, told = room.ask("/about", "eve")
    assert (status, told) == (
        200,
        {
            "person": "eve",
            "judges": False,
            "count": 8,
            "people": ["ada", "bob"],
            "runs": ["pairs.jsonl", "walk-2", "walk-1"],
        },
    )


def test_newest_first_page_by_page(room):
    first = room.ask(most=3)[1]
    assert [row["id"] for row in first["rows"]] == [8, 7, 6]
    second = room.ask(most=3, before=first["next"])[1]
    assert [row["id"] for row in second["rows"]] == [5, 4, 3]
    third = room.ask(most=3, before=second["next"])[1]
    assert ([row["id"] for row in third["rows"]], third["next"]) == ([2, 1], None)


def test_a_page_reads_its_rows_and_no_more(room, monkeypatch):
    room.store.add_all([block("kim", step) for step in range(100)])
    made = []
    monkeypatch.setattr(queries, "Judgement", lambda **told: made.append(told["id"]) or Judgement(**told))
    assert [row["id"] for row in room.rows(most=2, before=50)] == made == [49, 48]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"kind": "compare"}, [8, 7]),
        ({"person": "bob"}, [8, 6, 5, 4]),
        ({"run": "walk-1"}, [3, 2, 1]),
        ({"person": "bob", "kind": "block", "status": "active"}, [6, 4]),
        ({"status": "retracted"}, [5]),
        ({"status": "active", "run": "walk-2"}, [6, 4]),
        ({"person": "nobody' OR 1=1 --"}, []),
    ],
)
def test_filters(room, query, ids):
    room.store.retract(5, "bob", "by mistake")
    assert [row["id"] for row in room.rows(**query)] == ids


def test_a_list_tells_in_words_what_was_shown_and_said(room):
    room.store.add(block("kim", 7, blocks=False, silent=True))
    room.store.add(comparison("kim", prompt=[{"role": "user", "content": "x" * 500}], says="tie"))
    long, silent, *_, first = room.rows()
    assert (first["shown"], first["summary"]) == ("episode 1, step 1: action 1", "block")
    assert silent["summary"] == "let pass, silent"
    assert long["summary"] == "help: tie, left unsafe"
    assert len(long["shown"]) == judgements_server.LONGEST_LINE and long["shown"].endswith("x\u2026")


def test_one_judgement_whole(room):
    status, told = room.ask("/7")
    given = room.store.effective("compare")[0]
    assert (status, told["shown"]["left"], told["summary"]) == (200, HOSTILE, "help: left, left unsafe")
    assert (told["key"], told["at"], told["latency_ms"]) == (
        given.key,
        given.at.isoformat().replace("+00:00", "Z"),
        900.5,
    )
    assert (told["unbroken"], told["retraction"], len(told["digest"])) == (True, None, 64)
    assert (told["shown"], told["verdict"]) == (given.shown, given.verdict)


def test_hostile_text_comes_as_json_under_a_policy_that_runs_nothing(room):
    for path in ("/api/judgements/7", "/api/judgements/export/jsonl", "/judgements"):
        status, headers, content = room.request(path)
        assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert HOSTILE.encode() not in content  # the page itself
    code = room.request("/judgements.js")[2].decode()
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser", "srcdoc"):
        assert unsafe not in code


def test_taking_back_is_a_further_row_with_a_reason(room):
    status, told = room.ask("/7/retract", "bob", {"why": HOSTILE})
    assert status == 200
    back = told["retraction"]
    assert (back["id"], back["person"], back["why"]) == (9, "bob", HOSTILE)
    assert 7 not in [given.id for given in room.store.effective()] and room.store.verify() == 9
    assert [given.id for given in room.retracted] == [7]
    assert room.ask("/7/retract", "ada", {"why": "again"})[1]["retraction"] == back  # the first reason stays
    assert room.store.verify() == 9
    assert [row["active"] for row in room.rows(most=2)] == [True, False]


def test_whoever_only_watches_takes_nothing_back(room):
    assert room.ask("/7/retract", "eve", {"why": "no"}) == (403, {"detail": "you watch, and judge nothing"})
    assert room.ask("/7/retract", None, {"why": "no"})[0] == 401
    assert len(room.store.effective()) == 8 and room.retracted == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/99/retract", {"why": "no"}, 404),
        ("/7/retract", {"why": ""}, 422),
        ("/7/retract", {"why": "x" * 501}, 422),
        ("/7/retract", {"why": "nul \u0000"}, 422),
        ("/7/retract", {"why": "half \ud800"}, 422),
        ("/7/retract", {"why": "no", "\ud800": 1}, 422),
        ("/7/retract", {"why": 1}, 422),
        ("/7/retract", ["no"], 422),
        ("/7/retract", {"why": "x" * 9000}, 413),
        (f"/{2**31}/retract", {"why": "no"}, 422),
    ],
)
def test_what_cannot_be_taken_back_is_told_in_words(room, path, body, status):
    found, told = room.ask(path, body=body)
    assert (found, list(told)) == (status, ["detail"])
    assert "input" not in json.dumps(told)  # it is not repeated
    assert len(room.store.effective()) == 8


@pytest.mark.parametrize(
    "query",
    [
        {"most": judgements_server.MOST_ROWS + 1},
        {"most": 0},
        {"before": 0},
        {"before": 2**63},
        {"kind": "retract"},
        {"status": "perhaps"},
        {"person": "x" * 201},
        {"run": "\0"},
        {"persno": "ada"},
    ],
)
def test_what_is_asked_is_bounded(room, query):
    assert room.ask(**query)[0] == 422


def test_a_name_that_is_given_twice_is_refused(room):
    status, _, content = room.request("/api/judgements?person=ada&person=bob")
    assert (status, json.loads(content)["detail"][0]["loc"]) == (422, ["query", "person"])


def test_a_row_that_takes_back_is_no_judgement(room):
    room.store.retract(1, "ada", "x")
    assert room.ask("/9") == (404, {"detail": "there is no judgement 9"})
    assert room.ask("/0")[0] == 422


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("asked", [{}, {"kind": "compare"}, {"person": "bob", "run": "walk-2"}])
def test_a_file_holds_what_export_writes(room, ending, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(queries, "BATCH", 2)  # so that batches meet
    monkeypatch.setattr("heed.oversight.store.export.GROUP", 3)
    room.store.retract(2, "ada", "x")
    export(room.store.effective(**asked), tmp_path / f"out.{ending}")
    status, headers, content = room.request(f"/api/judgements/export/{ending}", "eve", **asked)
    assert (status, headers["Content-Disposition"]) == (200, f'attachment; filename="judgements.{ending}"')
    if ending == "jsonl":
        assert content == (tmp_path / "out.jsonl").read_bytes() and content.count(b"\n") == len(room.rows(**asked)) - (
            asked == {}
        )
    else:
        assert pq.read_table(io.BytesIO(content)).equals(pq.read_table(tmp_path / "out.parquet"))


@pytest.mark.parametrize("name", ["csv", "jsonl.exe", "..%2fjudgements.db", "%2e%2e"])
def test_no_path_of_a_request_reaches_the_file_system(room, name):
    status, _, content = room.request(f"/api/judgements/export/{name}")
    assert status in (404, 422) and b"SQLite" not in content


def test_verifying_says_what_it_found(room):
    assert room.ask("/verify", "eve") == (200, {"rows": 8, "wrong": None})
    room.tamper("UPDATE judgements SET person = 'eve' WHERE id = 3")
    status, told = room.ask("/verify")
    assert (status, told["rows"]) == (200, None) and told["wrong"].startswith("row 3 is not as it was written")
    assert str(room.file) not in json.dumps(told)
    assert [room.ask(f"/{number}")[1]["unbroken"] for number in (2, 3, 4)] == [True, False, True]
    room.tamper("DELETE FROM judgements WHERE id = 5")
    assert room.ask("/6")[1]["unbroken"] is False  # the row before it is missing


def test_agreement_is_of_active_judgements(room):
    room.store.add(block("bob", 1, blocks=False))
    told = room.ask("/agreement", "eve")[1]
    help, blocks = told["questions"]
    assert (help["question"], help["units"], help["alpha"]) == ("help", 1, 0.0)
    assert help["pairs"] == [{"one": "ada", "other": "bob", "units": 1, "agree": 0.0, "kappa": 0.0}]
    assert (blocks["question"], blocks["units"], blocks["pairs"][0]["agree"]) == ("block", 1, 0.0)
    assert [(one["person"], one["judgements"], one["median_ms"]) for one in told["people"]] == [
        ("bob", 5, 100.0),
        ("ada", 4, 150.0),
    ]
    room.store.retract(8, "bob", "x")
    assert room.ask("/agreement")[1]["questions"][0]["alpha"] is None  # and no earlier answer is given again


def test_the_same_rows_are_counted_once(room, monkeypatch):
    counted = []
    monkeypatch.setattr(
        judgements_server,
        "agreements",
        lambda rows: counted.append(len(list(rows))) or judgements_server.Agreements([], []),
    )
    first, second = room.ask("/agreement")[1], room.ask("/agreement")[1]
    assert first == second == {"questions": [], "people": []} and counted == [8]


def test_one_request_at_a_time_goes_through_the_whole_store(room, monkeypatch):
    inside, most, entered, leave = [], [], threading.Event(), threading.Event()
    verify = room.store.verify

    def slow():
        inside.append(1)
        most.append(len(inside))
        entered.set()
        assert leave.wait(10)
        inside.pop()
        return verify()

    monkeypatch.setattr(room.store, "verify", slow)
    threads = [threading.Thread(target=room.ask, args=("/verify",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(10) and room.rows(most=1)[0]["id"] == 8  # others are served meanwhile
    leave.set()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1, 1]


def test_some_files_are_written_at_once_and_no_more(room, monkeypatch):
    entered, leave, answers = threading.Semaphore(0), threading.Event(), []

    def slow(*_):
        entered.release()
        assert leave.wait(10)
        yield block("ada", 0)

    monkeypatch.setattr(judgements_server, "passing", slow)

    def export():
        answers.append(room.request("/api/judgements/export/jsonl"))

    threads = [threading.Thread(target=export) for _ in range(judgements_server.MOST_FILES)]
    for thread in threads:
        thread.start()
    assert all(entered.acquire(timeout=10) for _ in threads)
    assert room.ask("/export/parquet") == (429, {"detail": "other files are being written; ask again later"})
    assert room.ask("/verify")[0] == room.ask("/1")[0] == 200  # others are served meanwhile
    leave.set()
    for thread in threads:
        thread.join(10)
    assert [(status, content.count(b"\n")) for status, _, content in answers] == [(200, 1)] * len(threads)
    assert room.request("/api/judgements/export/parquet")[0] == 200


def test_whoever_goes_in_the_middle_of_a_file_leaves_room_for_others(room, monkeypatch):
    monkeypatch.setattr(judgements_server, "passing", lambda *_: itertools.repeat(block("ada", 0)))  # without end
    headers = {"Authorization": f"Bearer {room.people.token_of('ada')}"}
    asked = urllib.request.Request(f"{room.address}/api/judgements/export/jsonl", headers=headers)
    for _ in range(judgements_server.MOST_FILES):
        with urllib.request.urlopen(asked) as answer:
            assert answer.read(1) == b"{"
    monkeypatch.undo()
    until = time.monotonic() + 10
    while (status := room.request("/api/judgements/export/jsonl")[0]) == 429 and time.monotonic() < until:
        pass  # the server has yet to see it
    assert status == 200


def test_without_a_store_yet_the_page_is_there_and_says_so(room):
    def nothing():
        raise HeedError("there is no store of judgements", f"--store {room.file}", "wait")

    room.opened = nothing
    assert room.ask() == (404, {"detail": "there is no store of judgements"})
    assert b"What people said" in room.request("/judgements")[2]
    assert room.ask(by=None)[0] == 401  # nobody is shown even that


def test_a_store_that_fails_is_logged_and_not_shown(room, monkeypatch, caplog):
    def full(*_):
        raise RunFailed(f"a judgement could not be written to {room.file}: the disk is full")

    monkeypatch.setattr(room.store, "retract", full)
    told = room.ask("/7/retract", body={"why": "x"})
    assert told == (503, {"detail": "the store cannot be read or written now"})
    assert "the disk is full" in caplog.text and room.retracted == []


def test_half_characters_of_another_program_are_shown_as_question_marks(room):
    room.store.add(comparison("kim", left="half \ud800", right="ok"))
    assert room.ask("/9")[1]["shown"]["left"] == "half ?"
    assert room.rows(most=1)[0]["id"] == 9


def test_a_store_is_opened_when_it_is_there(tmp_path):
    later = OpenedLater(str(tmp_path / "judgements.db"))
    with pytest.raises(HeedError, match="there is no store of judgements"):
        later()
    assert not list(tmp_path.iterdir())  # looking makes none
    with contextlib.closing(Store(f"sqlite:///{tmp_path / 'judgements.db'}")) as store:
        store.add(Judgement("block", "ada", {}, {"block": True}))
        assert later().count() == 1 and later() is later()
    later.close()
    OpenedLater("sqlite://").close()
