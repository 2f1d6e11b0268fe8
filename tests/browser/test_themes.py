"""Every page in light and dark and at five sizes: legible, whole, and told apart without telling red from green.

`HEED_SHOTS=FOLDER pytest -m browser tests/browser/test_themes.py` writes pictures of each, and how deuteranopes see it.
"""

from __future__ import annotations

import io
import json
import os
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from colour_vision import ALL, DEUTERANOPIA, contrast, difference, rgb, simulated
from compare_room import PAIRS
from PIL import Image
from test_screenshots import said_of_a_drift
from waiting import says, shows, until
from watched_agent import drift, futures, proposal_of

from heed.oversight.control.records import Pace
from heed.oversight.store.store import Store
from heed.web.judgements import add_judgements
from heed.web.run import add_run

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("HEED_SHOTS")
SCHEMES = ("light", "dark")
SIZES = {
    "laptop": (1280, 800),
    "laptop at 200%": (640, 400),
    "phone": (390, 844),
    "tablet": (820, 1180),
    "screen": (1920, 1080),
}
TEXT, SHAPE = 4.5, 3.0
"""WCAG 2's least contrast of a text, and of what is no text."""
APART, APART_TO_ALL = 20.0, 40.0
"""Least delta E of two meanings, whoever looks: of states, which words tell as well; of the two verdicts."""
CALM = Pace(rates=(20.0,), rate=0, patience=600.0, heartbeat=60.0, glance=0.0)

TEXTS = """() => {
    const seen = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const style = getComputedStyle(element);
        const left_out = "[aria-disabled='true'], dialog:not([open]), svg, option";
        if (!own || !element.checkVisibility() || element.closest(left_out)) continue;
        let behind = element;
        while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
        const ground = getComputedStyle(behind || document.body).backgroundColor;
        seen.push([element.textContent.trim().slice(0, 40), style.color, ground]);
    }
    return seen;
}"""


def each_look(page, name):
    """Each theme and size in turn; pictures of them, where one asks for it."""
    for scheme, (size, (width, height)) in product(SCHEMES, SIZES.items()):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("window.scrollTo(0, 0)")
        if SHOTS:
            picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
            both = np.concatenate([picture, simulated(picture)], axis=1)
            Image.fromarray(both).save(Path(SHOTS) / f"{name}-{size.replace(' ', '-').replace('%', '')}-{scheme}.png")
        yield scheme, size


def legible(page, name):
    """Assert that all texts have contrast and nothing is wider than the page, in every theme and at every size."""
    for scheme, size in each_look(page, name):
        where = (name, scheme, size)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, where
        texts = page.evaluate(TEXTS)
        assert len(texts) > 3, where
        faint = [(*where, *text) for text in texts if contrast(rgb(text[1]), rgb(text[2])) < TEXT]
        assert faint == []


def inside(page, selector):
    """Whether an element is whole in the window."""
    box, window = page.locator(selector).bounding_box(), page.viewport_size
    return box["y"] >= -1 and box["y"] + box["height"] <= window["height"] + 1 and box["x"] >= -1


def test_the_desk_before_one_begins_is_legible_and_its_verdicts_in_view(watching):
    page = watching(CALM, proposals=futures()).page()
    proposal_of(page)
    legible(page, "watch-paused")


def test_the_desk_where_it_asks_is_legible_and_state_proposal_and_verdicts_are_in_view(watching):
    page = watching(CALM, proposals=futures(), phase="autonomy").page()
    proposal_of(page)
    says(page, "#state", "it asks you")
    legible(page, "watch-asks")
    for look in each_look(page, "watch-asks"):
        assert all(inside(page, each) for each in ("#state", "#block", "#allow")), look
        frame = page.locator("#frame").bounding_box()
        assert frame["y"] + 60 < page.locator(".verdicts").bounding_box()["y"], look


def test_the_past_the_rest_and_the_marks_are_legible(watching):
    page = watching(CALM, proposals=futures(drift(6))).page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    page.keyboard.press("x")
    says(page, "#marks", "ada: episode 1")
    page.keyboard.press("m")
    legible(page, "watch-more")
    page.keyboard.press("p")
    page.wait_for_selector("body[data-past]")
    legible(page, "watch-past")


def test_who_may_not_come_in_is_told_so_legibly(watching):
    page = watching(CALM).page(token="guess")
    says(page, "#state", "the token is wrong")
    assert not page.is_visible("#frame")  # and no picture that is none
    legible(page, "watch-refused")


def test_a_comparison_is_legible(comparing):
    page = comparing(PAIRS).page()
    page.wait_for_selector("body[data-pair]")
    legible(page, "compare")
    for key in ("1", "ArrowLeft", "q"):
        page.keyboard.press(key)
    legible(page, "compare-chosen")


def test_the_answers_are_not_beneath_what_judges_them_where_the_window_is_low(comparing):
    page = comparing(PAIRS).page()
    page.wait_for_selector("body[data-pair]")
    for scheme, size in each_look(page, "compare"):
        rows, words = (page.locator(each).bounding_box() for each in (".answer", "#left"))
        stays = page.evaluate("getComputedStyle(document.querySelector('.answer')).position")
        assert stays == ("static" if size == "laptop at 200%" else "sticky"), (scheme, size)
        if stays == "static":
            assert words["y"] + words["height"] <= rows["y"] + 1, (scheme, size)  # below, a scroll away


def test_the_judgements_and_the_run_are_legible(watching, tmp_path):
    watched, store = watching(CALM), Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    store.add_all(list(said_of_a_drift()))
    store.retract(5, "ada", "nothing was near yet")
    add_judgements(watched.server.app, lambda: store, watched.people)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("steps: 1000\n")
    (folder / "summary.json").write_text('{"kind": "guard", "completed": false}')
    lines = [json.dumps({"step": step, "catastrophes": step % 3, "return": step / 9}) for step in range(0, 900, 100)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    add_run(watched.server.app, folder, watched.people, lambda _: "")
    for path, ready in (("judgements", "#row-5"), ("run", ".chart")):
        page = watched.browser.new_page()
        page.goto(f"{watched.address}/{path}#token={watched.people.token_of('ada')}")
        page.wait_for_selector(ready)
        legible(page, path)
        page.close()
    store.close()


def colours_of(page):
    """By meaning, the colour that the page gives it now."""
    style = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
    return {
        "block": rgb(page.evaluate(style, ["#block", "backgroundColor"])),
        "let pass": rgb(page.evaluate(style, ["#allow", "backgroundColor"])),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seen_by", [ALL, DEUTERANOPIA], ids=["all", "deuteranopes"])
def test_the_two_verdicts_and_the_states_are_told_apart_by_everybody(watching, scheme, seen_by):
    watched = watching(CALM, proposals=futures())
    page = watched.page(color_scheme=scheme)
    proposal_of(page)
    states, borders, paper = {}, {}, rgb(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def note(state):
        states[state] = rgb(page.evaluate("getComputedStyle(document.getElementById('state')).color"))
        borders[state] = page.evaluate("getComputedStyle(document.getElementById('state')).borderTopWidth")

    shows(page, "paused")
    note("paused")
    page.keyboard.press(" ")
    says(page, "#state", "it asks you")
    note("asks")
    verdicts = colours_of(page)
    assert difference(verdicts["block"], verdicts["let pass"], seen_by) >= APART_TO_ALL
    assert all(contrast(colour, paper) >= SHAPE for colour in verdicts.values())
    assert {page.inner_text("#block span"), page.inner_text("#allow span")} == {
        "Block this action",
        "Let it pass",
    }
    watched.stop()
    shows(page, "disconnected")
    note("disconnected")
    quick = watching(CALM).page(color_scheme=scheme)
    proposal_of(quick)
    quick.keyboard.press(" ")
    shows(quick, "watching")
    states["watching"] = rgb(quick.evaluate("getComputedStyle(document.getElementById('state')).color"))
    for one, other in combinations(("paused", "watching", "disconnected"), 2):
        assert difference(states[one], states[other], seen_by) >= APART, (one, other)
    assert borders["asks"] == "2px" != borders["paused"]  # what calls has a bolder frame as well


@pytest.mark.parametrize("seen_by", [ALL, DEUTERANOPIA], ids=["all", "deuteranopes"])
def test_safe_and_dangerous_futures_differ_in_colour_to_everybody_and_in_breadth(watching, seen_by):
    page = watching(CALM, proposals=futures()).page()
    proposal_of(page)
    lines = page.evaluate("""[...document.querySelectorAll("#over .way")].map((line) => getComputedStyle(line))
        .map((style) => [Number(style.getPropertyValue("--risk")), parseFloat(style.strokeWidth)])""")
    named = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    names = [page.evaluate(named, name) for name in ("--safe", "--risky")]
    assert difference(*(rgb(name) for name in names), seen_by) >= APART_TO_ALL
    (least, thin), (most, broad) = min(lines), max(lines)
    assert most - least > 0.5 and broad > thin + 0.5


def test_the_drawn_action_is_seen_on_any_ground(watching):
    page = watching(CALM, proposals=futures()).page()
    proposal_of(page)
    style = "([name, what]) => getComputedStyle(document.querySelector(`#action .${name}`))[what]"
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        fill, outline = (rgb(page.evaluate(style, each)) for each in (["arrow", "fill"], ["outline", "stroke"]))
        grounds = [np.array(ground) / 15 for ground in product(range(0, 16, 3), repeat=3)]
        assert min(max(contrast(fill, ground), contrast(outline, ground)) for ground in grounds) >= SHAPE
        assert contrast(fill, outline) >= 2 * SHAPE
    until(page, bool, lambda page: page.is_visible("#action"))


def test_the_measure_of_colours_is_the_published_one():
    assert contrast(rgb("#ffffff"), rgb("#000000")) == pytest.approx(21.0)
    assert contrast(rgb("#767676"), rgb("rgb(255, 255, 255)")) == pytest.approx(4.54, abs=0.01)  # WCAG's own example
    assert difference(rgb("#ffffff"), rgb("#000000")) == pytest.approx(100.0, abs=0.1)
    red, green = rgb("#d00000"), rgb("#7a6a00")  # a red and an olive that deuteranopes confuse
    assert difference(red, green) > 60 and difference(red, green, DEUTERANOPIA) < 0.5 * difference(red, green)
    white = np.full((2, 2, 3), 255, np.uint8)
    assert (simulated(white) >= 254).all()
