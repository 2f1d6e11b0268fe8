"""What a page shows of a proposal, where the environment renders, does not, and fails to."""

from __future__ import annotations

import io

import gymnasium as gym
import numpy as np
from PIL import Image

import heed.worlds  # noqa: F401 - registers them
from heed.oversight.control.view import Viewer, controls_of
from heed.oversight.overseers.base import Proposal


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
    assert (box["low"], box["high"], box["axes"]) == ([-1.0, -1.0], [1.0, 1.0], [["left", "right"], ["down", "up"]])
    assert controls_of(None) is None
