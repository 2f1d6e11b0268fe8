"""The proposed action on the picture: where the agent is, as the action is, and only as long as it is proposed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from waiting import shows, until
from watched_agent import proposal_of

from heed.oversight.overseers.base import Proposal

pytestmark = pytest.mark.browser

ENDS = """() => [...document.querySelectorAll("#action .arrow, #action .flame")].map((shape) => ({
    kind: shape.getAttribute("class"), start: shape.dataset.start.split(",").map(Number),
    end: shape.dataset.end.split(",").map(Number), box: shape.getBoundingClientRect().toJSON(),
}))"""
YELLOW, OUTLINE = (255, 225, 77), (17, 17, 17)


def still(state, action):
    """Always the same proposal, in a world that stands still."""

    def proposals(env):
        for step in range(10_000):
            observation, _ = env.reset(seed=0, options=None if state is None else {"state": state})
            yield Proposal(observation, action, {}, env, step)

    return proposals


def page_of(watching, state, action, **agent):
    watched = watching(proposals=still(state, action), **agent)
    page = watched.page(viewport={"width": 1280, "height": 800})
    proposal_of(page)
    return watched, page


def colours(page, region):
    """The colours of a part of the page, [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=region))).convert("RGB")).astype(int)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("action", [(0.8, 0.6), (-1.0, 0.0)])
def test_an_arrow_leads_from_the_agent_on_the_page_as_far_and_in_the_way_of_the_push(watching, action, scheme):
    _watched, page = page_of(watching, (-1.0, -1.0, 0.0, 0.0), np.array(action, np.float32))
    page.emulate_media(color_scheme=scheme)
    (arrow,) = page.evaluate(ENDS)
    picture = page.locator("#frame").bounding_box()
    size = np.array([picture["width"], picture["height"]])
    start, end = (np.array(arrow[name]) * size for name in ("start", "end"))
    push = np.array([action[0], -action[1]]) * size / (8.5, 6.5)  # a unit of length, in pixels of the page
    assert arrow["kind"] == "arrow" and end - start == pytest.approx(push, abs=0.1)
    way = push / np.hypot(*push)
    unit = {"width": 3, "height": 3}

    def around(place):
        x, y = np.array([picture["x"], picture["y"]]) + place - 1
        return colours(page, {"x": x, "y": y} | unit).reshape(-1, 3)

    agent = np.array([3.25, 4.25]) / (8.5, 6.5) * size  # of a mass at (-1, -1)
    assert np.abs(around(agent) - (38, 70, 120)).max() < 40  # it is not hidden
    assert np.hypot(*(start - agent)) == pytest.approx(0.11 * size[0] / 8.5, abs=0.1)
    assert np.abs(around(end - 6 * way) - YELLOW).max(axis=1).min() < 40  # its head
    shaft = around((start + end) / 2)
    assert np.abs(shaft - YELLOW).max(axis=1).min() < 60
    head = colours(page, {**{side: arrow["box"][side] for side in ("x", "y")}, "width": 60, "height": 60})
    assert (np.abs(head - OUTLINE).max(axis=2) < 30).sum() > 20  # and its outline
    assert page.locator("#action").bounding_box() == pytest.approx(picture, abs=1.1)


@pytest.mark.parametrize(
    ("env", "state", "action", "kinds"),
    [
        ("heed/CliffGrid-v0", (4, 3, 0, 0), 4, ["arrow"]),
        ("heed/CliffGrid-v0", (4, 3, 0, 0), 0, []),
        ("CartPole-v1", None, 1, ["arrow"]),
        ("LunarLander-v3", None, np.array([0.5, -0.9], np.float32), ["flame", "flame"]),
        ("LunarLander-v3", None, np.array([-0.5, -0.4], np.float32), []),
    ],
)
def test_each_world_draws_what_its_action_does_and_nothing_where_it_does_nothing(watching, env, state, action, kinds):
    options = {"continuous": True} if env.startswith("Lunar") else {}
    watched, page = page_of(watching, state, action, env=env, **options)
    assert [shape["kind"] for shape in page.evaluate(ENDS)] == kinds
    shown = watched.overseer.view.content["shapes"]
    assert [shape["start"] for shape in page.evaluate(ENDS)] == [pytest.approx(list(each["start"])) for each in shown]
    inside = page.locator("#frame").bounding_box()
    for shape in page.evaluate(ENDS):
        assert inside["x"] - 40 < shape["box"]["x"] < inside["x"] + inside["width"]


def test_without_a_picture_and_without_a_proposal_nothing_is_drawn(watching):
    watched, page = page_of(watching, (-1.0, -1.0, 0.0, 0.0), np.array([1.0, 0.0], np.float32))
    assert page.is_visible("#action")
    watched.overseer.bind(watched, learning=lambda: True)
    watched.agent.disk.clear()  # the agent is at something else as soon as this one is judged
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    until(page, lambda seen: not seen, lambda page: page.is_visible("#action"))
    assert "it learns" in page.inner_text("#state")
    watched.overseer.bind(watched)
    watched.agent.disk.set()
    until(page, bool, lambda page: page.is_visible("#action"))
    watched.overseer.end("the run is over")
    until(page, lambda seen: not seen, lambda page: page.is_visible("#action"))
    blind = watching(proposals=still((-1.0, -1.0, 0.0, 0.0), np.array([1.0, 0.0], np.float32)), render_mode=None).page()
    proposal_of(blind)
    assert blind.evaluate(ENDS) == []
