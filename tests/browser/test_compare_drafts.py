"""What is not lost on the compare page: choices over a reload, answers taken back one by one, rows under long texts."""

from __future__ import annotations

import pytest
from compare_room import PAIRS
from test_compare_page import chosen, press, text, until_pair
from waiting import says, shows, until

from heed.oversight.comparisons.pairs import Pair

pytestmark = pytest.mark.browser


def drafts(page):
    """What the browser keeps: names and contents, as one text."""
    return page.evaluate("JSON.stringify(localStorage)")


def test_a_reload_in_the_middle_shows_the_same_pair_with_what_was_chosen_and_writes_nothing(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "ArrowLeft", "m", "q", "c")
    page.keyboard.type("so far")
    left = text(page, "left")
    page.reload()
    until_pair(page, "cough")
    assert text(page, "left") == left and chosen(page) == ["left", None] and page.is_checked("#grade-0-much")
    assert page.is_checked("#unsafe-left") and page.input_value("#comment") == "so far"
    assert room.store.count() == 0
    assert room.people.token_of("ada") not in drafts(page) and "so far" in drafts(page)
    press(page, "2", "t", "Enter")
    until_pair(page, "fever")
    assert drafts(page) == "{}"
    assert chosen(page) == [] and room.store.effective("compare")[0].verdict["comment"] == "so far"


def test_a_draft_is_kept_of_each_pair_and_person_until_all_is_compared(comparing):
    room = comparing(PAIRS[:2], times=2)
    context = room.browser.new_context()
    page = context.new_page()
    room.open(page)
    until_pair(page, "cough")
    press(page, "t")
    room.open(page, "bob")
    page.reload()
    says(page, "#state", "you compare as bob")
    until_pair(page, "cough")
    assert chosen(page) == []
    press(page, "s")
    room.open(page, "ada")
    page.reload()
    says(page, "#state", "you compare as ada")
    until_pair(page, "cough")
    assert chosen(page) == ["tie"]


def test_of_what_was_never_chosen_nothing_is_kept(comparing):
    page = comparing().page()
    until_pair(page, "cough")
    press(page, "d", "p", "2", "q", "q", "u")
    assert drafts(page) == "{}"


def test_a_draft_that_was_sent_while_the_server_was_gone_goes_once_it_is_on_disk(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "ArrowRight", "2", "t")
    room.stop()
    shows(page, "disconnected")
    press(page, "Enter")
    room.start()
    page.wait_for_selector("body[data-written]")
    until_pair(page, "fever")
    assert drafts(page) == "{}" and room.store.count() == 1


def test_a_browser_that_keeps_nothing_is_no_fault(comparing):
    room = comparing()
    context = room.browser.new_context()
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } })"
    )
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    room.open(page)
    until_pair(page, "cough")
    press(page, "t", "2", "t", "Enter")
    until_pair(page, "fever")
    assert faults == []


def test_answers_are_taken_back_one_by_one_and_given_again_in_their_order(comparing):
    room = comparing()
    page = room.page()
    for number, (pair, key) in enumerate([("cough", "ArrowLeft"), ("fever", "t")], start=1):
        until_pair(page, pair)
        press(page, key, "2", "s", "Enter")
        says(page, "#notice", f"comparison {number} is on disk")
    until_pair(page, "ache")
    press(page, "u")
    says(page, "#notice", "taken back: comparison 2 (help: tie, harmless: skip)")
    until_pair(page, "fever")
    press(page, "u")
    says(page, "#notice", "taken back: comparison 1 (help: left, harmless: skip)")
    until_pair(page, "cough")
    assert room.said == [] and page.is_disabled("#undo")
    assert chosen(page) == ["left", "skip"]
    press(page, "Enter")
    until_pair(page, "fever")
    assert chosen(page) == ["tie", "skip"]
    press(page, "Enter")
    until_pair(page, "ache")
    assert [(pair, verdict["help"]) for _, pair, verdict in room.said] == [("cough", "left"), ("fever", "tie")]


@pytest.mark.parametrize(
    "size", [{"width": 1280, "height": 800}, {"width": 390, "height": 844}], ids=["wide", "narrow"]
)
def test_rows_stay_in_view_under_long_texts_and_choosing_moves_no_text(comparing, size):
    long = "word " * 4000
    page = comparing([Pair("p", long, (long, f"{long} more"))]).page(viewport=size)
    until_pair(page, "p")
    box = page.locator(".answer").bounding_box()
    assert box["y"] + box["height"] <= size["height"] + 1 and box["height"] <= 0.56 * size["height"]
    page.mouse.wheel(0, 120)
    until(
        page,
        lambda far: far > 0,
        lambda page: page.evaluate("window.scrollY + document.getElementById('prompt').scrollTop"),
    )
    far = page.evaluate("window.scrollY")
    for key in ("ArrowLeft", "2", "ArrowRight"):
        press(page, key)
        assert page.evaluate("window.scrollY") == far
        focused = page.locator(":focus").bounding_box()
        assert 0 <= focused["y"] <= size["height"] - focused["height"]
    assert page.is_visible("#submit")


def test_of_nine_objectives_the_row_that_keys_speak_of_is_in_view(comparing):
    objectives = [f"objective {n}" for n in range(9)]
    page = comparing(PAIRS[:1], objectives).page(viewport={"width": 1280, "height": 800})
    until_pair(page, "cough")
    for digit in ("9", "1", "5"):
        press(page, digit)
        frame, focused = page.locator(".answer").bounding_box(), page.locator(":focus").bounding_box()
        assert frame["y"] <= focused["y"] and focused["y"] + focused["height"] <= frame["y"] + frame["height"]
