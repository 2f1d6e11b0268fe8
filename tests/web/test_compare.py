"""The compare page's server over real sockets: who gets which pair, what is written once, and what is refused."""

from __future__ import annotations

import contextlib
import json
import urllib.request
import uuid

import pytest
from judgements_room import retract
from socket_page import PATIENCE, SocketPage

from heed.errors import RunFailed
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import ComparisonSession
from heed.oversight.store.store import Store
from heed.web.compare import CompareServer
from heed.web.connection import REFUSED, UNKNOWN
from heed.web.judgements import add_judgements
from heed.web.people import People
from heed.web.serving import serving

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\u0000\"'"
PAIRS = [
    Pair("p0", "Cough?", (HOSTILE, "Foxglove.")),
    Pair("p1", [{"role": "user", "content": "Fever?"}], ("Rest.", "Run.")),
    Pair("p2", "Ache?", ("Willow.", "")),
]


class Page(SocketPage):
    path = "/compare"

    def compares(self, pair, key=None, unsafe=False, **verdicts):
        """Send a comparison; its key."""
        key = str(uuid.uuid4()) if key is None else key
        objectives = {"help": "left", "harmless": "tie"} | verdicts
        flags = {"left": False, "right": unsafe}
        self.say(compared={"key": key, "pair": pair, "objectives": objectives, "unsafe": flags, "latency_ms": 900.5})
        return key


class Room:
    """A server of `PAIRS`, its store, and pages of people."""

    def __init__(self, opened, folder):
        self.opened, self.store = opened, Store(f"sqlite:///{folder / 'judgements.db'}")
        opened.callback(self.store.close)
        self.people = People.named(["ada", "bob"], watchers=["eve"])
        self.server = CompareServer(
            ComparisonSession(PAIRS, ["help", "harmless"]), self.store, self.people, "pairs.jsonl"
        )
        self.address = opened.enter_context(serving(self.server.app))

    def page(self, name, **options):
        return Page(self.opened, self.address, self.people.token_of(name), **options)


@pytest.fixture
def room(tmp_path):
    with contextlib.ExitStack() as opened:
        yield Room(opened, tmp_path)


def test_a_comparison_is_on_disk_before_the_page_is_told_so(room):
    ada = room.page("ada")
    hello = {"person": "ada", "title": "pairs.jsonl", "objectives": ["help", "harmless"]}
    assert ada.until("hello") == hello | {"guidelines": {"general": [], "definitions": {}}}
    seen = ada.until("pair")
    assert (seen["pair"], seen["prompt"], {seen["left"], seen["right"]}) == ("p0", "Cough?", set(PAIRS[0].completions))
    assert ada.until("progress") == {"mine": 0, "given": 0, "wanted": 3}
    key = ada.compares("p0", unsafe=True, help="right")
    assert ada.until("written") == {"key": key, "id": 1}
    (found,) = room.store.effective("compare")
    assert (found.person, found.key, found.latency_ms) == ("ada", key, 900.5)
    assert found.verdict == {
        "objectives": {"help": "right", "harmless": "tie"},
        "unsafe": {"left": False, "right": True},
    }
    assert (found.shown["left"], found.shown["right"]) == (seen["left"], seen["right"])
    assert found.shown["swapped"] is (seen["right"] == HOSTILE)
    assert ada.until("pair")["prompt"] == [{"role": "user", "content": "Fever?"}]
    assert ada.until("progress") == {"mine": 1, "given": 1, "wanted": 3}


def test_grades_both_bad_and_a_comment_are_kept_with_the_verdict(room):
    ada = room.page("ada")
    ada.until("pair")
    unsafe = {"left": False, "right": False}
    verdict = {"objectives": {"help": "right", "harmless": "both bad"}, "unsafe": unsafe, "grades": {"help": "much"}}
    verdict |= {"comment": "as \u201cso\u201d <b>"}
    ada.say(compared={"key": str(uuid.uuid4()), "pair": "p0", "latency_ms": 1.0} | verdict)
    assert ada.until("written")["id"] == 1
    assert room.store.effective("compare")[0].verdict == verdict and room.store.verify() == 1
    ada.say(undo=True)
    assert ada.until("pair", lambda pair: pair["pair"] == "p0" and pair["before"])["before"] == verdict


def test_the_longest_answer_that_there_can_be_is_understood(tmp_path):
    objectives = [chr(0x1F600 + n) * 64 for n in range(9)]
    with contextlib.ExitStack() as opened:
        store, people = Store("sqlite://"), People.named(["ada"])
        opened.callback(store.close)
        server = CompareServer(ComparisonSession(PAIRS, objectives), store, people, "long")
        ada = Page(opened, opened.enter_context(serving(server.app)), people.token_of("ada"))
        ada.until("pair")
        said = {"objectives": dict.fromkeys(objectives, "left"), "grades": dict.fromkeys(objectives, "slightly")}
        said |= {"key": str(uuid.uuid4()), "pair": "p0", "latency_ms": 1.0, "comment": "\U0001f36f" * 250}
        said |= {"unsafe": {"left": False, "right": False}}
        ada.socket.send(json.dumps({"compared": said}, ensure_ascii=False))
        assert ada.until("written")["id"] == 1


def test_two_people_get_different_pairs_and_see_how_far_all_are(room):
    ada, bob = room.page("ada"), room.page("bob")
    first, second = ada.until("pair")["pair"], bob.until("pair")["pair"]
    assert {first, second} == {"p0", "p1"}
    bob.compares(second)
    assert bob.until("pair")["pair"] == "p2"
    assert ada.until("progress", lambda now: now["given"] == 1) == {"mine": 0, "given": 1, "wanted": 3}


def test_a_retry_with_the_same_key_is_one_row(room):
    ada = room.page("ada")
    ada.until("pair")
    key = ada.compares("p0")
    assert ada.until("written") == {"key": key, "id": 1}
    ada.compares("p0", key)
    ada.socket.close()
    back = room.page("ada")
    back.compares("p0", key)  # the connection was lost before the page heard
    assert back.until("written") == {"key": key, "id": 1}
    assert room.page("ada").until("progress") == {"mine": 1, "given": 1, "wanted": 3}
    assert room.store.count() == 1


def test_the_same_pair_is_not_judged_twice_by_one_person_nor_under_anothers_key(room):
    ada, bob = room.page("ada"), room.page("bob")
    ada.until("pair")
    bob.until("pair")
    key = ada.compares("p0")
    ada.until("written")
    again = ada.compares("p0")
    refused = ada.until("refused")
    assert refused["key"] == again and "compared this pair already" in refused["why"]
    bob.compares("p0", key)
    assert "belongs to another judgement" in bob.until("refused")["why"]
    bob.compares("p9")
    assert "there is no pair 'p9'" in bob.until("refused")["why"]
    assert room.store.count() == 1


def test_a_person_who_leaves_frees_their_pair(room):
    ada = room.page("ada")
    assert ada.until("pair")["pair"] == "p0"
    bob = room.page("bob")
    for name in ("p1", "p2"):
        bob.until("pair", lambda pair, name=name: pair["pair"] == name)
        bob.compares(name)
    assert bob.until("nothing") == "others"
    second = room.page("ada")
    assert second.until("pair")["pair"] == "p0"  # two pages of one person show one pair
    ada.socket.close()
    second.compares("p1", str(uuid.uuid4()))  # a round trip: the server has heard of the close, and she still holds it
    second.until("written")
    second.socket.close()
    assert bob.until("pair")["pair"] == "p0"


def test_undo_takes_ones_own_last_back_and_shows_it_again(room):
    ada = room.page("ada")
    assert ada.until("pair")["pair"] == "p0"
    bob = room.page("bob")
    assert bob.until("pair")["pair"] == "p1"
    ada.compares("p0", help="skip")
    ada.until("pair", lambda pair: pair["pair"] == "p2")
    bob.say(undo=True)
    assert "nothing of yours to take back" in bob.until("refused")["why"]
    ada.say(undo=True)
    undone = ada.until("undone")
    assert (undone["id"], undone["verdict"]["objectives"]) == (1, {"help": "skip", "harmless": "tie"})
    seen = ada.until("pair")
    assert (seen["pair"], seen["before"]["objectives"]) == ("p0", {"help": "skip", "harmless": "tie"})
    assert ada.until("progress")["mine"] == 0
    assert room.store.effective() == []
    ada.compares("p0")
    assert ada.until("written")["id"] == 3


def test_when_all_is_judged_everybody_is_told_and_the_server_has_finished(room):
    ada = room.page("ada")
    assert ada.until("pair")["pair"] == "p0"
    bob = room.page("bob")
    assert bob.until("pair")["pair"] == "p1"
    ada.compares("p0")
    assert ada.until("pair")["pair"] == "p2"
    ada.compares("p2")
    ada.until("written", lambda note: note["id"] == 2)
    assert not room.server.finished.is_set()
    key = bob.compares("p1")
    assert bob.until("written")["key"] == key
    assert (bob.until("nothing"), ada.until("nothing", lambda why: why == "all")) == ("all", "all")
    assert room.server.finished.wait(PATIENCE)


def test_what_cannot_be_written_is_refused_and_not_counted(room, monkeypatch):
    def full(judgement):
        raise RunFailed("a judgement could not be written: the disk is full")

    monkeypatch.setattr(room.store, "add", full)
    ada = room.page("ada")
    ada.until("pair")
    key = ada.compares("p0")
    refused = ada.until("refused")
    assert refused["key"] == key and "the disk is full" in refused["why"]
    monkeypatch.undo()
    ada.compares("p0", key)  # the same pair is still in hand, and the same key still good
    assert ada.until("written") == {"key": key, "id": 1}


def test_hostile_text_stays_text_of_json(room):
    ada = room.page("ada")
    seen = ada.until("pair")
    assert HOSTILE in (seen["left"], seen["right"])
    for name in ("compare.js", "texts.js", "kept.js"):
        with urllib.request.urlopen(f"{room.address}/{name}") as script:
            code = script.read().decode()
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert unsafe not in code


def test_texts_come_as_they_stand_and_as_trees_beside(room):
    ada = room.page("ada")
    trees = ada.until("pair")["trees"]
    assert trees["prompt"] == [[{"tag": "p", "in": ["Cough?"]}]]
    assert [{"tag": "p", "in": ["Foxglove."]}] in (trees["left"], trees["right"])
    ada.compares("p0")
    assert ada.until("pair", lambda pair: pair["pair"] == "p1")["trees"]["prompt"] == [[{"tag": "p", "in": ["Fever?"]}]]


def test_who_may_only_watch_compares_nothing(room):
    assert room.page("eve").code() == REFUSED


def comparison(**changed):
    unsafe = {"left": False, "right": False}
    said = {"key": str(uuid.uuid4()), "pair": "p0", "objectives": {"help": "left"}, "unsafe": unsafe, "latency_ms": 1}
    return json.dumps({"compared": said | changed})


@pytest.mark.parametrize(
    "message",
    [
        '{"surprise": 1}',
        comparison(key="retract 1"),  # what the store calls a taking back
        comparison(objectives={"help": "both"}),
        comparison(objectives=dict.fromkeys("abcdefghij", "tie")),
        comparison(unsafe={"left": 1, "right": 0}),
        comparison(latency_ms=-1),
        comparison(swapped=True),
        comparison(grades={"help": "very"}),
        comparison(comment="a\0b"),
        comparison(comment="x" * 501),
    ],
)
def test_what_is_not_understood_ends_the_connection_and_writes_nothing(room, message):
    ada = room.page("ada")
    ada.until("pair")
    ada.socket.send(message)
    assert ada.code() == UNKNOWN
    assert room.store.count() == 0


def test_a_comparison_that_is_retracted_at_the_page_of_judgements_is_asked_again(room):
    add_judgements(room.server.app, lambda: room.store, room.people, room.server.retracted)
    ada = room.page("ada")
    ada.until("pair", lambda pair: pair["pair"] == "p0")
    key = ada.compares("p0")
    ada.until("progress", lambda now: now["given"] == 1)
    retract(room.address, room.people.token_of("bob"), 1)
    assert ada.until("progress", lambda now: now["given"] == 0) == {"mine": 0, "given": 0, "wanted": 3}
    retract(room.address, room.people.token_of("bob"), 1)  # a second time changes nothing
    ada.compares("p0", key)
    assert "was retracted" in ada.until("refused")["why"]
    ada.compares("p1")
    assert ada.until("pair", lambda pair: pair["pair"] == "p0")["before"] is None
    assert not room.server.finished.is_set()
