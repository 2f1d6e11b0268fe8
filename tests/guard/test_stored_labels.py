"""Stored judgements become labels as they were meant: late blocks reach back, acting is no verdict."""

from __future__ import annotations

import gymnasium as gym
import pytest

import heed.worlds  # noqa: F401 - registers point hazard
from heed.guard.stored_labels import recalled
from heed.oversight.store.store import Judgement, Store

POINT = "heed/PointHazard-v0"


def judged(step, block=False, run="walk-1", **verdict):
    shown = {"env": POINT, "observation": [0.1 * step, 0.0, 0.0, 0.0], "action": [0.0, 0.0], "step": step, "episode": 3}
    return Judgement("block", "ada", shown | {"phase": "oversight"}, {"block": block} | verdict, run=run)


@pytest.fixture
def store():
    made = Store("sqlite://")
    yield made
    made.close()


def blocked(store):
    labels = recalled(store, gym.make(POINT), POINT)
    return [round(10 * float(x)) for x in labels.states[labels.blocked, 0]], len(labels.blocked)


def test_a_late_block_is_about_what_had_passed_in_silence(store):
    store.add_all(
        [judged(0, silent=True), judged(1), judged(2, silent=True), judged(3, silent=True), judged(4, True, credit=3)]
    )
    store.add(judged(2, run="walk-2", silent=True))  # another run's
    assert blocked(store) == ([2, 3, 4], 6)


def test_a_late_block_that_was_retracted_is_about_nothing(store):
    ids = store.add_all([judged(0, silent=True), judged(1, True, credit=1)])
    store.retract(ids[1], "ada", "by mistake")
    assert blocked(store) == ([], 1)


def test_acting_in_the_agents_place_is_no_verdict_on_its_action(store):
    store.add_all([judged(0, True, acted=True, instead=[1.0, 0.0]), judged(1, True)])
    assert blocked(store) == ([1], 1)


def test_a_block_of_what_was_hardly_in_view_says_nothing_of_it_and_what_passed_before_was_meant(store):
    store.add_all([judged(0, silent=True), judged(1, silent=True), judged(2, True, glimpsed=True, credit=1)])
    assert blocked(store) == ([1], 2)
