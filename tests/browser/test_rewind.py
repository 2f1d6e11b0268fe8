"""The last seconds, shown again: clearly as the past, bounded, judged by nobody; the present goes on elsewhere."""

from __future__ import annotations

import queue
import re

import numpy as np
import pytest
from waiting import says, shows, until
from watched_agent import drift, proposal_of, until_proposal

from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal

pytestmark = pytest.mark.browser

SLOW = Pace(rates=(4.0,), rate=0, heartbeat=5.0, glance=0.0)
PLACES = drift(24)
ARROW = "[...document.querySelectorAll('#action .arrow')].map((arrow) => arrow.dataset.start.split(',').map(Number))"


def drifting(env):
    """A proposal from each place of a drift, each to the right by a share of its own."""
    for step in range(10_000):
        state = PLACES[step % len(PLACES)]
        env.reset(options={"state": state})
        yield Proposal(state.astype(np.float32), np.array([0.2 + step / 100, 0.0], np.float32), {}, env, step)


def looked_back(watching, proposals=6, pace=SLOW, **agent):
    """A page on which some actions passed, and which shows the past now."""
    watched = watching(pace, proposals=drifting, **agent)
    page = watched.page(viewport={"width": 1280, "height": 800})
    proposal_of(page)
    page.keyboard.press(" ")
    until_proposal(page, proposals)
    page.keyboard.press("p")
    page.wait_for_selector("body[data-past]")
    return watched, page


def emptied(verdicts):
    while not verdicts.empty():
        verdicts.get()


def waits(watched):
    emptied(watched.agent.verdicts)
    with pytest.raises(queue.Empty):
        watched.agent.verdicts.get(timeout=0.8)


def test_the_past_is_what_was_shown_and_says_how_long_ago_that_was(watching):
    _watched, page = looked_back(watching)
    steps = []
    page.focus("#past-slider")
    page.keyboard.press("End")
    for _ in range(5):
        age = page.inner_text("#past-age")
        assert re.fullmatch(r"The past: \d+\.\d s ago", age)
        step = int(re.search(r"step (\d+)", page.get_attribute("#past-slider", "aria-valuetext"))[1]) - 1
        until(page, lambda found, step=step: found == f"right {20 + step}%", lambda page: page.inner_text("#words"))
        (start,) = until(page, bool, lambda page: page.evaluate(ARROW))
        x = (PLACES[step % len(PLACES)][0] + 0.11 + 4.25) / 8.5
        assert start[0] == pytest.approx(x, abs=2e-3)  # where the mass was then
        steps.append(step)
        page.keyboard.press("ArrowLeft")
    assert steps == list(range(steps[0], steps[0] - 5, -1))
    first = float(re.search(r"[\d.]+", page.inner_text("#past-age"))[0])
    says(page, "#past-age", f"{first + 0.6:.1f}"[:-1])  # and it grows older while it is looked at


def test_while_the_past_is_shown_nothing_passes_and_no_key_judges(watching):
    watched, page = looked_back(watching)
    says(page, "#state", "you look at the past: what is proposed waits until you are back")
    waits(watched)
    sent = []
    page.on("websocket", lambda line: sent.append(line.url))
    for key in "bac1hs":
        page.keyboard.press(key)
    for name in ("block", "allow", "catastrophe", "hold", "take", "step"):
        assert page.is_disabled(f"#{name}"), name
    says(page, "#notice", "the past is shown, and nothing is judged in it: P brings back the present")
    waits(watched)
    waiting = watched.overseer.desk.proposal
    page.keyboard.press("p")
    until(page, lambda seen: seen is None, lambda page: page.get_attribute("body", "data-past"))
    until_proposal(page, waiting + 2)
    assert watched.verdict().silent
    page.keyboard.press("b")
    while not (verdict := watched.verdict()).block:
        assert verdict.silent
    assert verdict.person == "ada"


def test_a_key_that_judges_after_the_return_is_about_what_is_proposed_then(watching):
    watched, page = looked_back(watching)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    waits(watched)
    page.click("#present")
    number = watched.overseer.desk.proposal
    until_proposal(page, number)
    words = watched.overseer.view.content["words"]
    until(page, lambda found: found == words, lambda page: page.inner_text("#words"))
    until(page, bool, lambda page: page.is_enabled("#allow"))
    page.keyboard.press("a")
    assert (verdict := watched.verdict()).person == "ada" and not verdict.block


def test_escape_from_the_past_pauses_and_labels_nothing(watching):
    watched, page = looked_back(watching)
    emptied(watched.agent.verdicts)
    page.keyboard.press("Escape")
    shows(page, "paused")
    assert page.get_attribute("body", "data-past") is None
    waits(watched)


def test_escape_from_the_past_pauses_whoever_acts_before_anything_is_in_view(watching):
    watched = watching(Pace(rates=(20.0,), rate=0, heartbeat=30.0, glance=0.0), proposals=drifting)
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("t")
    shows(page, "taken over")
    page.keyboard.press("p")
    page.wait_for_selector("body[data-past]")
    emptied(watched.agent.verdicts)
    waits(watched)
    page.keyboard.press("Escape")
    shows(page, "paused")
    waits(watched)


def test_the_key_that_shows_the_past_does_not_end_it_by_its_own_repeats_or_by_a_shortcut(watching):
    _, page = looked_back(watching)
    for told in ("{ key: 'p', repeat: true }", "{ key: 'p', ctrlKey: true }", "{ key: 'p', metaKey: true }"):
        page.evaluate(f"document.dispatchEvent(new KeyboardEvent('keydown', {told}))")
    assert page.get_attribute("body", "data-past") is not None


def test_what_is_kept_is_bounded_by_time(watching):
    watched = watching(Pace(rates=(20.0,), rate=0, heartbeat=30.0, glance=0.0), proposals=drifting)
    page = watched.browser.new_page()
    page.clock.install(time=0)
    watched.open(page)
    proposal_of(page)
    page.keyboard.press(" ")
    for number in range(2, 40):
        page.clock.run_for(500)
        until_proposal(page, number)
    page.keyboard.press("p")
    page.wait_for_selector("body[data-past]")
    assert 5 <= int(page.get_attribute("#past-slider", "max")) <= 45
    page.focus("#past-slider")
    page.keyboard.press("Home")
    page.clock.run_for(250)
    assert float(re.search(r"[\d.]+", page.inner_text("#past-age"))[0]) <= 10.6


def test_the_past_of_an_environment_without_a_picture_is_in_words_and_numbers(watching):
    _watched, page = looked_back(watching, render_mode=None)
    page.focus("#past-slider")
    page.keyboard.press("Home")
    words = page.inner_text("#words")
    page.keyboard.press("ArrowRight")
    until(page, lambda now: now != words, lambda page: page.inner_text("#words"))
    step = int(re.search(r"step\n(\d+)", page.inner_text("#counts"))[1]) - 1
    seen = float(page.inner_text("#numbers tbody tr:first-child td:nth-child(2)"))
    assert seen == pytest.approx(PLACES[step % len(PLACES)][0], rel=5e-3)


def test_another_person_sees_on_while_one_looks_back(watching):
    watched, page = looked_back(watching)
    bob = watched.page("bob")
    proposal_of(bob)
    says(page, "#state", "you look at the past: what is proposed is left to bob")
    emptied(watched.agent.verdicts)
    assert watched.verdict().person == "bob"
    page.keyboard.press("p")
    says(page, "#state", "watching")
