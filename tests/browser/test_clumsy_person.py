"""A clumsy person at the overseer's page: what is kept was in view as it says, and no sentence was contradicted.

`HEED_CLUMSY_SECONDS=3600 pytest -m browser tests/browser/test_clumsy_person.py -s` is the hour; half a minute without.
"""

from __future__ import annotations

import collections
import json
import os
import random
import re
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
from waiting import Wire
from watched_agent import imagined

import heed.worlds  # noqa: F401 - registers point hazard
from heed.errors import Stopped
from heed.oversight.control.desk import Desk
from heed.oversight.control.said import said_of
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.store.store import Store
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer

SECONDS = float(os.environ.get("HEED_CLUMSY_SECONDS", "30"))
SEEN = """(() => {
    const tell = (what, about) => console.log(JSON.stringify({heed: what, about, at: Date.now() / 1000}));
    const watch = () => new MutationObserver(() => {
        const state = document.getElementById("state");
        if (state && state.textContent !== watch.state) tell("says", watch.state = state.textContent);
        const number = document.body && document.body.dataset.proposal;
        if (number && number !== watch.number) tell("renders", Number(watch.number = number));
    }).observe(document, {childList: true, subtree: true, characterData: true, attributes: true});
    watch();
})()"""
LATE = 1.5
"""Seconds that a page may be behind: it is told by messages, and this one is on a busy machine."""


class Diary(Desk):
    """A desk that notes each verdict: when, on which proposal, what was to be said of it then."""

    def __init__(self):
        super().__init__()
        self.verdicts, self.human = [], None

    def collect(self):
        number, status = self.proposal, {} if self.human is None else self.human.status()
        verdict = super().collect()
        if verdict is not None:
            self.verdicts.append((time.time(), number, status, verdict))
        return verdict


class Agent(threading.Thread):
    """Acts by chance in point hazard: at first under the eyes of people, then by itself, asking now and then."""

    def __init__(self, human, overseer, seed):
        super().__init__(daemon=True)
        self.human, self.overseer, self.draws = human, overseer, np.random.default_rng(seed)
        self.alone, self.failed = threading.Event(), None

    def run(self):
        try:
            self._act()
        except Stopped:
            pass
        except Exception as problem:  # noqa: BLE001 - told by the test
            self.failed = problem

    def _act(self):
        env, episode = gym.make("heed/PointHazard-v0", render_mode="rgb_array"), 0
        observation, info = env.reset(seed=1)
        step, alone = 0, False
        while True:
            if self.alone.is_set() and not alone:
                alone = True
                self.human.go_alone()
            action = self.draws.uniform(-1, 1, 2).astype(np.float32)
            proposal = Proposal(observation, action, info, env, step, episode)
            if alone and self.draws.random() > 0.2:
                self.human.show(proposal)
                self.human.wait_while_paused()
                time.sleep(0.05)
                executed = action
            else:
                told = {}
                if alone:
                    ways, risks = imagined(observation.astype(float), steps=6)
                    told = {"risk": float(risks.mean()), "futures": ways, "future_risks": risks}
                verdict = self.overseer.judge(Proposal(observation, action, info, env, step, episode, **told))
                executed = np.zeros(2, np.float32) if verdict.block else action
            observation, _, ended, cut, info = env.step(executed)
            step += 1
            if ended or cut or step == 60:
                observation, info = env.reset()
                step, episode = 0, episode + 1


def permits(sentence, verdict, left):
    """Whether what a page says lets one expect this verdict."""
    if sentence.startswith("paused: one step was taken"):
        return not verdict.silent or verdict.latency_ms >= 20.0 - 1e-6  # of the fastest rate
    if sentence.startswith(("paused", "the run is over", "nobody who may judge is here: the agent waits")):
        return False
    if sentence.startswith("taken over"):
        return verdict.acted or verdict.failed or (verdict.block and not verdict.silent)
    if sentence.startswith("everything is blocked"):
        return verdict.block
    if sentence.startswith("deciding"):
        return not verdict.silent
    if sentence.startswith("you look at the past: what is proposed waits"):
        return False
    if sentence.startswith("you look at the past"):
        return verdict.person != "ada"
    if sentence.startswith("it asks"):
        by_time = verdict.failed and not verdict.person
        return not verdict.silent and (not by_time or left is None or left < 0.25)
    if (told := re.search(r"(?:passes|is taken) after (1/)?([\d.]+) s in view", sentence)) and verdict.silent:
        after = 1 / float(told[2]) if told[1] else float(told[2])
        return verdict.latency_ms >= 1e3 * after - 1e-6
    return not (verdict.silent and sentence.startswith("every action waits"))


class Clumsy:
    """Presses what is there, and what is not; freezes the tab, loses the line, reloads, zooms."""

    def __init__(self, browser, address, draws):
        self.draws, self.address = draws, address
        self.page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.add_init_script(SEEN)
        self.page.on("console", self._hear)
        self.wire = Wire(self.page, "/watch")
        self.says, self.renders, self.did = [], collections.defaultdict(list), collections.Counter()
        self.page.goto(address)
        self.wait(0.5)

    def _hear(self, message):
        if message.text.startswith('{"heed"'):
            told = json.loads(message.text)
            if told["heed"] == "says":
                self.says.append((told["at"], told["about"]))
            else:
                self.renders[told["about"]].append(told["at"])

    def wait(self, seconds):
        self.page.wait_for_timeout(1000 * seconds)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def act(self):
        ways = [
            (30, self.mash), (12, self.go), (5, self.each), (6, lambda: self.press(self.draws.choice("+-s"))),
            (5, self.hold), (4, self.take), (4, lambda: self.press("u")), (2, lambda: self.press("c")),
            (3, lambda: self.press("Escape")), (3, lambda: self.press("m")), (2, self.measure), (3, self.click),
            (4, self.rewind), (3, lambda: self.press("x")),
            (2, self.reload), (2, self.wire.cut), (2, self.freeze), (2, self.zoom), (2, self.blur),
            (20, lambda: self.wait(self.draws.uniform(0.05, 2.5))),
        ]  # fmt: skip
        does = self.draws.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
        self.did[getattr(does, "__name__", "")] += 1
        does()
        self.wait(self.draws.choice([0.0, 0.02, 0.1, 0.3]))

    def mash(self):
        for _ in range(self.draws.randint(1, 6)):
            self.press(self.draws.choice("bbaab1"))
            self.wait(self.draws.choice([0.0, 0.01, 0.05, 0.15, 0.4]))

    def go(self):
        self.press(" ")
        self.wait(self.draws.uniform(0.2, 3.0))

    def each(self):
        self.press("e")
        for _ in range(self.draws.randint(1, 5)):
            self.wait(self.draws.uniform(0.0, 0.6))
            self.press(self.draws.choice("ab"))

    def hold(self):
        self.page.keyboard.down("h")
        self.wait(self.draws.uniform(0.05, 2.0))
        if self.draws.random() < 0.8:
            self.page.keyboard.up("h")
        else:
            self.blur()

    def take(self):
        self.press("t")
        for _ in range(3):
            key = self.draws.choice(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])
            self.page.keyboard.down(key)
            self.wait(self.draws.uniform(0.05, 0.6))
            self.page.keyboard.up(key)
        self.press(self.draws.choice(["t", " ", "e"]))

    def measure(self):
        self.press("r")
        self.wait(self.draws.uniform(0.1, 2.0))
        self.press("b", "Escape")

    def click(self):
        buttons = self.page.locator("main button:visible").all()
        if buttons:
            self.draws.choice(buttons).click(timeout=500, force=True, no_wait_after=True)

    def reload(self):
        self.page.reload()
        self.wait(self.draws.uniform(0.1, 1.5))

    def freeze(self):
        tools = self.page.context.new_cdp_session(self.page)
        tools.send("Debugger.enable")
        tools.send("Debugger.pause")
        time.sleep(self.draws.uniform(0.3, 4.0))
        tools.send("Debugger.disable")
        tools.detach()

    def rewind(self):
        """Look at the past, press there what judges, and come back, or do not."""
        self.press("p")
        for _ in range(self.draws.randint(1, 6)):
            self.press(
                self.draws.choice(["ArrowLeft", "ArrowRight", "Home", "b", "a", "x", "1", "c", " ", "s", "h", "t"])
            )
            self.wait(self.draws.choice([0.0, 0.05, 0.3, 1.0]))
        if self.draws.random() < 0.9:
            self.press(self.draws.choice(["p", "p", "Escape"]))

    def zoom(self):
        width, height = self.draws.choice([(1280, 800), (640, 400), (390, 844), (1920, 1080)])
        self.page.set_viewport_size({"width": width, "height": height})

    def blur(self):
        self.page.evaluate("window.dispatchEvent(new Event('blur'))")


@pytest.mark.browser
@pytest.mark.timeout(SECONDS + 300)
def test_what_a_clumsy_person_leaves_was_in_view_and_nothing_that_was_said_was_contradicted(browser, tmp_path):
    desk, over, store = Diary(), threading.Event(), Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    human = desk.human = HumanOverseer(desk, stopping=over.is_set)
    recorded = Recorded(human, listeners=[human])
    recorded.begin(store, "clumsy", "heed/PointHazard-v0")
    human.bind(recorded)
    people = People.named(["ada"])
    server, agent = WatchServer(human, people, "point hazard", reasons=["too fast"]), Agent(human, recorded, seed=2)
    with serving(server.app) as address:
        agent.start()
        person = Clumsy(browser, f"{address}/#token={people.token_of('ada')}", random.Random(11))
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends and agent.is_alive():
            person.act()
            if time.monotonic() > ends - 0.4 * SECONDS:
                agent.alone.set()
        person.wait(0.5)
        over.set()
        agent.join(20)
        person.page.close()
    assert agent.failed is None, agent.failed
    refused = [
        (at, number, status["state"], verdict)
        for at, number, status, verdict in desk.verdicts
        if not permits(said_of(status, "ada", True).sentence, verdict, status["left_s"])
    ]
    assert refused == []
    contradicted = []
    for at, number, status, verdict in desk.verdicts:
        before = [said for when, said in person.says if when < at - LATE][-1:]  # still shown as the time began
        recent = {*before, *(said for when, said in person.says if at - LATE <= when <= at + LATE)}
        recent = {said.replace(" s left", " left") for said in recent}
        shows = verdict.person == "ada" and recent  # a frozen page says what it said, and nothing may pass unseen by it
        if shows and not any(permits(said, verdict, None) for said in recent):
            contradicted.append((at, number, verdict, recent, status["state"]))
    assert contradicted == []
    judgements, marks = store.effective("block"), store.effective("mark")
    rows = {judgement.key: judgement for judgement in judgements}
    assert store.verify() >= len(judgements) + len(marks) > len(marks)
    assert all({"episode", "step"} <= mark.shown.keys() for mark in marks)
    labels = [each for each in judgements if not (each.verdict.get("acted") or each.verdict.get("glimpsed"))]
    slowest = 1e3 * desk.pace.glance
    for each in labels:
        fastest = 1e3 / max(desk.pace.rates) if each.verdict.get("silent") else slowest
        assert each.latency_ms >= fastest - 1e-6, each
    shorter = []
    for at, number, _, verdict in desk.verdicts:
        if verdict.is_label and verdict.person == "ada" and person.renders.get(number):
            seen = at - min(person.renders[number])
            if seen < verdict.latency_ms / 1e3 - 0.1:
                shorter.append((number, seen, verdict.latency_ms))
    assert shorter == []
    kinds = collections.Counter(
        "silent" if each.verdict.get("silent") else "block" if each.verdict["block"] else "allow" for each in labels
    )
    glimpsed = sum(bool(each.verdict.get("glimpsed")) for each in judgements)
    print(
        f"\n{SECONDS:.0f} s, {sum(person.did.values())} things done: {len(rows)} judgements, of them labels "
        f"{dict(kinds)}, {glimpsed} hardly in view; {len(marks)} marks; {len(person.says)} sentences shown"
    )
    assert labels and (SECONDS < 300 or len(kinds) == 3)
    store.close()
