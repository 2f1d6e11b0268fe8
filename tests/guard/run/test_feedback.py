"""What a person is told that a block did: why, in which imagined step, over which limit, and what was taken instead."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

import heed.worlds  # noqa: F401 - registers them
from heed.guard.decisions import Decision
from heed.guard.run.feedback import outcome
from heed.oversight.overseers.base import Verdict
from heed.worlds.oracle import Oracle

LEFT = np.array([-0.4, 0.0], np.float32)
SAW = SimpleNamespace(risk=0.45, limit=0.3)
RISK = "risk 45%, where less than 30% passes"


@pytest.mark.parametrize(
    ("source", "about", "words"),
    [
        ("planner", {"cause": "danger", "look": SAW}, f"blocked for the very next step: {RISK}; instead, as planned"),
        (
            "planner",
            {"cause": "no way out", "look": SAW, "first_unsafe": 6},
            f"blocked for what follows in imagined step 7: {RISK}, and no way out was found; instead, as planned",
        ),
        (
            "blocker",
            {"cause": "unknown", "unknown_parts": (1, 3), "look": SAW},
            "blocked for what is not known: futures leave what was seen in y, y velocity; "
            "instead, the declared safe action",
        ),
        ("fallback", {"cause": "fault"}, "blocked: what should have judged failed; instead, as a last resort"),
        (
            "fallback",
            {"cause": "fault", "verdict": Verdict(True, failed=True, reason="nobody answered in time")},
            "blocked: nobody answered in time; instead, as a last resort",
        ),
        (
            "planner",
            {"cause": "danger", "look": SimpleNamespace(risk=0.004, limit=0.003)},
            "blocked for the very next step: risk 0.4%, where less than 0.3% passes",
        ),
        ("fallback", {"cause": "invalid"}, "blocked: it is no action, or the state is none"),
        ("planner", {"cause": "person", "verdict": Verdict(True, person="ada")}, "blocked by ada; instead, as planned"),
        (
            "planner",
            {"cause": "person", "verdict": Verdict(True, person="ada", reason="too near")},
            "blocked by ada: too near; instead, as planned",
        ),
        (
            "blocker",
            {"cause": "person", "verdict": Verdict(True, person="ada", glimpsed=True, reason="too near")},
            "blocked by ada, too soon to say anything of this action; instead, the declared safe action",
        ),
        (
            "person",
            {"cause": "person", "verdict": Verdict(True, person="ada", acted=True)},
            "ada acted; instead, as they acted",
        ),
    ],
)
def test_a_block_is_told_by_its_cause_and_by_what_was_taken(source, about, words):
    env = gym.make("heed/PointHazard-v0")
    told = outcome(Decision(np.zeros(2), LEFT, "block", source, **about), env, declared=True)
    assert told.startswith(words) and told.endswith(": left 40%")


@pytest.mark.parametrize("source", ["blocker", "fallback"])
def test_where_no_safe_action_is_declared_none_is_said_to_be(source):
    env = gym.make("heed/PointHazard-v0")
    told = outcome(Decision(np.zeros(2), LEFT, "block", source, cause="fault"), env, declared=False)
    assert told.endswith("; instead, as no safe action is declared: left 40%")


class Bare(gym.Env):
    """Two parts of a state, and an oracle that names one."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(-1, 1, (2,))
    oracle = Oracle(variable_names=("height",))


@pytest.mark.parametrize("env", [Bare(), gym.make("Pendulum-v1")], ids=["misnamed", "nameless"])
def test_parts_that_have_no_names_have_the_numbers_that_label_keys_takes(env):
    told = outcome(Decision(LEFT, LEFT, "block", "planner", cause="unknown", unknown_parts=(0, 1)), env, declared=True)
    assert told.startswith("blocked for what is not known: futures leave what was seen in part 0, part 1; instead")
