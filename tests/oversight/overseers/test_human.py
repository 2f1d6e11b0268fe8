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
from heed.oversight.overseers.human import GLANCES, HumanOverseer

PATIENCE = 10.0


class Alone:
    """An agent that acts by itself before ada's page, with a clock that the test turns."""

    def __init__(self):
        self.now, self.over = 100.0, False
        self.desk = Desk(Pace(heartbeat=1e9), clock=lambda: self.now)
        self.overseer = HumanOverseer(self.desk, stopping=lambda: self.over)
        self.overseer.connect("page", "ada", judges=True)
        self.overseer.order("page", Order("go"))
        self.overseer.alone()

    def order(self, do, **rest):
        self.overseer.order("page", Order(do, **rest))

    def resting(self):
        """A thread in which the agent rests, if it does; it is over when the agent goes on."""

        def rest():
            with contextlib.suppress(Stopped):  # at the test's end
                self.overseer.rest()

        work = threading.Thread(target=rest, daemon=True)
        work.start()
        return work


@pytest.fixture
def alone():
    made = Alone()
    yield made
    made.over = True


def moment(step):
    return Proposal(np.array([0.5]), np.array([0.1]), step=step)


def test_it_acts_on_as_long_as_nobody_pauses_it_also_where_nobody_presses_a_key(alone):
    alone.now += 1e6
    alone.overseer.rest()
    assert alone.desk.state is State.WATCHING


def test_pause_stops_it_and_go_lets_it_on(alone):
    alone.order("pause")
    work = alone.resting()
    work.join(0.3)
    assert work.is_alive()
    alone.order("go")
    work.join(PATIENCE)
    assert not work.is_alive()


def test_one_step_is_one_step(alone):
    alone.order("pause")
    first = alone.resting()
    alone.order("step")
    first.join(PATIENCE)
    assert not first.is_alive()  # it takes its step, and then
    second = alone.resting()
    second.join(0.3)
    assert second.is_alive() and alone.desk.state is State.PAUSED
    alone.order("go")
    second.join(PATIENCE)


def test_a_page_that_comes_or_goes_does_not_stop_it_but_a_pause_outlives_its_page(alone):
    alone.overseer.gone("page")
    alone.overseer.rest()
    alone.overseer.connect("page", "ada", judges=True)
    assert alone.desk.state is State.WATCHING  # what the page says is what the agent does
    alone.overseer.rest()
    alone.order("pause")
    alone.overseer.gone("page")
    work = alone.resting()
    work.join(0.3)
    assert work.is_alive()
    alone.overseer.connect("page", "ada", judges=True)
    assert alone.desk.state is State.PAUSED


def test_who_stepped_or_acted_as_the_guard_took_over_finds_the_agent_waiting():
    for do in ("step", "take"):
        desk = Desk(Pace(heartbeat=1e9), clock=lambda: 0.0)
        desk.connect("page", "ada")
        desk.order("page", Order("go"))
        desk.put(1)
        desk.drawn("page", 1)
        desk.order("page", Order(do))
        if do == "step":
            desk.order("page", Order("allow", moment=1))
        else:
            desk.order("page", Order("act", moment=1, action=[0.0]))
        assert desk.answer() is not None
        desk.go_alone()
        assert desk.state is State.PAUSED and desk.acting is None
        assert desk.rests(stepped=True)
        desk.order("page", Order("go"))
        assert not desk.rests(stepped=True)


def test_a_held_block_ends_as_the_guard_takes_over():
    desk = Desk(Pace(heartbeat=1e9), clock=lambda: 0.0)
    desk.connect("page", "ada")
    desk.order("page", Order("go"))
    desk.order("page", Order("hold"))
    desk.go_alone()
    desk.put(1, asked=True)
    desk.drawn("page", 1)
    assert desk.holding is None and desk.answer() is None


@pytest.mark.parametrize("there", [True, False])
def test_who_asks_where_nobody_looks_is_blocked_after_its_patience(alone, there):
    if not there:
        alone.overseer.gone("page")
    alone.desk.put(1, asked=True)
    assert alone.desk.due() == pytest.approx(alone.desk.pace.patience)
    alone.now += 9.9
    assert alone.desk.answer() is None
    alone.now += 0.2
    found = alone.desk.answer()
    assert (found.block, found.person) == (True, "")


def test_a_run_that_is_to_stop_rests_no_longer(alone):
    alone.order("pause")
    alone.over = True
    with pytest.raises(Stopped):
        alone.overseer.rest()


def test_what_it_does_is_shown_as_a_film_to_whoever_looks(alone):
    seen = []
    for step in range(100):
        alone.overseer.glance(moment(step))
        seen.append(alone.overseer.view.told["step"])
        alone.now += 0.25 / GLANCES
    assert seen == [step - step % 4 for step in range(100)]
    alone.overseer.gone("page")
    alone.now += 1.0
    alone.overseer.glance(moment(100))
    assert alone.overseer.view.told["step"] == 96


@pytest.mark.parametrize("do", ["block", "catastrophe", "take", "hold"])
def test_what_it_does_not_ask_cannot_be_judged(alone, do):
    alone.overseer.glance(moment(0))
    with pytest.raises(HeedError, match="the agent acts by itself now"):
        alone.order(do, moment=1, key="k")


def test_a_block_of_what_it_asks_is_about_that_alone(alone):
    alone.desk.put(1, asked=True)
    alone.desk.drawn("page", 1)
    assert alone.desk.answer() is None
    alone.now += 0.1
    alone.order("allow", moment=1, key="a")
    alone.desk.answer()
    alone.now += 0.1
    alone.desk.put(50, asked=True)
    alone.desk.drawn("page", 50)
    alone.desk.reactions["ada"] = 1.0
    alone.order("block", moment=50, key="b")
    assert alone.desk.answer().since == 50
