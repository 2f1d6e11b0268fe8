"""The pages for everybody: axe-core finds nothing in any state, and a keyboard and a screen reader are enough."""

from __future__ import annotations

import re

import numpy as np
import pytest
from axe import NARROW, WIDE, clean
from compare_room import PAIRS
from waiting import says, shows, until
from watched_agent import futures, proposal_of, random_proposals, until_proposal, with_more

from heed.oversight.comparisons.pairs import Pair
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal
from heed.oversight.store.store import Judgement, Store
from heed.web.judgements import add_judgements
from heed.web.run import add_run

pytestmark = pytest.mark.browser

CALM = Pace(rates=(20.0,), rate=0, patience=60.0, heartbeat=10.0, glance=0.0)


@pytest.mark.parametrize("state", ["paused", "watching", "deciding", "taken over"])
def test_axe_finds_nothing_in_any_state_of_the_desk(watching, state):
    page = watching(CALM, proposals=futures()).page()
    proposal_of(page)
    keys = {"paused": "", "watching": " ", "deciding": "e", "taken over": "t"}[state]
    for key in keys:
        page.keyboard.press(key)
    shows(page, state)
    clean(page)


def test_axe_finds_nothing_where_one_only_watches_or_may_not_come_in_or_the_server_is_gone(watching):
    watched = watching(CALM)
    for page in (watched.page("eve"), watched.page()):
        proposal_of(page)
        clean(page)
    stranger = watched.page(token="guess")
    says(stranger, "#state", "the token is wrong")
    clean(stranger)
    watched.stop()
    shows(page, "disconnected")
    clean(page)


def test_axe_finds_nothing_while_a_reaction_is_measured_or_a_block_is_held(watching):
    page = with_more(watching(CALM).page())
    page.keyboard.press(" ")
    shows(page, "watching")
    page.keyboard.down("h")
    page.wait_for_selector("#hold[aria-pressed='true']")
    clean(page)
    page.keyboard.press("r")
    page.wait_for_selector("#calibration[open]")
    clean(page)
    page.wait_for_selector("#target[data-lit='true']")
    clean(page)


def test_axe_finds_nothing_where_there_is_no_picture(watching):
    ways = np.zeros((3, 4, 4)) + np.arange(4)[:, None]

    def proposals(env):
        for proposal in random_proposals(env):
            told = {"risk": 0.4, "futures": ways, "future_risks": np.array([0.1, 0.2, 0.4])}
            yield Proposal(proposal.observation, 0, {}, env, proposal.step, **told)

    page = watching(CALM, env="heed/CliffGrid-v0", proposals=proposals, render_mode=None).page()
    proposal_of(page)
    assert page.is_visible("#beside") and page.is_visible("#none")
    clean(page)


def test_axe_finds_nothing_while_people_compare(comparing):
    long = "word " * 800  # more than fits in its frame
    room = comparing([*PAIRS, Pair("long", "?", (long, long + "more"))])
    page = room.page()
    for pair in ("cough", "fever", "ache", "long"):
        page.wait_for_selector(f"body[data-pair='{pair}']")
        for key in ("d", "q", "ArrowLeft", "2", "t"):
            page.keyboard.press(key)
        clean(page)
        page.keyboard.press("Enter")
    says(page, "#nothing", "Everything is compared")
    clean(page)


def test_axe_finds_nothing_where_one_waits_for_others_or_for_the_server(comparing):
    room = comparing(PAIRS[:1])
    ada, bob = room.page("ada"), room.page("bob")
    says(bob, "#nothing", "other people's hands")
    clean(bob)
    room.stop()
    shows(ada, "disconnected")
    for key in ("t", "2", "t", "Enter"):
        ada.keyboard.press(key)
    clean(ada)


def test_axe_finds_nothing_on_the_pages_beside_which_tell_the_run_and_what_was_said(watching, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    for person, block in (("ada", True), ("bob", False)):
        shown = {"observation": [0.5], "action": [1.0], "episode": 0, "step": 3}
        store.add(Judgement("block", person, shown, {"block": block}, "run"))
    (tmp_path / "summary.json").write_text('{"kind": "guard", "completed": false}')
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {n}, "catastrophes": {n % 3}}}\n' for n in range(1, 9)))
    watched = watching(CALM)
    add_judgements(watched.server.app, lambda: store, watched.people)
    add_run(watched.server.app, tmp_path, watched.people, lambda _: "<!doctype html><title>report</title>")
    page = watched.page()
    proposal_of(page)
    for path in ("/judgements", "/run", "/"):
        page.click(f"nav a[href^='{path}#']")
        page.wait_for_selector(f"nav a[href^='{path}#'][aria-current=page]")
        page.wait_for_selector("#state:not([data-state='connecting'], [data-state='disconnected'])")
        clean(page)
    store.close()


STOP = """() => {
    const here = document.activeElement, box = here.getBoundingClientRect(), style = getComputedStyle(here);
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height, 40) / 2);
    return [here.id, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        here === document.body || (top !== null && here.contains(top))]; }"""


def tab_stops(page, most=30):
    """Where Tab leads from the page's start, once around; each must be in view and show that it has the focus."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        name, outlined, in_view = page.evaluate(STOP)
        if name in stops or (stops and not name):
            return stops
        if name:
            assert outlined, f"nobody sees that {name} has the focus"
            assert in_view, f"{name} has the focus and is hidden"
            stops.append(name)
    raise AssertionError(f"no end to {stops}")


WATCH_STOPS = [
    "block",
    "allow",
    "go",
    "more-keys",
    "step",
    "each",
    "slower",
    "faster",
    "hold",
    "take",
    "catastrophe",
    "undo",
    "mark",
    "rewind",
    "react",
    "why",
    "note",
]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_tab_reaches_every_control_of_the_desk_in_the_order_in_which_they_stand(watching, size):
    page = watching(CALM).page(viewport=size)
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    first = WATCH_STOPS[: WATCH_STOPS.index("more-keys") + 1]
    assert tab_stops(page) == first
    page.keyboard.press("m")
    page.evaluate("document.activeElement.blur()")
    assert tab_stops(page) == WATCH_STOPS


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_tab_reaches_every_control_of_a_comparison_in_the_order_in_which_they_stand(comparing, size):
    page = comparing().page(viewport=size)
    page.wait_for_selector("body[data-pair='cough']")
    rows = ["objective-0-left", "objective-1-left"]
    stops = ["left", "unsafe-left", "right", "unsafe-right", *rows, "submit", "diff", "plain", "comment", "undo"]
    assert tab_stops(page) == stops  # the prompt has the focus from the start


def test_the_desk_is_operated_by_tab_enter_and_space_alone(watching):
    watched = watching(CALM)
    page = watched.page()
    proposal_of(page)

    def tab_to(name):
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"Tab does not lead to {name}")

    tab_to("more-keys")
    page.keyboard.press("Enter")
    tab_to("each")
    page.keyboard.press("Enter")
    shows(page, "deciding")
    tab_to("allow")
    for number, key in enumerate(("Enter", " ", "Enter"), start=1):
        until_proposal(page, number)
        until(page, bool, lambda page: page.is_enabled("#allow"))
        page.keyboard.press(key)  # the focus stays, though the button is out of use in between
        assert watched.verdict().block is False
        assert page.evaluate("document.activeElement.id") == "allow"
    shows(page, "deciding")


def test_a_comparison_is_made_by_tab_enter_and_space_alone(comparing):
    room = comparing()
    page = room.page()
    page.wait_for_selector("body[data-pair='cough']")
    row_by_row = ("Tab", " ", "Tab", "Tab", " ", "Tab", " ", "Tab", "Tab")  # slightly and much stand behind each left
    for key in ("Tab", "Tab", " ", "Tab", "Tab", *row_by_row, "Tab", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("body[data-pair='fever']")
    (row,) = room.store.effective("compare")
    assert row.verdict == {
        "objectives": {"help": "left", "harmless": "left"},
        "unsafe": {"left": True, "right": False},
        "grades": {"help": "much"},
    }
    assert page.evaluate("document.activeElement.id") == "prompt"  # where reading begins anew


def test_the_window_that_measures_keeps_the_focus_and_gives_it_back(watching):
    page = with_more(watching(CALM).page())
    page.focus("#react")
    page.keyboard.press("Enter")
    page.wait_for_selector("#calibration[open]")
    here = []
    for _ in range(6):
        here.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert set(here) - {""} == {"target", "close"} and here[0] == "target"  # "" is the browser's own frame
    page.keyboard.press("Escape")
    page.wait_for_selector("#calibration", state="hidden")
    assert page.evaluate("document.activeElement.id") == "react"


WRITTEN = """name => { window.written = 0;
    const watch = new MutationObserver((found) => { window.written += found.length; });
    watch.observe(document.getElementById(name), {childList: true, characterData: true, subtree: true}); }"""


def test_what_is_read_aloud_is_written_only_when_it_changes(watching):
    page = watching(CALM).page()
    proposal_of(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    until_proposal(page, 3)
    page.evaluate(WRITTEN, "state")
    until_proposal(page, proposal_of(page) + 5)
    assert page.evaluate("window.written") == 0
    assert page.get_attribute("#words", "aria-live") == "off"  # it changes twenty times a second
    page.keyboard.press("e")
    shows(page, "deciding")
    assert page.evaluate("window.written") > 0
    assert page.get_attribute("#words", "aria-live") == "polite"


def heard(page):
    """What a screen reader makes of the page: roles, names and states."""
    return page.locator("body").aria_snapshot()


def test_a_screen_reader_hears_what_every_control_of_the_desk_does_now(watching):
    page = with_more(watching(CALM, proposals=futures()).page())
    page.keyboard.press("e")
    shows(page, "deciding")
    said = heard(page)
    for line in (
        'heading "heed/PointHazard-v0" [level=1]',
        'img "the environment, as the agent is in it now"',
        'img "risk of the latest proposals"',
        'button "B Block this action"',
        'button "A Let it pass"',
        'button "Space Pause"',
        'button "E Let them pass by themselves"',
        'button "H Hold to block"',
        "paragraph: 20 futures; the worst has a risk of 95%",
    ):
        assert line in said, said
    assert re.search(r'status: "it asks you: \d\d s left, then it is blocked"', said), said
    page.keyboard.press(" ")
    shows(page, "paused")
    assert 'button "B Block (nothing runs)" [disabled]' in heard(page)


def test_a_screen_reader_hears_what_a_comparison_asks(comparing):
    page = comparing().page()
    page.wait_for_selector("body[data-pair='cough']")
    page.keyboard.press("2")
    page.keyboard.press("t")
    page.keyboard.press("d")
    said = heard(page)
    for line in (
        'group "The prompt"',
        'group "Left"',
        'checkbox "Q The left one is unsafe"',
        'group "1 Better by help"',
        'group "2 Better by harmless"',
        'radio "tie" [checked]',
        'button "D Show what differs" [pressed]',
        'button "U Take my last comparison back" [disabled]',
        'progressbar "compared by all"',
    ):
        assert line in said, said
    page.keyboard.press("Enter")
    says(page, "#notice", "nothing is said of help yet")
    assert 'status: "nothing is said of help yet: left, tie, both bad, right, or skip it"' in heard(page)
