"""The overseer's page in a real browser: every key and state, lost sockets, two people, wrong tokens."""

from __future__ import annotations

import contextlib
import json
import queue
import re

import numpy as np
import pytest
from waiting import Wire, says, shows, until
from watched_agent import futures, proposal_of, random_proposals, until_proposal, with_more

from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal

pytestmark = pytest.mark.browser


@pytest.fixture
def watched(watching):
    return watching()


def waits(watched):
    """Assert that the agent does nothing more: what is on the desk stays there, for several of its turns."""
    while not watched.agent.verdicts.empty():
        watched.agent.verdicts.get()
    with pytest.raises(queue.Empty):
        watched.agent.verdicts.get(timeout=0.3)


def passing(watched):
    """A page on which proposals pass by themselves."""
    page = watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    return page


def test_a_fresh_page_is_paused_and_shows_what_is_proposed(watched):
    page = watched.page()
    shows(page, "paused")
    assert proposal_of(page) == 1
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
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press(key)
    verdict = watched.verdict()
    assert (verdict.block, verdict.person, verdict.catastrophe) == (block, "ada", key == "c")
    says(page, "#notice", f"{word}: judgement 1 is on disk")


def test_buttons_do_what_the_keys_do(watched):
    page = with_more(watched.page())
    page.click("#each")
    shows(page, "deciding")
    page.click("#block")
    assert watched.verdict().block is True
    until_proposal(page, 2)
    page.click("#allow")
    assert watched.verdict().block is False


def test_space_goes_and_pauses_and_the_button_says_which(watched):
    page = passing(watched)
    assert page.inner_text("#go span") == "Pause"
    until_proposal(page, 4)
    page.keyboard.press(" ")
    shows(page, "paused")
    assert page.inner_text("#go span") == "Go on"
    waits(watched)


def test_one_step_is_one_step(watched):
    page = watched.page()
    first = proposal_of(page)
    page.keyboard.press("s")
    until_proposal(page, first + 1)
    shows(page, "paused")
    assert proposal_of(page) == first + 1
    assert watched.verdict().block is False


def test_slower_waits_and_faster_goes_on(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("-")
    page.keyboard.press(" ")
    shows(page, "watching")
    assert "100 s" in page.inner_text("#state")
    assert watched.agent.verdicts.empty()
    page.keyboard.press("+")
    assert watched.verdict().block is False


def test_a_held_block_blocks_everything(watched):
    page = with_more(passing(watched))
    page.keyboard.down("h")
    page.wait_for_selector("#hold[aria-pressed='true']")
    while not watched.verdict().block:
        pass
    assert [watched.verdict().block for _ in range(5)] == [True] * 5
    page.keyboard.up("h")
    page.wait_for_selector("#hold[aria-pressed='false']")
    while watched.verdict().block:
        pass


def test_who_takes_over_acts_with_the_arrows(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("t")
    shows(page, "taken over")
    assert "← left, → right, ↓ down, ↑ up; no key, no push" in page.inner_text("#acting")
    page.keyboard.down("ArrowRight")
    while not (found := watched.verdict()).instead or found.instead[0] == 0:
        assert found.instead == [0, 0]
    assert found.instead == [1, 0]
    page.keyboard.up("ArrowRight")
    page.keyboard.press("t")
    shows(page, "paused")


def test_a_key_that_is_down_since_before_the_takeover_does_not_act(watched):
    page = with_more(watched.page())
    proposal_of(page)
    page.keyboard.down("ArrowRight")
    page.click("#take")
    shows(page, "taken over")
    page.keyboard.down("ArrowRight")  # as the keyboard repeats it
    for _ in range(3):
        idle = watched.verdict()
        assert (idle.instead, idle.acted, idle.silent) == ([0, 0], True, True)
    page.keyboard.up("ArrowRight")
    page.keyboard.down("ArrowRight")
    while (found := watched.verdict()).silent:
        assert found.instead == [0, 0]
    assert (found.instead, found.acted, found.shows) == ([1, 0], True, True)


def test_the_last_verdict_is_undone(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    watched.verdict()
    says(page, "#notice", "on disk")
    page.keyboard.press("u")
    says(page, "#notice", "taken back: judgement 1")
    assert watched.retracted == [(1, "ada")]


def test_a_reaction_is_measured(watched):
    page = watched.browser.new_page()
    page.clock.install(time=0)
    watched.open(page)
    proposal_of(page)
    page.clock.pause_at(60_000)
    page.keyboard.press("r")
    page.keyboard.press("b")
    assert page.inner_text("#measured") == "too early: wait until it is red"
    for _ in range(10):
        while page.get_attribute("#target", "data-lit") == "false":
            page.clock.run_for(50)
        page.clock.run_for(300)
        page.keyboard.press("b")
    says(page, "#measured", "You react in 3")
    until(page, bool, lambda _: watched.overseer.desk.reactions)
    assert 0.3 <= watched.overseer.desk.reactions["ada"] <= 0.36  # a step and a frame more, at most
    page.click("#close")
    assert watched.agent.verdicts.empty()  # none of it was a verdict


def test_a_closed_page_stops_the_agent_and_a_new_one_goes_on(watched):
    page = passing(watched)
    watched.verdict()
    page.close()
    eve = watched.page("eve")
    shows(eve, "disconnected")
    back = watched.page()
    shows(back, "paused")
    number = proposal_of(back)
    back.keyboard.press(" ")
    until_proposal(back, number + 2)
    assert watched.verdict().block is False


def test_a_reload_in_the_middle_finds_the_desk_paused_at_the_same_proposal(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.reload()
    shows(page, "paused")
    assert proposal_of(page) == 1
    assert watched.agent.verdicts.empty()


def test_two_people_see_the_same_and_a_watcher_may_press_nothing(watched):
    ada, bob, eve = (watched.page(name) for name in ("ada", "bob", "eve"))
    for page in (ada, bob, eve):
        assert proposal_of(page) == 1
    ada.keyboard.press("e")
    for page in (ada, bob, eve):
        shows(page, "deciding")
    assert all(eve.is_disabled(f"#{name}") for name in ("block", "allow", "go", "step", "each", "hold", "take", "undo"))
    eve.keyboard.press("b")
    bob.keyboard.press("b")
    assert watched.verdict().person == "bob"
    until_proposal(eve, 2)


def test_a_wrong_token_shows_nothing_and_says_why(watched):
    page = watched.page(token="guess")
    says(page, "#state", "the token is wrong")
    assert page.get_attribute("body", "data-proposal") is None
    assert page.is_disabled("#go")


def test_hostile_words_stay_words(watched):
    watched.server.title = "<img src=x onerror='document.title=1'>"
    page = watched.page()
    says(page, "#title", "<img src=x")
    assert page.title() == "paused – heed"


def test_nothing_is_wider_than_a_phone(watched):
    page = watched.page(viewport={"width": 380, "height": 800})
    proposal_of(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


@pytest.mark.parametrize("ends", ["blur", "line", "hidden", "elsewhere"])
def test_a_held_block_is_let_go_with_the_window_and_with_the_line(watched, ends):
    page = watched.browser.new_page()
    wire = Wire(page, "/watch")
    watched.open(page)
    with_more(page)
    page.keyboard.press(" ")
    shows(page, "watching")
    if ends == "elsewhere":  # the key comes up where it did not go down
        page.focus("#hold")
        page.keyboard.down("Enter")
    else:
        page.keyboard.down("h")
    page.wait_for_selector("#hold[aria-pressed='true']")
    if ends == "elsewhere":
        page.focus("#slower")
        page.keyboard.up("Enter")
    elif ends == "line":
        wire.cut()
        shows(page, "paused")
        page.keyboard.press(" ")
    elif ends == "blur":
        page.evaluate("window.dispatchEvent(new Event('blur'))")
    else:
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#hold[aria-pressed='false']")
    while watched.verdict().block:
        pass


def test_escape_blocks_what_is_proposed_and_lets_the_agent_wait(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("Escape")
    shows(page, "paused")
    given = []
    with contextlib.suppress(queue.Empty):
        while True:
            given.append(watched.agent.verdicts.get(timeout=0.3))
    assert len(given) <= 1  # the block, if the agent came for it before it had to wait
    page.keyboard.press(" ")
    verdict = (given or [watched.verdict()])[0]
    assert (verdict.block, verdict.person) == (True, "ada")


def test_a_run_that_is_over_says_how_it_ended_and_is_not_waited_for(watched):
    page = passing(watched)
    watched.overseer.end("the run is over: 7 goals; its report is runs/x/report.html")
    shows(page, "over")
    watched.stop()
    page.wait_for_timeout(1500)
    assert page.inner_text("#state") == "the run is over: 7 goals; its report is runs/x/report.html"
    assert page.title() == "over – heed"
    assert all(page.is_disabled(f"#{name}") for name in ("block", "allow", "go", "each", "hold", "take", "undo"))


def test_every_button_orders_what_it_says(watched):
    page = with_more(watched.page())
    first = proposal_of(page)
    page.click("#step")
    until_proposal(page, first + 1)
    shows(page, "paused")
    page.click("#slower")
    page.click("#go")
    says(page, "#state", "an action passes after 100 s in view")
    page.hover("#hold")
    page.mouse.down()
    assert watched.verdict().block is False  # of the one step
    assert watched.verdict().block is True
    says(page, "#hold", "Let go: everything is blocked")
    page.mouse.up()
    page.wait_for_selector("#hold[aria-pressed='false']")
    assert page.inner_text("#notice") == ""
    page.click("#faster")
    says(page, "#state", "an action passes after 1/20 s in view")
    page.click("#take")
    shows(page, "taken over")
    says(page, "#take", "Give back")
    page.click("#take")
    shows(page, "paused")
    page.click("#each")
    shows(page, "deciding")
    page.click("#catastrophe")
    says(page, "#notice", "catastrophe: judgement")
    page.click("#undo")
    says(page, "#notice", "taken back: judgement")
    page.click("#go")
    shows(page, "paused")


def test_a_key_that_is_held_down_is_one_verdict_and_a_browsers_own_key_is_none(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("Control+b")
    page.keyboard.press("Alt+a")
    for _ in range(3):
        page.keyboard.down("b")  # the second and third are repeats
    page.keyboard.up("b")
    assert watched.verdict().block is True
    until_proposal(page, 2)
    waits(watched)


def test_taking_back_what_was_never_given_is_refused_in_words(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("u")
    says(page, "#notice", "there is nothing of yours to take back")


def test_choices_are_acted_by_their_digits(watching):
    watched = watching(env="heed/CliffGrid-v0")
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("t")
    shows(page, "taken over")
    assert (
        page.inner_text("#acting") == "You act: 0 coast, 1 up, 2 down, 3 left, 4 right, ↑ up, ↓ down, ← left, → right"
    )
    page.keyboard.press("7")  # there is no seventh
    waits(watched)
    for number, digit in enumerate("402", start=1):
        until_proposal(page, number)
        page.keyboard.press(digit)
        verdict = watched.verdict()
        assert (verdict.instead, verdict.acted, verdict.person) == (int(digit), True, "ada")


def test_an_environment_without_a_picture_is_told_in_words(watching):
    watched = watching(render_mode=None)
    page = watched.page()
    proposal_of(page)
    assert page.inner_text("#none") == "This environment draws no picture: these are its numbers."
    rows = [
        [cell.inner_text() for cell in row.locator("th, td").all()] for row in page.locator("#numbers tbody tr").all()
    ]
    seen = watched.overseer.view.content["observation"]
    assert [row[0] for row in rows] == ["x", "y", "x velocity", "y velocity"]
    assert [float(row[1]) for row in rows] == pytest.approx(seen, rel=5e-3)
    assert not page.is_visible("#frame")
    assert re.fullmatch(r"(left|right) \d+%, (up|down) \d+%", page.inner_text("#words"))


LINES = """place => [...document.querySelectorAll(`#${place} .way`)].map((line) => {
    const style = getComputedStyle(line);
    return [Number(style.getPropertyValue("--risk")), style.stroke, parseFloat(style.strokeWidth),
        line.getAttribute("d").match(/[ML]/g).join("")];
})"""


def test_imagined_futures_lie_over_the_picture_coloured_by_their_risk(watching):
    watched = watching(proposals=futures())
    page = watched.page()
    proposal_of(page)
    told = watched.overseer.view.content["futures"]
    risks, strokes, widths, steps = zip(*page.evaluate(LINES, "over"), strict=True)
    assert list(risks) == told["risks"] and len(risks) == 20
    assert set(steps) == {"M" + "L" * 18}
    assert len(set(strokes)) == len(set(risks)) and strokes[0] != strokes[-1]
    assert list(widths) == sorted(widths) and widths[0] < 1.75 and widths[-1] > 2.5
    says(page, "#imagined-words", "20 futures; the worst has a risk of 95%")
    assert not page.is_visible("#beside")
    box, picture = page.locator("#over").bounding_box(), page.locator("#frame").bounding_box()
    assert all(abs(box[side] - picture[side]) < 2 for side in box)


def test_futures_that_have_no_place_in_the_picture_lie_beside_it(watching):
    ways = np.array([[[0.0, 0, 0, 0], [1, 1, 0, 0]], [[0.0, 0, 0, 0], [np.nan, 1, 0, 0]]])

    def proposals(env):
        for proposal in random_proposals(env):
            yield Proposal(
                proposal.observation,
                0,
                {},
                env,
                proposal.step,
                risk=0.4,
                futures=ways,
                future_risks=np.array([0.1, 0.4]),
            )

    page = watching(env="heed/CliffGrid-v0", proposals=proposals).page()
    proposal_of(page)
    assert page.is_visible("#beside")
    found = page.evaluate(LINES, "beside")
    assert [line[0] for line in found] == [0.1, 0.4] and [line[3] for line in found] == ["ML", "M"]
    says(page, "#imagined-words", "2 futures; the worst has a risk of 40%")
    says(page, "#imagined-words", "(parts 0 and 1 of the state)")


def test_risk_is_drawn_over_time_the_latest_at_the_right_edge(watching):
    watched = watching(proposals=futures())
    page = watched.page()
    proposal_of(page)

    def drawn():
        return page.get_attribute("#risks path", "d")

    height = 1 - watched.overseer.view.content["risk"]
    assert drawn() == f"M99 {height}h0"
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("a")
    until_proposal(page, 2)
    assert drawn() == f"M98 {height}h0L99 {height}"


def test_where_nobody_looked_no_risk_is_drawn(watched):
    page = watched.page()
    proposal_of(page)
    assert not page.is_visible("#risks") and not page.is_visible("#imagined")


def left_on(page):
    """The seconds that a page says are left."""
    found = re.fullmatch(r"it asks you: (\d+) s left, then it is blocked", page.inner_text("#state"))
    return int(found[1])


def test_an_agent_that_asks_gets_a_verdict(watching):
    watched = watching(Pace(patience=60.0, glance=0.0), proposals=futures())
    page = watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    says(page, "#allow", "Let it pass")
    says(page, "#state", "it asks you: ")
    first = left_on(page)
    until(page, lambda left: left < first, left_on)
    assert page.title() == "asks you – heed"
    page.wait_for_selector("#allow[aria-disabled='false']")
    page.keyboard.press("a")
    verdict = watched.verdict()
    assert (verdict.block, verdict.person, verdict.silent) == (False, "ada", False)


def test_an_agent_that_asks_in_vain_is_blocked_and_nothing_is_learnt_from_it(watching):
    watched = watching(Pace(rates=(50.0,), rate=0, patience=0.3, glance=0.0), proposals=futures())
    page = watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    verdict = watched.verdict()
    assert (verdict.block, verdict.person, verdict.failed, verdict.key) == (True, "", True, "")
    assert verdict.latency_ms >= 300


def test_an_agent_that_acts_by_itself_says_so(watching):
    page = watching(phase="autonomy", proposals=lambda env: [next(random_proposals(env))]).page()
    proposal_of(page)
    says(page, "#state", "the agent acts by itself; you are asked where it is unsure or stuck")


def test_a_server_that_goes_in_the_middle_stops_the_agent_and_comes_back_paused(watched):
    page = watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    until_proposal(page, 3)
    watched.stop()
    shows(page, "disconnected")
    says(page, "#state", "disconnected: the agent waits: trying again")
    assert all(
        page.is_disabled(f"#{name}") for name in ("block", "allow", "go", "step", "each", "hold", "take", "undo")
    )
    page.keyboard.press("b")
    waits(watched)
    watched.start()
    shows(page, "paused")
    number = proposal_of(page)
    page.keyboard.press(" ")
    until_proposal(page, number + 2)
    assert watched.verdict().block is False


def test_a_verdict_that_is_not_known_to_be_on_disk_is_sent_again_and_is_one(watched):
    page = watched.browser.new_page()
    wire = Wire(page, "/watch")
    watched.agent.disk.clear()
    watched.open(page)
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    assert watched.verdict().block is True
    wire.cut()
    shows(page, "disconnected")
    shows(page, "paused")
    until(page, lambda sent: len(sent) == 2, lambda _: [order for order in orders(wire) if order["do"] == "block"])
    watched.agent.disk.set()
    says(page, "#notice", "blocked: judgement 1 is on disk")
    until_proposal(page, 2)
    assert len({order["key"] for order in orders(wire) if order["do"] == "block"}) == 1
    page.keyboard.press("e")
    waits(watched)
    assert watched.agent.rows == 1


def test_a_block_that_never_arrived_holds_when_the_line_is_back(watched):
    page = watched.browser.new_page()
    wire = Wire(page, "/watch", loses='"do":"block"')
    watched.open(page)
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("b")
    shows(page, "disconnected")
    shows(page, "paused")
    until(page, lambda sent: len(sent) == 2, lambda _: [order for order in orders(wire) if order["do"] == "block"])
    page.keyboard.press("e")
    verdict = watched.verdict()
    assert (verdict.block, verdict.person) == (True, "ada")
    says(page, "#notice", "blocked: judgement 1 is on disk")


def orders(wire):
    """What a page ordered over a wire."""
    said = [json.loads(message) for message in wire.sent]
    return [message["order"] for message in said if "order" in message]


def test_a_page_that_freezes_stops_the_agent_and_is_known_again_when_it_thaws(watching):
    watched = watching(Pace(rates=(20.0,), rate=0, heartbeat=2.0))
    eve, page = watched.page("eve"), watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    shows(eve, "watching")
    tools = page.context.new_cdp_session(page)
    tools.send("Debugger.enable")
    tools.send("Debugger.pause")
    shows(eve, "disconnected")
    says(eve, "#state", "nobody who may judge is here: the agent waits")
    waits(watched)
    tools.send("Debugger.disable")
    shows(page, "paused")
    page.keyboard.press(" ")
    shows(eve, "watching")
    assert watched.verdict().block is False


def test_nobody_pressing_anything_pauses_what_passes_by_itself(watching):
    watched = watching(Pace(rates=(20.0,), rate=0, idle=1.0))
    page = watched.page()
    proposal_of(page)
    page.keyboard.press(" ")
    says(page, "#state", "paused: nobody pressed a key for 1 s")
    waits(watched)


def test_a_held_block_is_let_go_when_its_page_dies(watched):
    ada, bob = watched.page("ada"), with_more(watched.page("bob"))
    proposal_of(ada)
    ada.keyboard.press(" ")
    shows(bob, "watching")
    ada.keyboard.down("h")
    says(bob, "#hold", "ada blocks everything")
    assert bob.is_disabled("#hold")
    while not watched.verdict().block:
        pass
    ada.close()
    says(bob, "#hold", "Hold to block")
    shows(bob, "watching")
    while watched.verdict().block:
        pass


def test_who_acts_and_goes_leaves_the_agent_paused(watched):
    ada, bob = watched.page("ada"), watched.page("bob")
    proposal_of(ada)
    proposal_of(bob)
    ada.keyboard.press("t")
    shows(bob, "taken over")
    says(bob, "#acting", "ada acts")
    assert bob.is_disabled("#take")
    ada.close()
    says(bob, "#state", "paused: ada, who acted, is gone")
    waits(watched)


SLOW = Pace(rates=(0.2,), rate=0, heartbeat=5.0, glance=1.0)
"""So slow a person that a page is sure to be faster."""


def test_what_was_hardly_in_view_is_blocked_and_says_nothing_and_is_not_let_pass(watching):
    watched = watching(SLOW)
    page = watched.page()
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    page.wait_for_timeout(1000 * SLOW.glance)
    page.keyboard.press("a")
    assert watched.verdict().latency_ms >= 1000 * SLOW.glance
    until_proposal(page, 2)
    page.keyboard.press("a")
    says(page, "#notice", "look at it first")
    assert watched.agent.verdicts.empty()
    page.keyboard.press("b")
    verdict = watched.verdict()
    assert (verdict.block, verdict.glimpsed) == (True, True) and verdict.latency_ms < 1000 * SLOW.glance
    says(page, "#notice", "it was hardly in view, so nothing is learnt of it")


def test_a_reason_is_given_with_its_block_by_a_digit_or_in_words(watching):
    watched = watching()
    watched.server.reasons = ["too fast", "too near"]
    page = watched.page()
    proposal_of(page)
    assert page.get_by_role("button", name="2 too near").is_disabled()
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("2")
    assert watched.verdict().reason == "too near"
    until_proposal(page, 2)
    page.get_by_role("button", name="1 too fast").click()
    assert watched.verdict().reason == "too fast"
    until_proposal(page, 3)
    page.keyboard.press("9")  # there is no ninth
    page.keyboard.press("m")
    page.fill("#why", "about to slip")
    page.keyboard.press("b")  # in the field it is a letter
    assert page.input_value("#why") == "about to slipb"
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    assert watched.verdict().reason == "about to slip"
    until_proposal(page, 4)
    assert page.input_value("#why") == ""
    page.focus("#block")
    page.keyboard.press("b")
    assert watched.verdict().reason == ""


def test_who_has_never_seen_it_is_told_what_to_do_until_they_begin(watching):
    watched = watching()
    watched.overseer.bind(watched, task="a mass with momentum")
    page = watched.page()
    proposal_of(page)
    told = page.locator("#briefing li").all_inner_texts()
    assert told[0] == "An agent learns here, and you are its overseer. A mass with momentum."
    assert "Silence lets an action pass after 1/20 s in view" in told[2] and told[3].startswith("Press Space to begin")
    assert page.inner_text("#state") == "paused: press Space to begin"
    assert watched.page("eve").is_hidden("#briefing")
    page.keyboard.press(" ")
    shows(page, "watching")
    assert page.is_hidden("#briefing")
    page.keyboard.press(" ")
    shows(page, "paused")
    assert page.is_hidden("#briefing")


@pytest.mark.parametrize("size", [(1280, 800), (640, 400), (390, 844)])
def test_state_proposal_and_verdicts_are_in_view_at_once(watching, size):
    width, height = size  # the second is the first at 200%, the third a phone
    page = watching(proposals=futures()).page(viewport={"width": width, "height": height})
    proposal_of(page)
    page.keyboard.press("e")
    shows(page, "deciding")
    for name in ("state", "frame", "words", "block", "allow", "go"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["y"] >= 0 and box["y"] < height - 20, name
        top = page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", [box["x"] + 6, box["y"] + 6])
        assert top in (name, "over"), f"{name} lies under {top}"


def test_what_a_block_did_is_told_until_the_next(watched):
    page = watched.page()
    proposal_of(page)
    assert page.is_hidden("#outcome")
    watched.overseer.happened("Step 3: blocked by ada; instead, as planned: left 40%")
    says(page, "#outcome", "Step 3: blocked by ada; instead, as planned: left 40%")


def test_an_observation_that_nobody_can_read_is_said_to_be_none(watching):
    def proposals(env):
        for proposal in random_proposals(env):
            yield Proposal(np.zeros(100), proposal.action, {}, env, proposal.step)

    page = watching(proposals=proposals, render_mode=None).page()
    proposal_of(page)
    assert page.inner_text("#none").startswith("You are blind here") and page.is_hidden("#numbers")


PAD = """const buttons = Array.from({length: 17}, () => ({pressed: false}));
window.pad = {mapping: "standard", axes: [0, 0, 0, 0], buttons};
navigator.getGamepads = () => [null, window.pad];"""


def test_a_gamepad_judges_pauses_holds_and_acts(watched):
    page = watched.browser.new_page()
    page.add_init_script(PAD)
    watched.open(page)
    proposal_of(page)

    def pad(button, is_down):
        page.evaluate("([button, down]) => { window.pad.buttons[button].pressed = down; }", [button, is_down])

    def press(button):
        pad(button, True)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        pad(button, False)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    page.keyboard.press("e")
    shows(page, "deciding")
    for number, (button, block) in enumerate([(1, True), (0, False)], start=1):
        until_proposal(page, number)
        press(button)
        verdict = watched.verdict()
        assert (verdict.block, verdict.silent) == (block, False)
    until_proposal(page, 3)
    pad(2, True)
    says(page, "#state", "you hold the block")
    assert [watched.verdict().block for _ in range(3)] == [True] * 3
    pad(2, False)
    shows(page, "deciding")
    until(page, lambda said: "hold" not in said, lambda page: page.inner_text("#state"))
    press(9)
    shows(page, "paused")
    press(3)
    shows(page, "taken over")
    page.evaluate("() => { window.pad.axes[0] = 0.9; window.pad.axes[1] = -0.8; }")
    while (found := watched.verdict()).instead is None or found.instead[0] == 0:
        pass
    assert found.instead == [1, 1] and found.acted
    page.evaluate("() => { window.pad.axes[0] = 0; window.pad.axes[1] = 0; }")
    while watched.verdict().instead != [0, 0]:
        pass


def test_an_observation_that_is_one_number_or_a_square_is_shown(watching):
    def proposals(env):
        for step, proposal in enumerate(random_proposals(env)):
            seen = np.array(7) if step == 0 else np.arange(4.0).reshape(2, 2)
            yield Proposal(seen, proposal.action, {}, env, proposal.step)

    page = watching(proposals=proposals, render_mode=None).page()
    proposal_of(page)
    assert page.locator("#numbers tbody td:nth-child(2)").all_inner_texts() == ["7.00"]
    page.keyboard.press("e")
    shows(page, "deciding")
    page.keyboard.press("a")
    until_proposal(page, 2)
    assert page.locator("#numbers tbody td:nth-child(2)").all_inner_texts() == ["0.00", "1.00", "2.00", "3.00"]
