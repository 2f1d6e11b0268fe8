"""The overseer's page in a real browser: every key and state, lost sockets, two people, wrong tokens."""

from __future__ import annotations

import queue
import re
import shutil
import threading
import time

import gymnasium as gym
import numpy as np
import pytest

import heed.worlds  # noqa: F401 - registers point hazard
from heed.oversight.browser import BrowserOverseer
from heed.oversight.desk import Desk
from heed.oversight.gate import LARGEST
from heed.oversight.orders import Pace
from heed.oversight.overseers import Moment
from heed.oversight.people import People
from heed.oversight.serving import serving
from heed.oversight.watch_server import WatchServer

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 10.0


class Agent(threading.Thread):
    """Proposes one action after another in point hazard until it is stopped; acknowledges what is written down."""

    def __init__(self, overseer):
        super().__init__(daemon=True)
        self.overseer, self.verdicts, self.rows = overseer, queue.Queue(), 0
        self.env = gym.make("heed/PointHazard-v0", render_mode="rgb_array")

    def run(self):
        observation, info = self.env.reset(seed=0)
        rng = np.random.default_rng(0)
        for step in range(10_000):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            try:
                verdict = self.overseer.judge(Moment(observation, action, info, self.env, step))
            except Exception:  # noqa: BLE001 - the test is over, and the overseer says so
                return
            if verdict.written is not None:
                self.rows += 1
                verdict.written(self.rows)
            self.verdicts.put(verdict)


class Watched:
    """A served overseer with its agent, and the pages of people."""

    def __init__(self, browser, pace):
        self.over = threading.Event()
        self.overseer = BrowserOverseer(
            Desk(pace), about=lambda: {"phase": "oversight", "counts": {"judged": 3}}, stopping=self.over.is_set
        )
        self.people = People.named(["ada", "bob"], watchers=["eve"])
        self.browser, self.agent = browser, Agent(self.overseer)
        self.server = WatchServer(self.overseer, self.people, "heed/PointHazard-v0")

    def page(self, name="ada", token=None, **options):
        page = self.browser.new_page(**options)
        page.goto(f"{self.address}/#token={token or self.people.token_of(name)}")
        return page

    def verdict(self):
        return self.agent.verdicts.get(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        assert CHROMIUM is not None, "these tests need chromium: apt-get install chromium"
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def watched(browser):
    made = Watched(browser, Pace(rates=(0.01, 20.0), rate=1, heartbeat=5.0))
    with serving(made.server.app, largest=LARGEST) as made.address:
        made.agent.start()
        yield made
        made.over.set()
        for context in list(browser.contexts):
            context.close()
        made.agent.join(PATIENCE)


def shows(page, state):
    """Wait until the page says this state."""
    page.wait_for_selector(f"#state[data-state='{state}']", timeout=1000 * PATIENCE)


def until(page, right, what):
    """Ask the page until its answer is right: the page's policy forbids the scripts that playwright would wait by."""
    deadline = time.monotonic() + PATIENCE
    while not right(found := what(page)):
        assert time.monotonic() < deadline, f"still {found!r}"
        page.wait_for_timeout(20)
    return found


def moment_of(page):
    return int(until(page, bool, lambda page: page.get_attribute("body", "data-moment")))


def until_moment(page, number):
    until(page, lambda found: found >= number, moment_of)


def says(page, selector, text):
    until(page, lambda found: text in found, lambda page: page.inner_text(selector))


def test_a_fresh_page_is_paused_and_shows_what_is_proposed(watched):
    page = watched.page()
    shows(page, "paused")
    assert moment_of(page) == 1
    assert page.inner_text("#title") == "heed/PointHazard-v0"
    assert re.fullmatch(r"(left|right) \d+%, (up|down) \d+%", page.inner_text("#words"))
    assert page.evaluate("document.getElementById('frame').naturalWidth") == 425
    assert "judged" in page.inner_text("#counts")
    assert page.is_disabled("#block") and page.is_disabled("#allow") and page.is_enabled("#go")


@pytest.mark.parametrize(
    ("key", "block", "word"), [("b", True, "blocked"), ("a", False, "let pass"), ("c", True, "catastrophe")]
)
def test_verdicts_by_key_are_given_and_acknowledged(watched, key, block, word):
    page = watched.page()
    moment_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press(key)
    verdict = watched.verdict()
    assert (verdict.block, verdict.person, verdict.struck) == (block, "ada", key == "c")
    says(page, "#said", f"{word}: judgement 1 is on disk")


def test_buttons_do_what_the_keys_do(watched):
    page = watched.page()
    moment_of(page)
    page.click("#each")
    shows(page, "deciding")
    page.click("#block")
    assert watched.verdict().block is True
    until_moment(page, 2)
    page.click("#allow")
    assert watched.verdict().block is False


def test_space_goes_and_pauses_and_the_button_says_which(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    assert page.inner_text("#go span") == "Pause"
    until_moment(page, 4)
    page.keyboard.press(" ")
    shows(page, "paused")
    assert page.inner_text("#go span") == "Go on"
    before = moment_of(page)
    page.wait_for_timeout(300)
    assert moment_of(page) <= before + 1  # the one that was on its way


def test_one_step_is_one_step(watched):
    page = watched.page()
    first = moment_of(page)
    page.keyboard.press("s")
    until_moment(page, first + 1)
    shows(page, "paused")
    assert moment_of(page) == first + 1
    assert watched.verdict().block is False


def test_slower_waits_and_faster_goes_on(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press("-")
    page.keyboard.press(" ")
    shows(page, "watching")
    assert "100 s" in page.inner_text("#state")
    assert watched.agent.verdicts.empty()
    page.keyboard.press("+")
    assert watched.verdict().block is False


def test_a_held_block_blocks_everything(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    page.keyboard.press("h")
    page.wait_for_selector("#hold[aria-pressed='true']")
    while not watched.verdict().block:
        pass
    assert [watched.verdict().block for _ in range(5)] == [True] * 5
    page.keyboard.press("h")
    page.wait_for_selector("#hold[aria-pressed='false']")
    while watched.verdict().block:
        pass


def test_who_takes_over_acts_with_the_arrows(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press("t")
    shows(page, "taken over")
    assert "left left, right right, down down, up up" in page.inner_text("#acting")
    page.keyboard.down("ArrowRight")
    while not (found := watched.verdict()).instead or found.instead[0] == 0:
        assert found.instead == [0, 0]
    assert found.instead == [1, 0]
    page.keyboard.up("ArrowRight")
    page.keyboard.press("t")
    shows(page, "paused")


def test_the_last_verdict_is_taken_back(watched):
    retracted = []
    watched.overseer.retract = lambda row, person: retracted.append((row, person))
    page = watched.page()
    moment_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    watched.verdict()
    says(page, "#said", "on disk")
    page.keyboard.press("u")
    says(page, "#said", "taken back: judgement 1")
    assert retracted == [(1, "ada")]


def test_a_reaction_is_measured(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press("r")
    for _ in range(10):
        page.wait_for_selector("#target[data-lit='true']")
        page.wait_for_timeout(40)
        page.keyboard.press("b")
    says(page, "#measured", "You react in")
    page.click("#close")
    assert 0.02 < watched.overseer.desk.reactions["ada"] < 1.0
    assert watched.agent.verdicts.empty()  # none of it was a verdict


def test_a_closed_page_stops_the_agent_and_a_new_one_goes_on(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    watched.verdict()
    page.close()
    eve = watched.page("eve")
    shows(eve, "disconnected")
    back = watched.page()
    shows(back, "paused")
    number = moment_of(back)
    back.keyboard.press(" ")
    until_moment(back, number + 2)
    assert watched.verdict().block is False


def test_a_reload_in_the_middle_finds_the_desk_paused_at_the_same_moment(watched):
    page = watched.page()
    moment_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.reload()
    shows(page, "paused")
    assert moment_of(page) == 1
    assert watched.agent.verdicts.empty()


def test_two_people_see_the_same_and_a_watcher_may_press_nothing(watched):
    ada, bob, eve = (watched.page(name) for name in ("ada", "bob", "eve"))
    for page in (ada, bob, eve):
        assert moment_of(page) == 1
    ada.keyboard.press("e")
    for page in (ada, bob, eve):
        shows(page, "deciding")
    assert all(eve.is_disabled(f"#{name}") for name in ("block", "allow", "go", "step", "each", "hold", "take", "undo"))
    eve.keyboard.press("b")
    bob.keyboard.press("b")
    assert watched.verdict().person == "bob"
    until_moment(eve, 2)


def test_a_wrong_token_shows_nothing_and_says_why(watched):
    page = watched.page(token="guess")
    says(page, "#state", "the token is wrong")
    assert page.get_attribute("body", "data-moment") is None
    assert page.is_disabled("#go")


def test_hostile_words_stay_words(watched):
    watched.server.title = "<img src=x onerror='document.title=1'>"
    page = watched.page()
    says(page, "#title", "<img src=x")
    assert page.title() == "heed: watch"


def test_nothing_is_wider_than_a_phone(watched):
    page = watched.page(viewport={"width": 380, "height": 800})
    moment_of(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
