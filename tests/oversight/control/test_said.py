"""What a page says, in every state of the desk, is what happens next; and its buttons do no less than they say."""

from __future__ import annotations

import itertools

import pytest

from desk_room import LONG, PATIENCE, RATE, Room
from heed.errors import HeedError
from heed.oversight.control.records import Order, Pace
from heed.oversight.control.said import ALONE, BUSY_S, LEARNING, LEFT

MOVES = {"paused": "pause", "watching": "go", "deciding": "each", "taken over": "take"}


def rooms():
    """Every state in which a proposal can lie before ada, who has not judged it, and how it came to it."""
    no_and_yes = (False, True)
    for state, asked, alone, votes, seen in itertools.product(MOVES, no_and_yes, no_and_yes, (1, 2), no_and_yes):
        if alone and (state == "taken over" or not asked):
            continue  # nobody takes over from an agent that acts by itself, and it puts down what it asks about alone
        yield state, asked, alone, votes, seen


def room_in(state, asked, alone, votes, seen):
    room = Room(votes)
    if alone:
        room.human.go_alone()
    room.order("ada", MOVES[state])
    room.put(asked=asked, seen=seen)
    return room


@pytest.mark.parametrize("where", [*rooms()], ids=lambda where: "-".join(map(str, where)))
def test_the_sentence_says_what_time_does(where):
    state, asked, _, _, seen = where
    room = room_in(*where)
    said = room.said()
    if not seen:
        assert room.after(0.0) is None
        room.see()
    if state in ("paused", "taken over"):
        assert said.sentence.startswith(f"{state}: ") and LEFT not in said.sentence
        assert room.after(LONG) is None
        return
    left = room.human.status()["left_s"]
    if asked:
        assert LEFT in said.sentence and said.sentence.endswith("then it is blocked")
        assert said.calls and said.sentence.startswith("it asks you") and "asks you" in said.title
        assert left == PATIENCE
        assert room.after(PATIENCE - 0.1) is None
        assert room.after(0.2).block
        return
    assert left is None and LEFT not in said.sentence
    if state == "watching":
        assert "passes after 1/2 s in view" in said.sentence and not said.calls
        assert room.after(1 / RATE - 0.1) is None
        assert not room.after(0.2).block
    else:
        assert said.sentence.startswith("deciding: every action waits for you") and said.calls
        assert room.after(LONG) is None


def test_where_several_judge_whoever_has_judged_is_told_whom_it_waits_for():
    room = room_in("deciding", asked=False, alone=False, votes=2, seen=True)
    room.order("ada", "allow", proposal=1, key="k")
    mine, theirs = room.said("ada"), room.said("bob")
    assert mine.sentence == "your verdict stands: it waits for 1 more, from bob" and not mine.calls
    assert not mine.buttons["allow"][1] and mine.buttons["block"][1]  # which may still be changed to the safe side
    assert theirs.sentence == "deciding: every action waits for you; 2 people judge each: ada has" and theirs.calls
    assert room.after(LONG) is None
    room.order("bob", "allow", proposal=1, key="l")
    assert not room.after(0.0).block


def test_a_verdict_that_is_asked_of_two_stands_and_the_time_runs_on():
    room = room_in("watching", asked=True, alone=True, votes=2, seen=True)
    room.order("ada", "allow", proposal=1, key="k")
    assert room.said("ada").sentence == (
        f"it asks: your verdict stands, and it waits for bob; {LEFT} s left, then it is blocked"
    )
    assert room.said("eve", judges=False).sentence == f"it asks: {LEFT} s left, then it is blocked"
    assert room.after(PATIENCE + 0.1).block


@pytest.mark.parametrize("asked", [False, True])
def test_a_held_block_is_said_before_all_else(asked):
    room = room_in("watching", asked, alone=False, votes=1, seen=True)
    room.order("bob", "hold")
    assert room.said("ada").sentence == "everything is blocked: bob holds the block"
    assert room.said("bob").sentence == "everything is blocked: you hold the block"
    assert room.said("ada").buttons["hold"] == ("bob blocks everything", False)
    assert room.said("bob").buttons["hold"] == ("Let go: everything is blocked", True)
    assert room.after(0.0).block


def test_a_block_is_held_at_a_page_and_let_go_with_that_page_though_the_person_has_another():
    room = Room()
    room.order("ada", "go")
    room.order("ada", "hold")
    room.human.connect("ada's other", "ada", judges=True)
    with pytest.raises(HeedError, match="only who holds it can let go"):
        room.human.order("ada's other", Order("loose"))
    room.human.disconnect("ada's")
    assert room.human.status()["holding"] is None and room.said().buttons["hold"] == ("Hold to block", True)


def test_who_is_missing_is_waited_for_and_said():
    room = Room(votes=2, people=("ada",))
    room.order("ada", "go")
    room.put()
    assert room.said().sentence == "every action waits for one more person to come: 2 judge each"
    assert room.after(LONG) is None


def test_one_step_of_an_agent_that_acts_alone_ends_in_a_pause_that_holds():
    room = Room()
    room.human.go_alone()
    room.order("ada", "step")
    room.put(asked=True)
    room.order("ada", "allow", proposal=1, key="k")
    assert not room.after(0.0).block
    assert room.said().sentence == "paused: one step was taken: press Space to go on" and room.desk.halts(stepped=True)
    for name in ("ada", "bob"):
        room.human.disconnect(f"{name}'s")
    assert room.said("eve", judges=False).sentence == "nobody who may judge is here: the agent waits"


def test_nothing_in_view_is_said_after_a_while_and_what_acts_alone_says_so_at_once():
    room = room_in("watching", asked=False, alone=False, votes=1, seen=True)
    assert not room.after(1.0).block
    assert room.said().sentence.startswith("watching: ")
    room.now += BUSY_S + 0.1
    assert room.said().sentence.startswith("nothing is in view: ")
    alone = Room()
    alone.human.go_alone()
    alone.order("ada", "go")
    assert alone.said().sentence == ALONE and not alone.said().buttons["block"][1]


def test_a_page_without_anybody_who_judges_says_what_the_agent_does():
    room = room_in("watching", asked=False, alone=False, votes=1, seen=True)
    for name in ("ada", "bob"):
        room.human.disconnect(f"{name}'s")
    assert room.said("eve", judges=False).sentence == "nobody who may judge is here: the agent waits"
    assert room.after(LONG) is None
    room.human.go_alone()
    assert room.said("eve", judges=False).sentence == "nobody who may judge is here: the agent goes on by itself"


@pytest.mark.parametrize("where", [*rooms()], ids=lambda where: "-".join(map(str, where)))
def test_what_ended_says_so_for_good_and_asks_nothing(where):
    room = room_in(*where)
    room.human.end("the run is over: 3 goals")
    room.human.end("it has stopped")
    said = room.said()
    assert (said.sentence, said.title, said.calls) == ("the run is over: 3 goals", "over – heed", False)
    assert not any(can for _, can in said.buttons.values())


@pytest.mark.parametrize("where", [*rooms()], ids=lambda where: "-".join(map(str, where)))
def test_every_button_that_can_be_pressed_is_obeyed_and_who_only_watches_has_none(where):
    assert not any(can for _, can in room_in(*where).said("eve", judges=False).buttons.values())
    for name, (_, can) in room_in(*where).said().buttons.items():
        room = room_in(*where)
        if not can or name == "undo":  # which is the store's to grant
            continue
        if not where[-1]:
            room.see()  # the page lets nobody judge what it has not rendered
        try:
            room.order("ada", name, proposal=1, key="k", action=[0.3] if name == "react" else None)
        except HeedError as refusal:
            pytest.fail(f"{name}: {refusal}")


def test_while_it_learns_nothing_is_asked_and_no_verdict_can_be_given():
    room, learns = Room(), [True]
    room.human.bind(None, learning=lambda: learns[0])
    room.order("ada", "each")
    said = room.said()
    assert said.sentence == LEARNING and not said.calls
    assert not said.buttons["block"][1] and not said.buttons["allow"][1] and said.buttons["go"][1]
    room.put()  # a fit beside the run: what is in view is judged as ever
    assert room.said().sentence.startswith("deciding") and room.said().buttons["block"][1]


def test_who_may_judge_is_briefed_until_something_is_let_go():
    room = Room()
    room.human.bind(None, task="a boat; rocks are catastrophes")
    told = room.said().briefing
    assert told[0] == "An agent learns here, and you are its overseer. A boat; rocks are catastrophes."
    assert "after 1/2 s in view" in told[2] and "Space" in told[3]
    assert room.said().buttons["go"][0] == "Begin" and room.said("eve", judges=False).briefing == ()
    room.order("ada", "go")
    room.order("ada", "pause")
    assert room.said().briefing == () and room.said().buttons["go"][0] == "Go on"


def test_a_pace_that_nobody_keeps_up_with_is_said_so():
    room = Room()
    room.desk.pace = Pace(rates=(10.0, 20.0), rate=0, heartbeat=LONG)
    room.order("ada", "go")
    room.put()
    assert "nobody can judge" not in room.said().sentence
    room.order("ada", "faster")
    assert room.said().sentence.endswith("nobody can judge each of so many")
