"""Marked moments: of the present and of the past, listed on every page, on disk, after a reload and a restart."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from test_rewind import looked_back
from waiting import Wire, says, until
from watched_agent import Agent, proposal_of, random_proposals

import heed.worlds  # noqa: F401 - registers point hazard
from heed.cli.judgements import run
from heed.errors import HeedError
from heed.oversight.control.desk import Desk
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.store.store import Store
from heed.web.judgements import add_judgements
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer

pytestmark = pytest.mark.browser


def test_a_key_marks_what_is_shown_with_a_note_and_every_page_lists_it(watching):
    watched = watching()
    page, bob, eve = watched.page(), watched.page("bob"), watched.page("eve")
    for each in (page, bob, eve):
        proposal_of(each)
    page.keyboard.press("x")
    says(page, "#notice", "marked: row 1 is on disk")
    page.keyboard.press("m")
    page.fill("#note", "near the wall")
    page.keyboard.press("Enter")
    says(page, "#marks li >> nth=0", "ada: episode 1, step 1: near the wall")
    for each in (page, bob, eve):
        until(each, lambda count: count == 2, lambda each: each.locator("#marks li").count())
    assert watched.agent.verdicts.empty()  # nothing of it judged, and "b" in the note is a letter
    assert page.input_value("#note") == ""
    eve.keyboard.press("x")
    assert eve.is_disabled("#mark") and len(watched.marked) == 2
    page.reload()
    until(page, lambda count: count == 2, lambda page: page.locator("#marks li").count())


def test_a_mark_whose_answer_is_lost_is_sent_again_and_is_one_and_a_refused_note_is_not_lost(watching, monkeypatch):
    watched = watching()
    page = watched.browser.new_page()
    wire = Wire(page, "/watch", loses='"marked"')
    watched.open(page)
    proposal_of(page)
    page.keyboard.press("m")
    page.fill("#note", "near the wall")
    page.keyboard.press("Enter")
    says(page, "#notice", "marked: row 1 is on disk")
    orders = [json.loads(message).get("order") for message in wire.sent]
    keys = [order["key"] for order in orders if order and order["do"] == "mark"]
    assert len(keys) == 2 and len(set(keys)) == 1 and len(watched.marked) == 1

    def full(*_):
        raise HeedError("the disk is full", "mark", "make room")

    with monkeypatch.context() as refused:
        refused.setattr(watched.overseer, "mark", full)
        page.fill("#note", "and again")
        page.keyboard.press("Enter")
        says(page, "#notice", "the disk is full")
    assert page.input_value("#note") == "and again"
    page.focus("#note")
    page.keyboard.press("Enter")
    says(page, "#marks li >> nth=0", "and again")


def test_a_past_moment_is_marked_as_what_it_was(watching):
    watched, page = looked_back(watching)
    page.focus("#past-slider")
    page.keyboard.press("Home")
    page.keyboard.press("x")
    until(page, bool, lambda _: watched.marked)
    assert (watched.marked[0].shown["step"], watched.overseer.desk.proposal > 3) == (0, True)
    with pytest.raises(HeedError, match="too long ago"):
        watched.overseer.mark("ada", 10_000, "", "k")


def test_marks_are_in_the_store_after_a_restart_in_the_export_and_can_be_taken_back(browser, tmp_path):
    place = tmp_path / "judgements.db"

    def served(named, does):
        store, people = Store(f"sqlite:///{place}"), People.named(["ada"])
        over = []
        human = HumanOverseer(Desk(), stopping=lambda: bool(over))
        recorded = Recorded(human, listeners=[human])
        recorded.begin(store, named, "heed/PointHazard-v0")
        human.bind(recorded)
        server = WatchServer(human, people, "point hazard")
        add_judgements(server.app, lambda: store, people, server.retracted)
        agent = Agent(recorded, gym.make("heed/PointHazard-v0", render_mode="rgb_array"), random_proposals)
        with serving(server.app) as address:
            agent.start()
            page = browser.new_page()
            page.goto(f"{address}/#token={people.token_of('ada')}")
            proposal_of(page)
            does(page, address, people.token_of("ada"))
            over.append(True)
            agent.join(20)
            page.close()
        store.close()

    def marks_one(page, *_):
        page.keyboard.press("x")
        says(page, "#notice", "marked: row 1 is on disk")

    def finds_it(page, address, token):
        says(page, "#marks li", "ada: episode 1, step 1")
        other = browser.new_page()
        other.goto(f"{address}/judgements#token={token}")
        other.wait_for_selector("#row-1")
        says(other, "#row-1", "marked")
        other.click("#row-1 button")
        other.fill("#why", "by mistake")
        other.click("#retract button")
        until(page, lambda seen: not seen, lambda page: page.is_visible("#marked"))
        other.close()

    served("evening", marks_one)
    served("another", lambda page, *_: until(page, lambda seen: not seen, lambda page: page.is_visible("#marked")))
    run([str(place), "--export", str(tmp_path / "all.jsonl"), "--kind", "mark"])
    (row,) = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert (row["kind"], row["person"], row["verdict"]) == ("mark", "ada", {"note": ""})
    assert (row["shown"]["episode"], row["shown"]["step"], row["shown"]["phase"]) == (0, 0, "oversight")
    assert np.shape(row["shown"]["observation"]) == (4,)
    served("evening", finds_it)
    store = Store(f"sqlite:///{place}")
    assert store.count() == 0 and store.effective("mark") == [] and store.verify() == 2
    store.close()
