"""What a page shows of a proposal, where the environment renders, does not, and fails to."""

from __future__ import annotations

import io
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import heed.worlds  # noqa: F401 - registers them
from heed.oversight.control.view import Viewer, controls_of
from heed.oversight.overseers.base import Proposal
from heed.oversight.presentation import action_bars, action_in_words
from heed.worlds.oracle import Oracle


def test_a_proposal_is_shown_in_words_numbers_and_a_picture():
    env = gym.make("heed/PointHazard-v0", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    proposal = Proposal(observation, np.array([0.5, 0.0]), {}, env, 3, 2, risk=0.25)
    view = Viewer().view_of(proposal, 9, {"phase": "autonomy"})
    assert (view.number, view.content["step"], view.content["episode"], view.content["phase"]) == (9, 3, 2, "autonomy")
    assert (view.content["words"], view.content["risk"], view.content["asked"]) == ("right 50%", 0.25, True)
    picture = np.asarray(Image.open(io.BytesIO(view.frame)))
    assert picture.shape == env.render().shape
    assert np.abs(picture.astype(float) - env.render()).mean() < 5  # a JPEG loses a little


def test_without_a_renderer_there_is_no_frame():
    env = gym.make("heed/PointHazard-v0")
    view = Viewer().view_of(Proposal(np.zeros(4), np.zeros(2), {}, env), 1, {})
    assert view.frame is None and view.content["words"] == "nothing" and not view.content["asked"]


def test_a_renderer_that_fails_is_asked_once_and_logged(caplog):
    class Fails(gym.Wrapper):
        asked = 0

        def render(self):
            self.asked += 1
            raise OSError("no display")

    env, viewer = Fails(gym.make("heed/PointHazard-v0", render_mode="rgb_array")), Viewer()
    views = [viewer.view_of(Proposal(np.zeros(4), np.zeros(2), {}, env), number, {}) for number in (1, 2)]
    assert [view.frame for view in views] == [None, None] and env.asked == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the environment cannot be rendered (OSError: no display)"
    ]


def test_controls_are_choices_by_name_or_a_box_with_its_axes():
    assert controls_of(gym.make("heed/CliffGrid-v0"))["choices"] == ["coast", "up", "down", "left", "right"]
    box = controls_of(gym.make("heed/PointHazard-v0"))
    assert box["rest"] == [0.0, 0.0]
    assert box["keys"] == {
        "arrowleft": ["left", [-1.0, 0.0]],
        "arrowright": ["right", [1.0, 0.0]],
        "arrowdown": ["down", [0.0, -1.0]],
        "arrowup": ["up", [0.0, 1.0]],
    }
    assert controls_of(None) is None


class Arm(gym.Env):
    """Three joints of which the second only pulls, and one that nobody limits."""

    action_space = gym.spaces.Box(
        np.array([-1.0, 0.0, -2.0, -np.inf], np.float32), np.array([1.0, 4.0, 2.0, np.inf], np.float32)
    )


def test_axes_without_names_have_keys_for_what_they_can_do_and_no_more():
    controls = controls_of(Arm())
    assert controls["rest"] == [0.0, 0.0, 0.0, 0.0]
    assert controls["keys"] == {
        "arrowleft": ["axis 1 less", [-1.0, 0.0, 0.0, 0.0]],
        "arrowright": ["axis 1 more", [1.0, 0.0, 0.0, 0.0]],
        "arrowup": ["axis 2 more", [0.0, 4.0, 0.0, 0.0]],  # less than nothing it cannot
        "1": ["axis 3 less", [0.0, 0.0, -2.0, 0.0]],
        "2": ["axis 3 more", [0.0, 0.0, 2.0, 0.0]],
    }


@pytest.mark.parametrize(
    ("action", "words", "shares"),
    [
        ([0.5, 0.4], "main engine 75%", [0.75, 0.0]),  # a side engine does nothing up to half
        ([-0.6, -0.8], "push left 80%", [0.0, -0.8]),
        ([0.02, 0.51], "main engine 51%, push right 51%", [0.51, 0.51]),
        ([0.0, 0.5], "nothing", [0.0, 0.0]),
    ],
)
def test_a_landers_engines_are_told_as_its_world_applies_them(action, words, shares):
    env = gym.make("LunarLander-v3", continuous=True)
    assert action_in_words(np.array(action), env) == words
    assert [bar["share"] for bar in action_bars(np.array(action), env)] == shares
    assert controls_of(env)["keys"]["arrowup"] == ["main engine", [1.0, 0.0]]


def test_what_a_lander_is_told_to_do_moves_it_as_it_is_told():
    """The environment's own physics: below its threshold an engine is off, and above it the share is its strength."""

    def after(action):
        env = gym.make("LunarLander-v3", continuous=True)
        env.reset(seed=3)
        env.unwrapped.np_random = SimpleNamespace(uniform=lambda low, high: 0.0)  # the engines scatter no more
        return env.step(np.array(action, np.float32))[0]

    idle = after([-1.0, 0.0])
    assert np.array_equal(after([0.0, 0.5]), idle)
    half, full = (after([power, 0.0])[3] - idle[3] for power in (1e-4, 1.0))
    assert half / full == pytest.approx(0.5, rel=1e-2)  # what the bars say: 50% and 100%


class Odd(gym.Env):
    """Says of its actions what is of others; one axis has no end, and one only pushes down."""

    action_space = gym.spaces.Box(np.array([-4.0, -np.inf, -1.0], np.float32), np.array([0.0, np.inf, 1.0], np.float32))
    observation_space = gym.spaces.Box(-1, 1, (2, 3))

    def get_action_meanings(self):
        return ["push", "pull"]

    oracle = Oracle(action_names=(("left", "right"),), keys={"a": ("wrong", (1.0,))}, applied=lambda action: action[:1])


def test_a_world_that_says_odd_things_of_its_actions_is_still_shown():
    env = Odd()
    view = Viewer().view_of(Proposal(np.zeros((2, 3)), np.array([-4.0, 3.0, 0.5]), {}, env), 1, {})
    assert view.content["words"] == "-4.00, +3.00, +0.50"
    assert view.content["bars"] == [
        {"less": "", "more": "axis 1", "share": -1.0}, {"less": "", "more": "axis 3", "share": 0.5},
    ]  # fmt: skip
    assert sorted(view.content["acts"]["keys"]) == ["1", "2", "arrowleft"]
    still = Viewer().view_of(Proposal(np.zeros((2, 3)), np.array([0.0, 0.0, np.nan]), {}, env), 2, {})
    assert [bar["share"] for bar in still.content["bars"]] == [0.0, 0.0]
