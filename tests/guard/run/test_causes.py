"""Why a guard blocks, as it is told: shares each thousand steps, advice where one cause prevails, a collapse first."""

import logging

import numpy as np
import pytest

from heed.cli.guard import lines
from heed.guard.decisions import Decision, Step
from heed.guard.run.causes import ADVICE, EVERY, Causes, advice, collapse
from heed.oversight.overseers.base import Verdict


def step(cause="", parts=(), verdict=None):
    decision = Decision(
        0, 0, "block" if cause else "allow", "policy", cause=cause, unknown_parts=parts, verdict=verdict
    )
    nothing = np.zeros(1, np.float32)
    return Step(nothing, nothing, nothing, decision, nothing, 0.0, False, False, False, {})


def told(caplog, steps):
    observer = Causes()
    with caplog.at_level(logging.INFO, logger="heed"):
        for each in steps:
            observer(each)
    return [record.message for record in caplog.records]


def test_each_thousand_steps_the_shares_are_told_and_the_parts_that_are_unknown(caplog):
    steps = [step("unknown", (3, 7))] * 150 + [step("danger")] * 50 + [step("unknown", (3,))] * 50 + [step()] * 750
    said = told(caplog, steps)
    assert said == [
        "of 1000 steps 250 were blocked: 80% unknown, 20% danger (parts 3, 7 of the state)",
        f"most blocks have one cause: {ADVICE['unknown']}",
    ]


def test_few_blocks_or_many_causes_need_no_advice(caplog):
    assert told(caplog, [step("danger")] * 99 + [step()] * 901) == ["of 1000 steps 99 were blocked: 100% danger"]
    even = ["danger", "unknown", "no way out"] * 50
    assert advice(1000, even) == "" and advice(1000, even[:2] * 75) != ""


def test_a_thousand_steps_without_a_block_say_so_and_judged_ones_do_not_count(caplog):
    judged = [step("person", verdict=Verdict(True))] * 500
    assert told(caplog, judged + [step()] * EVERY) == ["of 1000 steps none was blocked"]


@pytest.mark.parametrize("late", [[-5.0] * 6, [-9.0, -9.0, -9.0, -2.0, -9.0]])
def test_a_return_that_fell_below_all_that_oversight_had_is_the_first_line(late):
    returns = {"oversight": [-1.0, 0.0, 2.0, 1.0, 3.0], "late": late}
    assert collapse({"returns": returns}).startswith("under the guard the return fell from 1 in oversight to -")
    summary = {
        "env_steps": 10, "autonomy_steps": 5, "catastrophes": {"oversight": 0, "autonomy": 0},
        "goals": {"oversight": 0}, "interventions": 5, "judgements": 5,
        "method": "mbhi", "handed_over_at": 5, "false_blocks": None, "faults": {},
        "decision_ms": {"p50": None}, "causes": {"danger": 1.0}, "returns": returns,
    }  # fmt: skip
    text = lines(summary)
    assert text[0] == collapse(summary) and "blocks in autonomy: 100% danger" in text


@pytest.mark.parametrize("late", [[-0.5] * 6, [-9.0] * 4, [3.0] * 9])
def test_a_return_within_what_oversight_had_is_none_and_so_are_too_few_episodes(late):
    assert collapse({"returns": {"oversight": [-1.0, 0.0, 2.0, 1.0, 3.0], "late": late}}) == ""
    assert collapse({}) == ""
