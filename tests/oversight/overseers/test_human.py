"""After the hand-over: what is seen of an agent that acts by itself, and how it is stopped."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest

from heed.errors import HeedError, Stopped
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Order, Pace, State
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import FRAMES, HumanOverseer

PATIENCE = 10.0


class Alone:
    """An agent that acts by itself before ada's page, with a clock that the test turns."""

    def __init__(self):
        self.now, self.over = 100.0, False
        self.desk = Desk(Pace(heartbeat=1e9, glance=0.0), clock=lambda: self.now)
        self.overseer = HumanOverseer(self.desk, stopping=lambda: self.over)
        self.overseer.connect("page", "ada", judges=True)
        self.overseer.order("page", Order("go"))
        self.overseer.go_alone()

    def order(self, do, **rest):
        self.overseer.order("page", Order(do, **rest))

    def waiting(self):
        """A thread in which the agent waits, as it is paused; it is over when the agent goes on."""
        waits = threading.Event()

        def wait():
            with contextlib.suppress(Stopped):  # at the test's end
                self.overseer.wait_while_paused()

        work = threading.Thread(target=wait, daemon=True)
        with self.overseer.notifying(waits.set):
            work.start()
            assert waits.wait(PATIENCE)
        assert work.is_alive()
        return work


@pytest.fixture
def alone():
    made = Alone()
    yield made
    made.over = True


def proposal(step):
    return Proposal(np.array([0.5]), np.array([0.1]), step=step)


def test_it_acts_on_as_long_as_nobody_pauses_it_also_where_nobody_presses_a_key(alone):
    alone.now += 1e6
    alone.overseer.wait_while_paused()
    assert alone.desk.state is State.WATCHING


def test_pause_stops_it_and_go_lets_it_on(alone):
    alone.order("pause")
    work = alone.waiting()
    alone.order("go")
    work.join(PATIENCE)
    assert not work.is_alive()


def test_one_step_is_one_step(alone):
    alone.order("pause")
    first = alone.waiting()
    alone.order("step")
    first.join(PATIENCE)
    assert not first.is_alive()  # it takes its step, and then
    second = alone.waiting()
    assert alone.desk.state is State.PAUSED
    alone.order("go")
    second.join(PATIENCE)
    assert not second.is_alive()


def test_a_page_that_comes_or_goes_does_not_stop_it_but_a_pause_outlives_its_page(alone):
    alone.overseer.disconnect("page")
    alone.overseer.wait_while_paused()
    alone.overseer.connect("page", "ada", judges=True)
    assert alone.desk.state is State.WATCHING  # what the page says is what the agent does
    alone.overseer.wait_while_paused()
    alone.order("pause")
    alone.overseer.disconnect("page")
    alone.waiting()
    alone.overseer.connect("page", "ada", judges=True)
    assert alone.desk.state is State.PAUSED


def test_who_stepped_or_acted_as_the_guard_took_over_finds_the_agent_waiting():
    for do in ("step", "take"):
        desk = Desk(Pace(heartbeat=1e9, glance=0.0), clock=lambda: 0.0)
        desk.connect("page", "ada")
        desk.order("page", Order("go"))
        desk.put(1)
        desk.rendered("page", 1)
        desk.order("page", Order(do))
        if do == "step":
            desk.order("page", Order("allow", proposal=1))
        else:
            desk.order("page", Order("act", proposal=1, action=[0.0]))
        assert desk.collect() is not None
        desk.go_alone()
        assert desk.state is State.PAUSED and desk.acting is None
        assert desk.halts(stepped=True)
        desk.order("page", Order("go"))
        assert not desk.halts(stepped=True)


def test_a_held_block_ends_as_the_guard_takes_over():
    desk = Desk(Pace(heartbeat=1e9, glance=0.0), clock=lambda: 0.0)
    desk.connect("page", "ada")
    desk.order("page", Order("go"))
    desk.order("page", Order("hold"))
    desk.go_alone()
    desk.put(1, asked=True)
    desk.rendered("page", 1)
    assert desk.pages.holding is None and desk.collect() is None


@pytest.mark.parametrize("there", [True, False])
def test_who_asks_where_nobody_looks_is_blocked_after_its_patience(alone, there):
    if not there:
        alone.overseer.disconnect("page")
    alone.desk.put(1, asked=True)
    assert alone.desk.due() == pytest.approx(alone.desk.pace.patience)
    alone.now += 9.9
    assert alone.desk.collect() is None
    alone.now += 0.2
    found = alone.desk.collect()
    assert (found.block, found.failed, found.person) == (True, True, "")


def test_a_run_that_is_to_stop_waits_no_longer(alone):
    alone.order("pause")
    alone.over = True
    with pytest.raises(Stopped):
        alone.overseer.wait_while_paused()


def test_what_it_does_is_shown_as_a_film_to_whoever_looks(alone):
    seen = []
    for step in range(100):
        alone.overseer.show(proposal(step))
        seen.append(alone.overseer.view.content["step"])
        alone.now += 0.25 / FRAMES
    assert seen == [step - step % 4 for step in range(100)]
    alone.overseer.disconnect("page")
    alone.now += 1.0
    alone.overseer.show(proposal(100))
    assert alone.overseer.view.content["step"] == 96


@pytest.mark.parametrize("do", ["block", "catastrophe", "take", "hold"])
def test_what_it_does_not_ask_cannot_be_judged(alone, do):
    alone.overseer.show(proposal(0))
    with pytest.raises(HeedError, match="the agent acts by itself now"):
        alone.order(do, proposal=1, key="k")


def test_a_block_of_what_it_asks_is_about_that_alone(alone):
    alone.desk.put(1, asked=True)
    alone.desk.rendered("page", 1)
    assert alone.desk.collect() is None
    alone.now += 0.1
    alone.order("allow", proposal=1, key="a")
    alone.desk.collect()
    alone.now += 0.1
    alone.desk.put(50, asked=True)
    alone.desk.rendered("page", 50)
    alone.desk.reactions["ada"] = 1.0
    alone.order("block", proposal=50, key="b")
    assert alone.desk.collect().credit == 0
