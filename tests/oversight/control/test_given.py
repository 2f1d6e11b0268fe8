"""What became of people's verdicts, and whose label a retraction takes away."""

from __future__ import annotations

from dataclasses import replace

from heed.oversight.control import given as given_module
from heed.oversight.control.given import GivenVerdicts
from heed.oversight.overseers.base import Verdict


def verdict(name, block=True, others=()):
    return Verdict(block, person=name, key=f"{name}'s", others=others)


def on_disk(given, first):
    given.add(first)
    for row, each in enumerate(first.all, start=1):
        given.written(each, row)


def test_a_label_goes_when_nobody_who_supported_it_is_left():
    given = GivenVerdicts()
    on_disk(given, verdict("ada", others=(verdict("bob"), verdict("eve", block=False))))
    assert given.retracted(3) == []  # eve had not supported it
    assert given.retracted(1) == []
    assert given.retracted(2) == ["ada's"]
    assert given.retracted(2) == []


def test_a_label_that_silence_supports_stays():
    given, silent = GivenVerdicts(), Verdict(False, person="bob", silent=True)
    on_disk(given, verdict("ada", block=False, others=(silent,)))
    assert given.retracted(1) == []


def test_a_verdict_awaits_the_disk_until_it_is_written_and_the_last_one_is_found():
    given = GivenVerdicts()
    given.add(verdict("ada"))
    assert given.awaits_disk("ada") and not given.awaits_disk("bob")
    assert (given.row_of("ada's"), given.last_row("ada")) == (None, None)
    given.written(verdict("ada"), 7)
    assert not given.awaits_disk("ada") and (given.row_of("ada's"), given.last_row("ada")) == (7, 7)
    given.retracted(7)
    assert given.last_row("ada") is None


def test_no_more_is_remembered_than_is_kept(monkeypatch):
    monkeypatch.setattr(given_module, "KEPT", 3)
    given = GivenVerdicts()
    for number in range(5):
        each = Verdict(True, person="ada", key=f"k{number}")
        given.add(each)
        given.written(each, number + 1)
    assert [given.row_of(f"k{number}") for number in range(5)] == [None, None, 3, 4, 5]


def test_who_had_it_hardly_in_view_supports_no_label_but_their_own():
    seen, fast = verdict("bob"), Verdict(True, person="ada", key="ada's", glimpsed=True)
    given = GivenVerdicts()
    on_disk(given, replace(seen, others=(fast,)))
    assert given.retracted(1) == ["bob's"]
    given = GivenVerdicts()
    on_disk(given, fast)  # which may be about what was in view before
    assert given.retracted(1) == ["ada's"] and given.is_glimpsed("ada's")
