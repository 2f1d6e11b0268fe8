"""The desk by its table: every state, what passes in it, what blocks, and what stops it."""

from __future__ import annotations

import math

import pytest

from heed.errors import HeedError
from heed.oversight.control.desk import ORDERS, Desk
from heed.oversight.control.records import Order, Pace, State


class Watched:
    """A desk with a clock that the test turns, and one page of ada's before it."""

    def __init__(self, **pace):
        self.now = 100.0
        self.desk = Desk(Pace(**{"rates": (1.0, 10.0), "rate": 1, "glance": 0.0, **pace}), clock=lambda: self.now)
        self.desk.connect("ada's page", "ada")

    def order(self, do, page="ada's page", **rest):
        self.desk.order(page, Order(do, **rest))

    def show(self, number, asked=False):
        self.desk.put(number, asked)
        self.desk.rendered("ada's page", number)

    def after(self, seconds):
        """The answer so many seconds on; pages that beat in the meantime stay."""
        self.now += seconds
        for page in ("ada's page", "bob's page"):
            self.desk.heartbeat(page)
        return self.desk.collect()


@pytest.fixture
def watched():
    return Watched()


def test_a_fresh_desk_lets_nothing_pass_before_somebody_says_go(watched):
    assert watched.desk.state is State.PAUSED
    watched.show(1)
    assert watched.after(50.0) is None
    watched.order("go")
    found = watched.desk.collect()  # it has been in view for long
    assert (found.block, found.person) == (False, "ada")


def test_a_proposal_that_no_page_has_rendered_never_passes(watched):
    watched.order("go")
    watched.desk.put(1)
    assert watched.after(50.0) is None
    watched.desk.rendered("ada's page", 2)  # another's number
    assert watched.after(50.0) is None
    watched.desk.rendered("ada's page", 1)
    assert watched.after(0.09) is None
    assert watched.after(0.02).block is False


def test_what_a_watcher_has_rendered_is_unseen():
    watched = Watched()
    watched.desk.connect("eve's page", "eve", judges=False)
    watched.order("go")
    watched.desk.put(1)
    watched.desk.rendered("eve's page", 1)
    assert watched.after(50.0) is None


def test_a_block_in_view_blocks_and_has_its_key_and_latency(watched):
    watched.order("go")
    watched.show(1)
    watched.now += 0.05
    watched.order("block", proposal=1, key="k1")
    found = watched.desk.collect()
    assert (found.block, found.person, found.key, found.credit) == (True, "ada", "k1", 0)
    assert found.latency_ms == pytest.approx(50.0)
    assert watched.desk.collect() is None  # the desk is empty


def test_a_block_pressed_for_the_one_before_is_about_both(watched):
    watched.order("go")
    for number in (1, 2):
        watched.show(number)
        assert watched.after(0.125).block is False
    watched.show(3)
    watched.order("block", proposal=2, key="late")
    assert watched.desk.collect().credit == 1


def test_a_block_is_credited_to_what_was_in_view_a_reaction_ago():
    watched = Watched(reaction=0.25)
    watched.order("go")
    for number in (1, 2, 3, 4):
        watched.show(number)
        assert watched.after(0.125).block is False
    watched.show(5)
    watched.now += 0.04  # proposal 3 came into view .29 s ago, proposal 4 .165 s ago
    watched.order("block", proposal=5, key="k")
    assert watched.desk.collect().credit == 2


def test_a_measured_reaction_takes_the_place_of_the_one_assumed():
    watched = Watched(reaction=0.25)
    watched.order("react", action=[0.4])
    watched.order("go")
    for number in (1, 2, 3, 4):
        watched.show(number)
        assert watched.after(0.125).block is False
    watched.show(5)
    watched.now += 0.04
    watched.order("block", proposal=5)
    assert watched.desk.collect().credit == 3


def test_no_block_comes_too_late(watched):
    watched.order("go")
    watched.show(1)
    assert watched.after(0.125).block is False
    watched.order("block", proposal=1, key="between")  # nothing lies on the desk
    watched.desk.put(2)
    found = watched.desk.collect()
    assert (found.block, found.key, found.credit) == (True, "between", 1)
    watched.desk.put(3)
    watched.order("block", proposal=1, key="unseen")  # before any page has rendered it
    assert watched.desk.collect().block is True
    watched.show(4)
    assert watched.after(0.125).block is False


def test_a_second_block_of_what_is_blocked_is_refused_and_does_not_fall_on_the_next(watched):
    watched.desk.connect("bob's page", "bob")
    watched.order("go")
    watched.show(1)
    watched.order("block", page="bob's page", proposal=1, key="bob's")
    with pytest.raises(HeedError, match="it is blocked already, by bob"):
        watched.order("block", proposal=1, key="ada's")
    assert watched.desk.collect().key == "bob's"
    with pytest.raises(HeedError, match="it is blocked already, by bob"):
        watched.order("block", proposal=1, key="ada's")
    watched.show(2)
    assert watched.after(0.125).block is False


def test_a_block_for_the_last_episode_says_nothing_of_the_next(watched):
    watched.order("go")
    watched.show(1)
    assert watched.after(0.125).block is False
    watched.order("block", proposal=1, key="late")
    watched.desk.put(2, begins=True)
    found = watched.desk.collect()
    assert (found.block, found.failed, found.person, found.key) == (True, True, "", "")


def test_a_late_block_reaches_back_no_further_than_anybody_reacts(watched):
    watched.order("go")
    for number in range(1, 40):
        watched.show(number)
        assert watched.after(0.125).block is False
    watched.show(40)
    watched.order("block", proposal=1, key="after a lost connection")
    assert watched.desk.collect().credit == 40 - 24  # which was in view 2 s ago


def test_paused_is_paused_whatever_was_ordered(watched):
    watched.order("go")
    watched.show(1)
    watched.order("allow", proposal=1, key="a")
    watched.order("pause")
    assert watched.after(9.0) is None
    watched.order("go")
    assert watched.desk.collect().key == "a"


def test_what_only_a_page_that_is_gone_has_rendered_is_unseen(watched):
    watched.desk.connect("bob's page", "bob")
    watched.show(1)
    watched.desk.disconnect("ada's page")
    watched.order("go", page="bob's page")
    assert watched.after(9.0) is None
    watched.desk.rendered("bob's page", 1)
    assert watched.after(0.125).person == "bob"


def test_silence_is_of_whoever_saw_it_first(watched):
    watched.desk.connect("bob's page", "bob")
    watched.order("go")
    watched.desk.put(1)
    watched.desk.rendered("bob's page", 1)
    found = watched.after(0.125)
    assert (found.person, found.silent) == ("bob", True)


def test_who_takes_over_and_leaves_it_alone_is_paused():
    watched = Watched(idle=30.0)
    watched.order("take")
    for number in range(1, 40):
        watched.show(number)
        watched.order("act", proposal=number, action=[0.0, 0.0])  # as the page goes on doing by itself
        found = watched.after(1.0)
        if found is None:
            break
        assert found.acted
    assert (number, watched.desk.state) == (31, State.PAUSED)


def test_a_catastrophe_that_a_person_sees_blocks_and_is_reported(watched):
    watched.order("go")
    watched.show(1)
    watched.order("catastrophe", proposal=1, key="c")
    found = watched.desk.collect()
    assert (found.block, found.catastrophe, found.key) == (True, True, "c")


def test_where_each_waits_a_block_is_about_that_one_alone():
    watched = Watched(reaction=0.25)
    watched.order("each")
    assert watched.desk.state is State.DECIDING
    watched.show(1)
    assert watched.after(1000.0) is None  # no patience ends it: nobody was asked by the agent
    watched.order("allow", proposal=1, key="a")
    assert watched.desk.collect().block is False
    watched.show(2)
    watched.order("block", proposal=2, key="b")
    assert watched.desk.collect().credit == 0


def test_an_agent_that_asks_waits_and_silence_blocks_without_a_verdict():
    watched = Watched(patience=3.0)
    watched.order("go")
    watched.show(1, asked=True)
    assert watched.after(2.9) is None
    late = watched.after(0.2)
    assert (late.block, late.failed, late.person, late.key) == (True, True, "", "")
    watched.show(2, asked=True)
    watched.order("allow", proposal=2, key="k")
    assert watched.desk.collect().block is False


def test_one_step_passes_and_the_desk_pauses_again(watched):
    watched.order("step")
    watched.show(1)
    assert watched.after(0.125).block is False
    assert watched.desk.state is State.PAUSED
    watched.show(2)
    assert watched.after(9.0) is None


def test_a_held_block_blocks_everything_until_it_is_let_go(watched):
    watched.order("go")
    watched.order("hold")
    for number in (1, 2):
        watched.show(number)
        assert watched.desk.collect().block is True
    watched.order("loose")
    watched.show(3)
    assert watched.after(0.125).block is False


def test_who_holds_and_goes_lets_go():
    watched = Watched()
    watched.desk.connect("bob's page", "bob")
    watched.order("go")
    watched.order("hold", page="bob's page")
    for do in ("loose", "hold"):  # what bob holds is bob's
        with pytest.raises(HeedError, match="bob holds the block"):
            watched.order(do)
    assert watched.desk.pages.holding == "bob"
    watched.desk.disconnect("bob's page")
    assert watched.desk.pages.holding is None
    assert watched.desk.state is State.WATCHING


def test_taking_over_acts_in_the_agents_place_until_it_is_given_back(watched):
    watched.order("take")
    watched.show(1)
    assert watched.after(5.0) is None  # nothing passes by itself
    watched.order("act", proposal=1, key="k", action=[0.5, 0.0])
    found = watched.desk.collect()
    assert (found.block, found.instead, found.person) == (True, [0.5, 0.0], "ada")
    assert (found.acted, found.silent, found.shows) == (True, False, True)
    watched.show(2)
    watched.order("act", proposal=2, key="l", action=[0.0, 0.0], silent=True)  # no key is down: it shows nothing
    idle = watched.desk.collect()
    assert (idle.acted, idle.instead, idle.silent, idle.shows) == (True, [0.0, 0.0], True, False)
    watched.order("go")
    watched.show(3)
    with pytest.raises(HeedError, match="take over first"):
        watched.order("act", proposal=3, action=[0.0, 0.0])
    assert watched.after(0.125).block is False


def test_who_acts_and_goes_leaves_the_desk_paused(watched):
    watched.desk.connect("bob's page", "bob")
    watched.order("take", page="bob's page")
    with pytest.raises(HeedError, match="take over first"):
        watched.order("act", action=[0.0])
    watched.desk.disconnect("bob's page")
    assert (watched.desk.state, watched.desk.why) == (State.PAUSED, "bob, who acted, is gone")


def test_slower_and_faster_stop_at_the_ends(watched):
    watched.order("faster")
    assert watched.desk.rate == 1
    watched.order("slower")
    watched.order("slower")
    watched.order("go")
    watched.show(1)
    assert watched.after(0.9) is None
    assert watched.after(0.2).block is False


def test_a_silent_page_is_gone_and_the_next_one_finds_the_desk_paused(watched):
    watched.order("go")
    watched.show(1)
    watched.now += 2.1
    assert watched.desk.collect() is None
    assert (watched.desk.state, watched.desk.why) == (State.DISCONNECTED, "nobody is watching")
    watched.desk.connect("ada's page", "ada")
    assert watched.desk.state is State.PAUSED
    assert watched.after(9.0) is None


def test_one_page_of_two_may_go(watched):
    watched.desk.connect("bob's page", "bob")
    watched.order("go")
    watched.desk.disconnect("ada's page")
    watched.desk.put(1)
    watched.desk.rendered("bob's page", 1)
    assert watched.after(0.125).person == "bob"


def test_people_who_press_nothing_for_long_pause_it():
    watched = Watched(idle=30.0)
    watched.order("go")
    watched.now += 29.0
    watched.show(1)
    assert watched.after(0.5).block is False
    watched.show(2)
    assert watched.after(1.0) is None
    assert (watched.desk.state, watched.desk.why) == (State.PAUSED, "nobody pressed a key for 30 s")


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        (Order("dance"), "is no order"),
        (Order("allow", proposal=1), "proposal 1 is not in view"),
        (Order("allow", proposal=3), "proposal 3 is not in view"),
        (Order("act", proposal=2, action=[0.0]), "take over first"),
        (Order("react", action=[-0.2]), "a reaction time of -0.2 s"),
        (Order("react", action=3), "a reaction time of None s"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words_and_changes_nothing(watched, order, wrong):
    watched.order("go")
    watched.show(1)
    assert watched.after(0.125).block is False
    watched.show(2)
    with pytest.raises(HeedError, match=wrong):
        watched.desk.order("ada's page", order)
    assert watched.after(0.125).block is False


def test_a_second_verdict_on_one_proposal_is_refused(watched):
    watched.order("go")
    watched.show(1)
    watched.order("block", proposal=1, key="a")
    with pytest.raises(HeedError, match="nothing is in view"):
        watched.order("allow", proposal=1, key="b")
    assert watched.desk.collect().key == "a"


@pytest.mark.parametrize("do", ORDERS)
def test_a_watcher_and_a_stranger_may_order_nothing(watched, do):
    watched.desk.connect("eve's page", "eve", judges=False)
    for page in ("eve's page", "nobody's page"):
        with pytest.raises(HeedError, match="may only watch"):
            watched.desk.order(page, Order(do, proposal=1))


def test_due_is_when_time_itself_may_change_something(watched):
    watched.order("go")
    assert watched.desk.due() == pytest.approx(2.0)  # the page's heartbeat
    watched.show(1)
    assert watched.desk.due() == pytest.approx(0.1)
    watched.desk.disconnect("ada's page")
    assert watched.desk.collect() is None
    watched.now += 100.0
    assert watched.desk.due() == math.inf


def test_a_key_that_is_faster_than_anybody_blocks_and_is_about_what_was_in_view_before():
    watched = Watched(glance=0.1, rates=(4.0,), rate=0)
    watched.order("go")
    watched.show(1)
    assert watched.after(0.25).block is False
    watched.show(2)
    watched.now += 0.04
    watched.order("block", proposal=2, key="k")
    found = watched.desk.collect()
    assert (found.block, found.glimpsed, found.is_label, found.credit) == (True, True, False, 1)
    watched.show(3)
    watched.now += 0.11
    watched.order("block", proposal=3, key="l")
    found = watched.desk.collect()
    assert (found.glimpsed, found.is_label, found.credit) == (False, True, 0)
    assert found.latency_ms == pytest.approx(110.0)


def test_where_each_waits_a_key_that_is_too_fast_blocks_alone_and_lets_nothing_pass():
    watched = Watched(glance=0.1)
    watched.order("each")
    watched.show(1)
    watched.now += 0.09
    with pytest.raises(HeedError, match=r"in view for 90 ms \(allow\): look at it first"):
        watched.order("allow", proposal=1, key="a")
    assert watched.desk.collect() is None
    watched.order("block", proposal=1, key="b")
    found = watched.desk.collect()
    assert (found.block, found.glimpsed, found.credit) == (True, True, 0)


def test_what_nobody_has_rendered_or_only_somebody_else_says_nothing():
    watched = Watched(glance=0.1)
    watched.desk.connect("bob's page", "bob")
    watched.order("each")
    watched.desk.put(1)
    watched.desk.rendered("bob's page", 1)
    watched.now += 1.0
    with pytest.raises(HeedError, match="nothing is in view"):
        watched.order("allow", proposal=1, key="a")
    watched.order("block", proposal=1, key="b")
    found = watched.desk.collect()
    assert (found.person, found.glimpsed, found.latency_ms) == ("ada", True, 0.0)


def test_a_block_between_two_actions_says_nothing_of_the_second(watched):
    watched.order("go")
    watched.show(1)
    assert watched.after(0.125).block is False
    watched.order("block", proposal=1, key="between", reason="too fast")
    watched.desk.put(2)
    found = watched.desk.collect()
    assert (found.block, found.glimpsed, found.credit, found.reason) == (True, True, 1, "too fast")


def test_what_a_held_block_blocks_was_in_view_first():
    watched = Watched(glance=0.1)
    watched.order("go")
    watched.order("hold")
    watched.show(1)
    assert watched.after(0.09) is None
    assert watched.desk.due() == pytest.approx(0.01)
    found = watched.after(0.02)
    assert (found.block, found.is_label) == (True, True) and found.latency_ms == pytest.approx(110.0)


def test_of_two_blocks_the_one_that_was_seen_is_learnt_from():
    watched = Watched(glance=0.1)
    watched.desk.votes = 2
    watched.desk.connect("bob's page", "bob")
    watched.order("each")
    watched.show(1)
    watched.order("block", proposal=1, key="fast")
    watched.desk.rendered("bob's page", 1)
    watched.now += 0.2
    watched.order("block", page="bob's page", proposal=1, key="seen")
    found = watched.desk.collect()
    assert (found.key, found.is_label) == ("seen", True) and [each.key for each in found.others] == ["fast"]


def test_an_agent_that_acts_alone_and_was_paused_goes_on_with_nothing_when_everybody_leaves():
    watched = Watched(patience=3.0)
    watched.desk.go_alone()
    watched.order("go")
    watched.show(1, asked=True)
    watched.order("block", proposal=1, key="k")
    watched.order("pause")
    watched.desk.disconnect("ada's page")
    assert watched.desk.state is State.DISCONNECTED and watched.after(50.0) is None  # as its page said: it waits
    watched.desk.connect("ada's page", "ada")
    watched.order("go")
    assert watched.desk.collect().key == "k"
