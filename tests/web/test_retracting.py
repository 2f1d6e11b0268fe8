"""What is retracted at the page of judgements takes effect beside it: pairs are free again, labels are forgotten."""

from __future__ import annotations

import contextlib
import json
import urllib.request
import uuid

import numpy as np
import pytest
from recorder import Recorder
from socket_page import SocketPage

from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import ComparisonSession
from heed.oversight.overseers.base import Proposal, Verdict
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.store.store import Judgement, Store
from heed.web.compare import CompareServer
from heed.web.judgements import OpenedLater, add_judgements
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer

PAIRS = [Pair("p0", "Cough?", ("Honey.", "Foxglove.")), Pair("p1", "Fever?", ("Rest.", "Run."))]


class Page(SocketPage):
    path = "/compare"

    def compares(self, pair, key=None):
        key = str(uuid.uuid4()) if key is None else key
        flags = {"left": False, "right": False}
        said = {"key": key, "pair": pair, "objectives": {"help": "left"}, "unsafe": flags, "latency_ms": 900.5}
        self.say(compared=said)
        return key


def retract(address, token, number):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"why": "mistaken"}).encode()
    asked = urllib.request.Request(f"{address}/api/judgements/{number}/retract", body, headers)
    with urllib.request.urlopen(asked) as answer:
        return json.loads(answer.read())


def test_a_comparison_that_is_retracted_is_asked_again(tmp_path):
    people = People.named(["ada", "bob"])
    with (
        contextlib.closing(Store(f"sqlite:///{tmp_path / 'judgements.db'}")) as store,
        contextlib.ExitStack() as opened,
    ):
        server = CompareServer(ComparisonSession(PAIRS, ["help"]), store, people, "pairs.jsonl")
        add_judgements(server.app, lambda: store, people, server.retracted)
        address = opened.enter_context(serving(server.app))
        ada = Page(opened, address, people.token_of("ada"))
        ada.until("pair", lambda pair: pair["pair"] == "p0")
        key = ada.compares("p0")
        ada.until("progress", lambda now: now["given"] == 1)
        retract(address, people.token_of("bob"), 1)
        assert ada.until("progress", lambda now: now["given"] == 0) == {"mine": 0, "given": 0, "wanted": 2}
        retract(address, people.token_of("bob"), 1)  # a second time changes nothing
        ada.compares("p0", key)
        assert "was retracted" in ada.until("refused")["why"]
        ada.compares("p1")
        assert ada.until("pair", lambda pair: pair["pair"] == "p0")["before"] is None
        assert not server.finished.is_set()


@pytest.mark.parametrize(("row", "forgotten"), [(41, ["k1"]), (7, [])])
def test_a_verdict_that_is_retracted_is_forgotten_by_the_run(row, forgotten):
    overseer = HumanOverseer()
    server = WatchServer(overseer, People.named(["ada"]), "a walk")
    overseer.connect("page", "ada", True)
    Recorder(overseer)
    overseer.desk.collect = lambda: Verdict(True, person="ada", key="k1")
    overseer.written(overseer.judge(Proposal(np.zeros(2), np.zeros(1))), 41)
    retracted = Judgement("block", "ada", {}, {"block": True}, id=row)
    with contextlib.suppress(StopIteration):  # it waits for nothing
        server.retracted(retracted).send(None)
    assert overseer.retractions() == forgotten
    with pytest.raises(HeedError, match="nothing of yours") if forgotten else contextlib.nullcontext():
        overseer.undo("ada")


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
