"""The documentation's pictures of the pages: drawn and looked at here, and written only where one asks for it."""

from __future__ import annotations

import io
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import says, shows, until
from watched_agent import drift, futures, proposal_of, until_proposal

from heed.oversight.comparisons.pairs import Pair
from heed.oversight.control.records import Pace
from heed.oversight.store.store import Judgement, Store
from heed.web.judgements import add_judgements
from heed.web.run import add_run

pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WRITES = os.environ.get("HEED_WRITE_SCREENSHOTS") == "1"
LARGEST = 120_000
"""Bytes of a picture."""
SIZES = {"wide": {"width": 1120, "height": 920}, "narrow": {"width": 380, "height": 800}}
STEPS = 16
"""Actions up to the one that is shown."""
BEGUN = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)

LEAD = "A spoonful of honey in warm water calms the throat, and so does sage tea."
PAIRS = (
    Pair("fever", "What brings a fever down?", ("Willow bark tea, and rest.", "Rest.")),
    Pair(
        "cough",
        [
            {"role": "user", "content": "I have had a dry cough for three days. What would help me sleep?"},
            {"role": "assistant", "content": "Do you take any other medicine?"},
            {"role": "user", "content": "Only drops for my heart."},
        ],
        (
            f"{LEAD} Take nothing for the cough itself until a doctor has seen what your drops are.",
            f"{LEAD} Take twice your drops tonight: they will slow the cough as well.",
        ),
    ),
    Pair("ache", "And a headache?", ("Water first.", "Sleep.")),
)


def picture(page, name, look):
    """What the page shows, as an array [height, width, 3]; into the documentation as well, where one asks for it."""
    size, scheme = look
    until(page, lambda told: told == "complete", lambda page: page.evaluate("document.readyState"))
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    assert len(small.getvalue()) < LARGEST
    if WRITES:
        (IMAGES / f"{name}-{size}-{scheme}.png").write_bytes(small.getvalue())
    assert image.size == (SIZES[size]["width"], SIZES[size]["height"])
    return np.asarray(image)


def colours(pixels):
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def within(page, selector, pixels):
    """The part of a picture that an element takes up."""
    box = page.locator(selector).bounding_box()
    left, top = round(box["x"]), round(box["y"])
    return pixels[top : top + round(box["height"]), left : left + round(box["width"])]


def paper(pixels):
    """How light, in [0, 1], the colour is that there is most of."""
    found, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return float(found[counts.argmax()].mean() / 255)


@pytest.mark.parametrize("size", SIZES)
def test_the_desk_in_pictures(watching, size):
    papers = {}
    for scheme in ("light", "dark"):
        watched = watching(
            Pace(patience=600.0, heartbeat=30.0, glance=0.0), proposals=futures(drift(STEPS)), phase="autonomy"
        )
        page = watched.page(viewport=SIZES[size], color_scheme=scheme)
        proposal_of(page)
        page.keyboard.press("e")
        shows(page, "deciding")
        for number in range(1, STEPS):
            page.keyboard.press("a")
            until_proposal(page, number + 1)
        says(page, "#notice", f"let pass: judgement {STEPS - 1} is on disk")
        pixels = picture(page, "watch", (size, scheme))
        papers[scheme] = paper(within(page, "header", pixels))
        frame = within(page, "figure", pixels)
        assert colours(frame) > 100
        without = np.asarray(Image.open(io.BytesIO(watched.overseer.view.frame)).resize(frame.shape[1::-1]))
        changed = np.abs(frame.astype(int) - without).max(-1) > 60
        assert 0.005 < changed.mean() < 0.2  # the futures lie over it
        block = within(page, "#block", pixels)
        assert colours(block) > 1 and block.shape[0] > 30  # in view, on a phone too
    assert papers["light"] > 0.9 > 0.2 > papers["dark"]


@pytest.mark.parametrize("size", SIZES)
def test_a_comparison_in_pictures(comparing, size):
    papers = {}
    room = comparing(PAIRS, title="apothecary.jsonl", seed=1)
    for scheme in ("light", "dark"):
        page = room.page(viewport=SIZES[size], color_scheme=scheme)
        page.wait_for_selector("body[data-pair]")
        if page.get_attribute("body", "data-pair") == "fever":
            for key in ("ArrowLeft", "2", "t", "Enter"):
                page.keyboard.press(key)
        page.wait_for_selector("body[data-pair='cough']")
        says(page, "#counts", "1 of 3")
        unsafe = "q" if "twice" in page.inner_text("#left") else "w"
        better = "ArrowRight" if unsafe == "q" else "ArrowLeft"
        for key in ("1", better, "2", better, "d", unsafe):
            page.keyboard.press(key)
        page.evaluate("document.getElementById('notice').textContent = ''; window.scrollTo(0, 0)")
        pixels = picture(page, "compare", (size, scheme))
        papers[scheme] = paper(within(page, "header", pixels))
        for side in ("#left", "#right"):
            assert colours(within(page, side, pixels)) > 20
        assert page.locator("mark").count() > 5
        page.close()
    assert papers["light"] > 0.9 > 0.2 > papers["dark"]


def in_pictures(watched, path, ready):
    """A page beside the agent's, in light and in dark, and how light its paper is in each."""
    papers = {}
    for scheme in ("light", "dark"):
        page = watched.browser.new_page(viewport=SIZES["wide"], color_scheme=scheme, timezone_id="UTC")
        page.goto(f"{watched.address}{path}#token={watched.people.token_of('ada')}")
        ready(page)
        page.evaluate("window.scrollTo(0, 0)")
        pixels = picture(page, path.removeprefix("/"), ("wide", scheme))
        papers[scheme] = paper(within(page, "header", pixels))
        assert colours(within(page, "main", pixels)) > 20
        page.close()
    assert papers["light"] > 0.9 > 0.2 > papers["dark"]


def said_of_a_drift():
    """What two people say of a mass that drifts at the hazard, and ada is the more careful."""
    for step, state in enumerate(drift(4, (-2.4, 0.02, 0.9, 0.1))):
        shown = {"env": "heed/PointHazard-v0", "episode": 3, "step": 40 + step, "action": [0.9, 0.15]}
        shown["observation"] = state.round(3).tolist()
        for person, from_step, slowness in (("ada", 2, 0.41), ("bob", 3, 0.52)):
            verdict, seconds = {"block": step >= from_step}, slowness + 0.03 * (-1) ** step * step
            at = BEGUN + timedelta(seconds=step + seconds)
            yield Judgement("block", person, shown, verdict, "watched", latency_ms=1e3 * seconds, at=at)


def test_the_judgements_in_pictures(watching, tmp_path):
    watched, store = watching(Pace(heartbeat=30.0, glance=0.0)), Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    store.add_all(list(said_of_a_drift()))
    store.retract(5, "ada", "nothing was near yet")
    add_judgements(watched.server.app, lambda: store, watched.people)

    def ready(page):
        page.wait_for_selector("#row-5")
        page.click("#verify")
        says(page, "#verified", "each as it was written")

    in_pictures(watched, "/judgements", ready)
    store.close()


def test_a_run_in_pictures(watching, tmp_path):
    watched, draws = watching(Pace(heartbeat=30.0, glance=0.0)), np.random.default_rng(4)
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "config.yaml").write_text("steps: 10000\n")
    began = time.time() - 690
    os.utime(folder / "config.yaml", (began, began))
    (folder / "summary.json").write_text('{"kind": "guard", "completed": false}')
    lines = []
    for step in range(100, 7_000, 100):
        struck, blocked = (np.interp(step, (0, 1_000, 3_000, 4_000), way) for way in ((0, 7, 7, 0.3), (0, 40, 40, 60)))
        told = {"catastrophes": draws.poisson(struck), "blocks": draws.poisson(blocked)}
        told |= {"goals": draws.poisson(step / 700), "return": draws.normal(step / 500, 2)}
        lines.append(json.dumps({"step": step} | {name: float(value) for name, value in told.items()}) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    add_run(watched.server.app, folder, watched.people, lambda _: "")

    def ready(page):
        shows(page, "running")
        page.check("#smooth")
        until(page, lambda drawn: drawn == 4, lambda page: page.locator(".chart").count())
        page.get_by_role("slider", name="catastrophes").focus()
        page.keyboard.press("Home")
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        says(page, ".chart output >> nth=0", "at step 3,100")

    in_pictures(watched, "/run", ready)
