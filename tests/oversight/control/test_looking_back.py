"""A page that shows the past: nothing is in view on it, nothing is judged there, and what it says is what happens."""

import pytest

from desk_room import LONG, PATIENCE, RATE, Room
from heed.errors import HeedError
from heed.oversight.control.records import JUDGING
from heed.oversight.control.said import LEFT


def back(room, name="ada"):
    room.human.look(f"{name}'s", True)


def present(room, name="ada", number=1):
    room.human.look(f"{name}'s", False)
    room.human.rendered(f"{name}'s", number)


def test_what_was_in_view_passes_no_more_while_the_past_is_shown_and_is_in_view_from_the_return_on():
    room = Room(people=("ada",))
    room.order("ada", "go")
    room.put()
    assert room.after(0.4 / RATE) is None
    back(room)
    assert room.said().sentence == "you look at the past: what is proposed waits until you are back"
    assert room.after(LONG) is None
    present(room)
    assert room.said().sentence.startswith("watching")
    assert room.after(0.9 / RATE) is None
    verdict = room.after(0.1 / RATE)
    assert (verdict.block, verdict.silent, verdict.latency_ms) == (False, True, pytest.approx(1e3 / RATE))


def test_what_comes_meanwhile_is_not_in_view_though_the_page_says_that_it_rendered_it():
    room = Room(people=("ada",))
    room.order("ada", "go")
    back(room)
    room.put()
    assert room.after(LONG) is None


def test_others_see_on_and_what_is_proposed_is_left_to_them():
    room = Room()
    room.order("ada", "go")
    room.put()
    back(room)
    assert room.said("ada").sentence == "you look at the past: what is proposed is left to bob"
    assert room.said("bob").sentence.startswith("watching: an action passes")
    verdict = room.after(1 / RATE)
    assert (verdict.person, verdict.silent) == ("bob", True)


@pytest.mark.parametrize("alone", [False, True])
def test_who_is_asked_and_looks_at_the_past_blocks_by_silence_when_the_page_says_so(alone):
    room = Room(people=("ada",))
    room.order("ada", "go")
    if alone:
        room.human.go_alone()
    room.put(asked=True)
    assert room.after(0.25 * PATIENCE) is None
    back(room)
    assert room.human.status()["left_s"] == pytest.approx(0.75 * PATIENCE)
    assert f"{LEFT} s left, then it is blocked" in room.said().sentence and room.said().calls
    assert room.after(0.7 * PATIENCE) is None
    verdict = room.after(0.05 * PATIENCE)
    assert verdict.block and verdict.failed and not verdict.person


@pytest.mark.parametrize("do", JUDGING)
def test_no_page_that_shows_the_past_judges(do):
    room = Room(people=("ada",))
    room.order("ada", "take" if do == "act" else "each")
    room.put()
    back(room)
    with pytest.raises(HeedError, match="this page shows the past"):
        room.order("ada", do, proposal=1, key="k")
    assert room.after(0.0) is None
    present(room)
    room.order("ada", do, proposal=1, key="k", **({"action": [0.0]} if do == "act" else {}))


def test_a_held_block_ends_with_the_present():
    room = Room(people=("ada",))
    room.order("ada", "go")
    room.order("ada", "hold")
    room.put()
    back(room)
    assert room.desk.pages.holding is None and room.after(LONG) is None


def test_a_block_after_the_return_is_about_nothing_that_others_saw_meanwhile():
    room = Room()
    room.order("ada", "go")
    room.order("ada", "react", action=[2.0])  # so slow that all of it would be meant
    room.put(1)
    back(room)
    for number in (1, 2, 3):
        if number > 1:
            room.put(number, seen=False)
            room.human.rendered("bob's", number)
        assert room.after(1 / RATE).person == "bob"
    room.put(4, seen=False)
    present(room, number=4)
    room.now += 0.3
    room.order("ada", "block", proposal=4, key="k")
    verdict = room.desk.collect()
    assert (verdict.person, verdict.credit) == ("ada", 0)


def test_a_step_says_that_it_is_one_and_after_it_that_it_was_taken():
    room = Room(people=("ada",))
    room.put()
    room.order("ada", "step")
    told = "one step: it is taken after 1/2 s in view, unless it is blocked; then the agent waits"
    assert room.said().sentence == told
    assert not room.after(1 / RATE).block
    assert room.said().sentence == "paused: one step was taken: press Space to go on"


def test_where_two_must_judge_one_who_looks_on_is_not_enough():
    room = Room(votes=2)
    room.order("ada", "go")
    room.put()
    back(room, "ada")
    assert room.said("ada").sentence == "you look at the past: what is proposed waits until you are back"
    room.human.rendered("bob's", 1)
    assert room.after(LONG) is None
    present(room, "ada")
    assert room.after(1 / RATE) is not None


def test_who_has_judged_and_looks_back_is_told_whom_it_waits_for():
    room = Room(votes=2)
    room.order("ada", "each")
    room.put()
    room.order("ada", "allow", proposal=1, key="k" * 16)
    back(room, "ada")
    assert room.said("ada").sentence == "your verdict stands: it waits for 1 more, from bob"
