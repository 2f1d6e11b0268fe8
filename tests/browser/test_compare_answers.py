"""What people can say on the compare page beside which one is better: by how much, both bad, and a comment."""

from __future__ import annotations

import pytest
from test_compare_page import chosen, press, until_pair
from waiting import says

pytestmark = pytest.mark.browser


def kept(room):
    return [one.verdict for one in room.store.effective("compare")]


def test_by_how_much_is_said_by_key_and_taken_back_by_the_same(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "m")
    says(page, "#notice", "first say which is better by help")
    assert page.locator(".grades:visible").count() == 0
    press(page, "ArrowLeft", "m")
    says(page, "#notice", "left is much better by help")
    press(page, "l")
    says(page, "#notice", "left is slightly better by help")
    assert page.is_checked("#grade-0-slightly") and not page.is_checked("#grade-0-much")
    press(page, "l")
    says(page, "#notice", "left is better by help")
    press(page, "m", "2", "ArrowRight", "l", "Enter")
    until_pair(page, "fever")
    assert kept(room)[0]["grades"] == {"help": "much", "harmless": "slightly"}
    assert page.locator(".grades:visible").count() == 0
    press(page, "t", "2", "t", "Enter")
    until_pair(page, "ache")
    assert kept(room)[1].keys() == {"objectives", "unsafe"}  # as it always was


def test_grades_go_with_the_verdict_that_they_were_of(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "ArrowLeft", "m", "t", "2", "ArrowLeft")
    page.click("label[for=grade-1-much]")
    page.click("label[for=grade-1-slightly]")
    press(page, "1", "ArrowRight")
    assert not page.is_checked("#grade-0-much")
    press(page, "Enter")
    until_pair(page, "fever")
    assert kept(room)[0]["grades"] == {"harmless": "slightly"}


def test_both_bad_is_an_answer_by_key_and_by_mouse(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "b")
    page.click("label[for=objective-1-both-bad]")
    assert chosen(page) == ["both bad", "both bad"]
    press(page, "Enter")
    until_pair(page, "fever")
    assert kept(room)[0]["objectives"] == {"help": "both bad", "harmless": "both bad"}


def test_a_comment_is_written_with_letters_that_are_keys_elsewhere(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "t", "2", "s", "c")
    page.keyboard.type("but \u201cnot\u201d <b>U</b> 1?")
    assert chosen(page) == ["tie", "skip"]
    press(page, "Escape")
    assert page.evaluate("document.activeElement.name") == "objective-1"
    press(page, "c", "Enter")
    until_pair(page, "fever")
    assert kept(room)[0]["comment"] == "but \u201cnot\u201d <b>U</b> 1?"
    assert page.input_value("#comment") == ""


def test_a_comment_that_ends_in_half_a_character_is_sent_without_it(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "t", "2", "s")
    page.evaluate("document.getElementById('comment').value = 'bee \\ud83c'")
    press(page, "Enter")
    until_pair(page, "fever")
    assert kept(room)[0]["comment"] == "bee"


def test_what_was_taken_back_is_seen_again_with_grades_and_comment(comparing):
    room = comparing()
    page = room.page()
    until_pair(page, "cough")
    press(page, "ArrowLeft", "m", "2", "b", "c")
    page.keyboard.type("so")
    press(page, "Enter")
    until_pair(page, "fever")
    press(page, "u")
    until_pair(page, "cough")
    assert page.is_checked("#grade-0-much") and page.is_visible("#grades-0") and not page.is_visible("#grades-1")
    assert page.input_value("#comment") == "so"
    before = room.store.count()
    press(page, "Enter")
    until_pair(page, "fever")
    assert room.store.count() == before + 1
    assert kept(room)[0]["grades"] == {"help": "much"} and kept(room)[0]["comment"] == "so"
