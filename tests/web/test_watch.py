"""The watch page's server over real sockets: what is shown, what is obeyed, and what a lost page does."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time

import numpy as np
import pytest
from judgements_room import retract
from recorder import Recorder
from socket_page import PATIENCE, SocketPage

from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.store.store import Judgement, Store
from heed.web.connection import UNKNOWN
from heed.web.judgements import add_judgements
from heed.web.limits import Limits
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer


class Page(SocketPage):
    path = "/watch"

    def order(self, do, **rest):
        self.say(order={"do": do, **rest})

    def shows(self, state):
        return self.until("desk", lambda desk: desk["state"] == state)

    def sees(self, number):
        """Wait for a proposal, and say that it is rendered."""
        found = self.until("proposal", lambda proposal: proposal["number"] == number)
        self.say(rendered=number)
        return found


class Agent:
    """A thread that proposes, one action after another."""

    def __init__(self, overseer):
        self.overseer, self.verdicts = overseer, queue.Queue()

    def propose(self, value, risk=None):
        proposal = Proposal(np.array([0.25, 0.5]), np.array([value]), step=7, episode=2, risk=risk)
        work = threading.Thread(target=lambda: self.verdicts.put(self.overseer.judge(proposal)), daemon=True)
        work.start()

    def verdict(self):
        return self.verdicts.get(timeout=PATIENCE)


@pytest.fixture
def watched(request):
    """An overseer served to ada and bob, who judge, and eve, who watches; the agent; the address."""
    overseer = HumanOverseer(Desk(Pace(rates=(1.0, 50.0), rate=1, heartbeat=60.0, glance=0.0)))
    people = People.named(["ada", "bob"], watchers=["eve"])
    app = WatchServer(overseer, people, "a walk", getattr(request, "param", None)).app
    with serving(app) as address, contextlib.ExitStack() as opened:
        yield overseer, people, address, Agent(overseer), opened


def page_of(watched, name, **options):
    _, people, address, _, opened = watched
    return Page(opened, address, people.token_of(name), **options)


def half_a_minute_on(desk):
    """Turn the desk's clock: no page is gone yet, and what is in view has been there for long enough."""
    desk.clock = lambda: time.monotonic() + 30


def next_look(desk):
    """What the agent finds when it looks at the desk the next time."""
    found, collect = queue.Queue(), desk.collect

    def looking():
        found.put(verdict := collect())
        return verdict

    desk.collect = looking
    return found.get(timeout=PATIENCE)


def test_what_is_proposed_is_shown_and_a_block_reaches_the_agent_and_is_acknowledged(watched):
    agent = watched[3]
    Recorder(watched[0])
    ada = page_of(watched, "ada")
    assert ada.until("hello") == {"person": "ada", "judges": True, "title": "a walk", "reasons": []}
    ada.order("each")
    agent.propose(0.75)
    shown = ada.sees(1)
    assert (shown["observation"], shown["action"], shown["words"]) == ([0.25, 0.5], [0.75], "+0.75")
    assert (shown["episode"], shown["step"], shown["risk"], shown["framed"]) == (2, 7, None, False)
    ada.order("block", proposal=1, key="k1")
    verdict = agent.verdict()
    assert (verdict.block, verdict.person, verdict.key, verdict.failed) == (True, "ada", "k1", False)
    watched[0].written(verdict, 41)
    assert ada.until("written") == {"key": "k1", "id": 41, "glimpsed": False}
    agent.propose(0.5)
    ada.sees(2)
    ada.order("block", proposal=1, key="k1")  # a retry, as after a lost connection: it blocks nothing else
    assert ada.until("written") == {"key": "k1", "id": 41, "glimpsed": False}
    ada.order("allow", proposal=2, key="k2")
    assert agent.verdict().block is False


def test_the_seconds_that_are_left_are_told_again_where_a_page_that_comes_late_gives_them_back(watched):
    overseer, *_, agent, _ = watched
    overseer.go_alone()
    agent.propose(0.75, risk=0.5)
    while overseer.desk.proposal is None:
        time.sleep(0.01)
    began, patience = time.monotonic(), overseer.desk.pace.patience
    overseer.desk.clock = lambda: time.monotonic() + 7  # nobody was there for so long
    ada = page_of(watched, "ada")
    told = ada.until("desk", lambda desk: desk["asked"])
    assert told["sentence"] == "it asks you: {left} s left, then it is blocked"
    assert told["left_s"] == pytest.approx(patience - 7, abs=1 + time.monotonic() - began)
    ada.sees(1)
    assert ada.until("desk", lambda desk: desk["left_s"] > patience - 2)["asked"]
    ada.order("block", proposal=1, key="k1")
    assert agent.verdict().block


def test_what_was_pressed_by_mistake_is_undone(watched):
    overseer, agent = watched[0], watched[3]
    recorder = Recorder(overseer)
    ada, bob = page_of(watched, "ada"), page_of(watched, "bob")
    ada.order("each")
    agent.propose(0.75)
    ada.sees(1)
    ada.order("block", proposal=1, key="k1")
    overseer.written(agent.verdict(), 41)
    ada.until("written")
    bob.order("undo")
    assert bob.until("refused")["why"] == "there is nothing of yours to take back (undo): judge first"
    ada.order("undo")
    assert ada.until("undone") == {"id": 41}
    assert (recorder.rows, overseer.retractions(), overseer.retractions()) == ([(41, "ada")], ["k1"], [])
    ada.order("undo")
    assert ada.until("refused")["do"] == "undo"


def test_where_nothing_is_written_down_nothing_can_be_undone(watched):
    overseer, agent = watched[0], watched[3]
    ada = page_of(watched, "ada")
    assert ada.until("desk")["recorded"] is False
    ada.order("each")
    agent.propose(0.75)
    ada.sees(1)
    ada.order("block", proposal=1, key="k1")
    assert agent.verdict().block is True
    ada.order("undo")
    assert ada.until("refused")["why"].startswith("nothing is written down here")
    Recorder(overseer)
    ada.order("slower")
    ada.until("desk", lambda desk: desk["recorded"])


def test_who_takes_over_acts_in_the_agents_place(watched):
    agent = watched[3]
    ada = page_of(watched, "ada")
    ada.order("take")
    ada.shows("taken over")
    agent.propose(0.75)
    ada.sees(1)
    ada.order("act", proposal=1, key="k", action=[-0.5])
    verdict = agent.verdict()
    assert (verdict.block, verdict.instead, verdict.credit) == (True, [-0.5], 0)


def test_actions_pass_only_in_view(watched):
    overseer, agent = watched[0], watched[3]
    ada = page_of(watched, "ada")
    ada.order("go")
    ada.shows("watching")
    agent.propose(0.1)
    ada.until("proposal")
    half_a_minute_on(overseer.desk)  # none of it with the page's word that it is in view
    assert next_look(overseer.desk) is None
    ada.say(rendered=1)
    assert agent.verdict().block is False


def test_a_lost_page_stops_the_agent_and_whoever_comes_back_goes_on(watched):
    overseer, agent = watched[0], watched[3]
    ada = page_of(watched, "ada")
    ada.order("go")
    ada.shows("watching")
    ada.socket.close()
    back = page_of(watched, "ada")
    back.shows("paused")
    agent.propose(0.1)
    back.sees(1)
    back.order("allow", proposal=9)
    assert back.until("refused")["why"].startswith("proposal 9 is not in view")  # as 1 is
    half_a_minute_on(overseer.desk)
    assert next_look(overseer.desk) is None
    back.order("go")
    assert agent.verdict().block is False


def test_a_page_that_was_silent_for_too_long_is_connected_again_when_it_sends(watched):
    overseer, agent = watched[0], watched[3]
    ada = page_of(watched, "ada")
    ada.order("go")
    ada.shows("watching")
    overseer.desk.pace = dataclasses.replace(overseer.desk.pace, heartbeat=0.05)
    agent.propose(0.1)
    ada.shows("disconnected")
    overseer.desk.pace = dataclasses.replace(overseer.desk.pace, heartbeat=60.0)
    ada.say()
    ada.shows("paused")
    ada.say(rendered=1)
    ada.order("go")
    assert agent.verdict().block is False


def test_two_people_at_once_both_see_and_either_blocks(watched):
    agent = watched[3]
    ada, bob = page_of(watched, "ada"), page_of(watched, "bob")
    ada.order("each")
    bob.shows("deciding")
    agent.propose(0.1)
    ada.sees(1)
    bob.sees(1)
    bob.order("block", proposal=1, key="b")
    assert agent.verdict().person == "bob"


def test_a_watcher_sees_and_may_not_order(watched):
    agent = watched[3]
    eve = page_of(watched, "eve")
    assert eve.until("hello")["judges"] is False
    agent.propose(0.1)
    eve.sees(1)
    eve.order("allow", proposal=1, key="e")
    assert eve.until("refused")["why"].startswith("this page may only watch")
    assert agent.verdicts.empty()


def test_what_cannot_be_done_is_refused_in_words(watched):
    ada = page_of(watched, "ada")
    ada.order("allow", proposal=9, key="k")
    assert ada.until("refused") == {
        "do": "allow",
        "key": "k",
        "why": "nothing is in view to be judged (allow): wait for the next proposal",
    }


@pytest.mark.parametrize(
    "message",
    [
        '{"order": {"do": 1}}',
        '{"rendered": -1}',
        '{"surprise": 1}',
        '{"order": {"do": "block", "key": "retract 5"}}',
        '{"order": {"do": "act", "action": [1e400]}}',
    ],
)
def test_what_is_not_understood_ends_the_connection(watched, message):
    ada = page_of(watched, "ada")
    ada.until("hello")
    ada.socket.send(message)
    assert ada.code() == UNKNOWN


@pytest.mark.parametrize("watched", [Limits(rendering_s=60.0)], indirect=True)
def test_a_slow_page_is_shown_the_latest_and_not_what_it_missed(watched):
    agent = watched[3]
    ada, eve = page_of(watched, "ada"), page_of(watched, "eve")
    ada.order("go")
    agent.propose(0.0)
    eve.until("proposal")
    ada.sees(1)
    for number in range(2, 8):
        agent.verdict()
        agent.propose(number / 10)
        ada.sees(number)
    agent.verdict()
    eve.say(rendered=1)
    assert eve.until("proposal")["number"] == 7


def test_what_comes_as_the_episode_ends_is_refused_in_words(watched):
    overseer, agent = watched[0], watched[3]
    ada = page_of(watched, "ada")
    ada.order("each")
    agent.propose(0.1)
    ada.sees(1)
    ada.order("allow", proposal=1, key="a")
    agent.verdict()
    ada.order("catastrophe", proposal=1, key="c")
    ada.order("slower")
    ada.until("desk", lambda desk: desk["rate"] == 1.0)  # so both were heard
    proposal = Proposal(np.array([0.25]), np.array([0.5]), step=0, episode=3)
    verdicts = []
    work = threading.Thread(target=lambda: verdicts.append(overseer.judge(proposal)), daemon=True)
    work.start()
    assert ada.until("refused")["why"].startswith("it came as the episode ended")
    work.join(PATIENCE)
    assert (verdicts[0].block, verdicts[0].person) == (True, "")


@pytest.mark.parametrize(("row", "forgotten"), [(41, ["k1"]), (7, [])])
def test_a_verdict_that_is_retracted_at_the_page_of_judgements_is_forgotten_by_the_run(watched, row, forgotten):
    overseer, people, _, agent, opened = watched
    recorder = Recorder(overseer)
    store = opened.enter_context(contextlib.closing(Store("sqlite://")))
    store.add_all([Judgement("block", "ada", {}, {"block": True}) for _ in range(41)])
    server = WatchServer(overseer, people, "a walk")
    add_judgements(server.app, lambda: store, people, server.retracted)
    pages = opened.enter_context(serving(server.app))
    ada = page_of(watched, "ada")
    ada.order("each")
    agent.propose(0.75)
    ada.sees(1)
    ada.order("block", proposal=1, key="k1")
    overseer.written(agent.verdict(), 41)
    ada.until("written")
    retract(pages, people.token_of("bob"), row)
    assert overseer.retractions() == forgotten
    ada.order("undo")
    if forgotten:
        assert ada.until("refused")["why"].startswith("there is nothing of yours")
    else:
        assert ada.until("undone") == {"id": 41} and recorder.rows == [(41, "ada")]
