"""Nobody judges twice, nothing is judged more often than asked, and nothing lies in two hands."""

from __future__ import annotations

import random

import pytest

from heed.errors import HeedError
from heed.oversight.comparisons.assignment import Assignment


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_each_is_in_one_persons_hands_until_they_answer():
    assignment = Assignment(["x", "y"])
    assert (assignment.next("ada"), assignment.next("bob")) == ("x", "y")
    assert assignment.next("ada") == "x"
    assert (assignment.next("eve"), assignment.why_nothing("eve")) == (None, "others")
    assignment.judged("y", "bob")
    assert (assignment.next("bob"), assignment.next("ada"), assignment.finished) == (None, "x", False)
    assignment.judged("x", "ada")
    assert assignment.finished and assignment.why_nothing("ada") == "all"


def test_who_leaves_frees_what_they_held():
    assignment = Assignment(["x"])
    assert (assignment.next("ada"), assignment.next("bob")) == ("x", None)
    assignment.leave("ada")
    assert (assignment.next("bob"), assignment.next("ada")) == ("x", None)


def test_a_lease_ends_and_who_held_it_may_still_answer():
    clock = Clock()
    assignment = Assignment(["x"], lease_s=60, clock=clock)
    assert (assignment.next("ada"), assignment.next("bob")) == ("x", None)
    clock.now = 60.0
    assert (assignment.next("bob"), assignment.next("ada")) == ("x", "x")
    assignment.judged("x", "ada")
    assignment.judged("x", "bob")
    assert (assignment.given, assignment.wanted) == (1, 1)  # one more than asked counts for nothing


def test_each_is_judged_as_often_as_asked_by_different_people():
    assignment = Assignment(["x", "y"], times=2)
    assert [assignment.next(person) for person in ("ada", "bob", "eve")] == ["x", "x", "y"]
    assignment.judged("x", "ada")
    assert assignment.next("ada") == "y"
    assignment.judged("y", "ada")
    assert (assignment.next("ada"), assignment.why_nothing("ada")) == (None, "mine")
    assert (assignment.given, assignment.wanted, assignment.finished) == (2, 4, False)


def test_what_is_retracted_lacks_a_judgement_again():
    assignment = Assignment(["x", "y"])
    assert assignment.next("ada") == "x"
    assignment.judged("x", "ada")
    assert assignment.next("ada") == "y"
    assignment.retracted("x", "ada")
    assignment.take("ada", "x")
    assert (assignment.given, assignment.next("ada"), assignment.next("bob")) == (0, "x", "y")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_people_do_all_is_judged_as_often_as_asked_and_no_more(seed):
    drawn = random.Random(seed)
    people, times = ["ada", "bob", "eve"], drawn.randint(1, 3)
    assignment = Assignment([str(item) for item in range(10)], times)
    by = {}
    for _ in range(5000):
        person = drawn.choice(people)
        held = assignment.next(person)
        if held is None:
            assert assignment.why_nothing(person) != "all" or assignment.finished
        elif drawn.random() < 0.2:
            assignment.leave(person)
        else:
            assert person not in by.setdefault(held, set())
            by[held].add(person)
            assignment.judged(held, person)
            if drawn.random() < 0.2:
                by[held].remove(person)
                assignment.retracted(held, person)
        assert assignment.given == sum(map(len, by.values()))
        assert all(len(found) <= times for found in by.values())
    assert assignment.finished and all(len(found) == times for found in by.values())


def test_nothing_is_judged_no_times():
    with pytest.raises(HeedError, match="--times"):
        Assignment(["x"], times=0)
