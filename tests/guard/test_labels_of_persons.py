"""A person's judgements become labels: blocks by reaction reach back, and what is retracted is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from heed.guard.decisions import Decision, Step
from heed.guard.labels import LabelCollector
from heed.oversight.overseers.base import Verdict


def step(number, decision="allow", key="", credit=0, episode=0, terminated=False, asked=True, glimpsed=False):
    """A walk along x, one tenth a step."""
    state, after = (np.array([0.1 * n], np.float32) for n in (number, number + 1))
    action = np.array([1.0], np.float32)
    verdict = Verdict(decision == "block", key=key, credit=credit, glimpsed=glimpsed) if asked else None
    decided = Decision(1.0, 1.0, decision, "policy", verdict=verdict)
    return Step(state, action, action, decided, after, 0.0, terminated, False, False, {}, 0, episode)


def labels_of(*steps, grace=0):
    collector = LabelCollector(1, 1, grace=grace)
    for each in steps:
        collector.add(each)
    return collector


def blocked(collector):
    """The states of the labels that say block, in tenths."""
    labels = collector.labels()
    return sorted(round(10 * float(x)) for x in labels.states[labels.blocked, 0])


@pytest.mark.parametrize(("credit", "states"), [(0, [5]), (1, [4, 5]), (3, [2, 3, 4, 5]), (50, [0, 1, 2, 3, 4, 5])])
def test_a_block_reaches_back_as_many_steps_as_it_is_credited_for(credit, states):
    collector = labels_of(*(step(n) for n in range(5)), step(5, "block", credit=credit))
    assert blocked(collector) == states
    assert collector.blocks == len(states)
    assert len(collector.labels().blocked) == 6  # nothing is labelled twice


def test_a_block_reaches_back_no_further_than_its_episode():
    before = [step(0), step(1, terminated=True)]
    collector = labels_of(*before, step(7, episode=1), step(8, "block", credit=9, episode=1))
    assert blocked(collector) == [7, 8]


def test_what_nobody_was_asked_about_is_not_credited():
    collector = labels_of(step(0), step(1, asked=False), step(2, "block", credit=2), grace=0)
    assert blocked(collector) == [0, 2]


def test_a_block_that_is_retracted_teaches_nothing_and_frees_what_it_reached():
    collector = labels_of(step(0), step(1), step(2, "block", key="k", credit=2), step(3, "block", key="other"))
    assert blocked(collector) == [0, 1, 2, 3]
    assert collector.retract("k")
    assert blocked(collector) == [3]
    labels = collector.labels()
    assert labels.states[2].isnan().all() and labels.next_states[2].isnan().all() and not labels.blocked[2]
    assert labels.states[[0, 1, 3]].isfinite().all()
    assert not collector.retract("k")  # once


def test_a_block_that_is_retracted_frees_nothing_that_another_reached():
    steps = [
        step(0),
        step(1),
        step(2, "block", key="first", credit=2),
        step(3),
        step(4, "block", key="second", credit=4),
    ]
    collector = labels_of(*steps)
    assert collector.retract("second")
    assert blocked(collector) == [0, 1, 2]
    assert collector.retract("first")
    assert blocked(collector) == []


def test_what_was_let_pass_in_so_many_words_is_not_overturned():
    collector = labels_of(step(0), step(1, key="k"), step(2, "block", credit=2))
    assert blocked(collector) == [0, 2]


def test_leave_that_is_retracted_teaches_nothing():
    collector = labels_of(step(0, key="a"), step(1, key="b"))
    assert collector.retract("a")
    labels = collector.labels()
    assert labels.states.isnan().any(1).tolist() == [True, False]
    assert labels.next_states.isnan().any(1).tolist() == [True, False]


def test_a_block_of_what_was_hardly_in_view_is_about_what_was_before_it_and_says_nothing_of_itself():
    steps = [step(0), step(1), step(2, "block", key="k", credit=1, glimpsed=True), step(3)]
    collector = labels_of(*steps)
    assert blocked(collector) == [1] and len(collector.labels().blocked) == 3
    assert collector.judgements == 3
    assert collector.retract("k")
    assert blocked(collector) == []
