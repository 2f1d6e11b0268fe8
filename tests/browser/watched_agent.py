"""A served overseer whose agent proposes actions, and the pages of the people who watch it."""

from __future__ import annotations

import contextlib
import queue
import threading
from itertools import chain, repeat

import gymnasium as gym
import numpy as np
from waiting import PATIENCE, until

from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.store.store import Judgement
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer
from heed.worlds.point_hazard.geometry import Hazards, advance, clearance, hits

BRISK = Pace(rates=(0.01, 20.0), rate=1, heartbeat=5.0, glance=0.0)  # no test is a person
POINT_HAZARD = "heed/PointHazard-v0"


def random_proposals(env):
    """Proposals by chance, in an environment that stands still."""
    observation, info = env.reset(seed=0)
    env.action_space.seed(0)
    for step in range(10_000):
        yield Proposal(observation, env.action_space.sample(), info, env, step)


class Agent(threading.Thread):
    """Proposes one action after another until it is stopped; says that verdicts are on disk while it may.

    Args:
        overseer: whom it asks.
        env: where it acts.
        proposals: what it proposes, as a function of the environment.
    """

    def __init__(self, overseer, env, proposals):
        super().__init__(daemon=True)
        self.overseer, self.env, self.proposals = overseer, env, proposals
        self.verdicts, self.rows = queue.Queue(), 0
        self.disk = threading.Event()
        self.disk.set()

    def run(self):
        for proposal in self.proposals(self.env):
            try:
                verdict = self.overseer.judge(proposal)
            except Exception:  # noqa: BLE001 - the test is over, and the overseer says so
                return
            self.verdicts.put(verdict)
            for given in verdict.all:
                if given.key:
                    self.disk.wait(PATIENCE)
                    self.rows += 1
                    self.overseer.written(given, self.rows)


class Watched(contextlib.AbstractContextManager):
    """A served overseer with its agent, and the pages of people: ada and bob judge, eve watches.

    Args:
        browser: which opens the pages.
        pace: of the desk.
        env: id of the environment.
        proposals: what the agent proposes there.
        phase: of the run, as the page is told.
        votes: how many people judge each proposal.
        env_options: of the environment.
    """

    def __init__(
        self,
        browser,
        pace=None,
        env=POINT_HAZARD,
        proposals=random_proposals,
        phase="oversight",
        votes=1,
        **env_options,
    ):
        self.over = threading.Event()
        self.phase = phase
        self.overseer = HumanOverseer(Desk(pace or BRISK, votes=votes), about=self._about, stopping=self.over.is_set)
        if phase == "autonomy":
            self.overseer.go_alone()
        self.overseer.bind(self)
        self.retracted: list[tuple[int, str]] = []
        self.marked: list[Judgement] = []
        self.people = People.named(["ada", "bob"], watchers=["eve"])
        made = gym.make(env, **({"render_mode": "rgb_array"} | env_options))
        self.browser, self.agent = browser, Agent(self.overseer, made, proposals)
        self.server = WatchServer(self.overseer, self.people, env)
        self.address, self._served = "", contextlib.ExitStack()

    def __enter__(self):
        self.start()
        self.agent.start()
        return self

    def retract(self, row, person):
        """In place of a store: what was retracted, by whom."""
        self.retracted.append((row, person))
        self.overseer.retracted(row)

    def mark(self, proposal, person, note, key):
        """Likewise: what was marked, by whom."""
        shown = {"episode": proposal.episode, "step": proposal.step}
        if key not in {mark.key for mark in self.marked}:
            self.marked.append(Judgement("mark", person, shown, {"note": note}, key=key, id=len(self.marked) + 1))
        return next(mark.id for mark in self.marked if mark.key == key)

    def marks(self):
        return self.marked

    def _about(self):
        return {"phase": self.phase, "counts": {"judged": self.agent.rows}}

    def __exit__(self, *_):
        self.over.set()
        for context in list(self.browser.contexts):
            context.close()
        self.stop()
        self.agent.join(PATIENCE)

    def start(self):
        """Serve, at the same address again if it was served before."""
        port = int(self.address.rpartition(":")[2] or 0)
        self.address = self._served.enter_context(serving(self.server.app, port=port))

    def stop(self):
        """Serve no longer."""
        self._served.close()

    def page(self, name="ada", token=None, **options):
        page = self.browser.new_page(**options)
        self.open(page, name, token)
        return page

    def open(self, page, name="ada", token=None):
        """Let a page that is there already go to what is watched."""
        page.goto(f"{self.address}/#token={token or self.people.token_of(name)}")

    def verdict(self):
        return self.agent.verdicts.get(timeout=PATIENCE)


def proposal_of(page):
    """The number of the proposal that the page has rendered, as soon as there is one."""
    return int(until(page, bool, lambda page: page.get_attribute("body", "data-proposal")))


def with_more(page):
    """The page, as soon as it shows a proposal, with the buttons that are not there at first."""
    proposal_of(page)
    page.keyboard.press("m")
    page.wait_for_selector("#more[open]")
    return page


def until_proposal(page, number):
    """Wait until the page has rendered this proposal or a later one."""
    until(page, lambda found: found >= number, proposal_of)


WORLD = Hazards()
RISKY = np.array([-1.9, 0.05, 1.0, 0.1])


def drift(steps, state=(-3.3, -0.1, 0.75, 0.09)):
    """States [steps, 4] of a mass that drifts at the hazard."""
    found = [np.asarray(state)]
    while len(found) < steps:
        found.append(advance(found[-1], [0.2, 0.05], WORLD))
    return np.stack(found)


def imagined(state, count=20, steps=18):
    """Ways [count, steps + 1, 4] on from a state, by chance, and how near each comes to the hazard: risks [count]."""
    rng = np.random.default_rng(2)
    turns = rng.normal(0, 0.55, (count, 1, 2)) + rng.normal(0, 0.25, (count, steps, 2))
    ways = [np.tile(state, (count, 1))]
    for pushes in turns.swapaxes(0, 1):
        ways.append(advance(ways[-1], pushes, WORLD))
    found = np.stack(ways, axis=1)
    nearest = np.maximum(clearance(found, WORLD).min(-1), 0)
    return found, np.where(hits(found, WORLD).any(-1), 0.95, 0.9 * np.exp(-4 * nearest))


def futures(states=(RISKY,)):
    """Proposals at which the guard asks, and what it imagines: in these states of point hazard, the last for ever."""

    def proposals(env):
        for step, state in enumerate(chain(states, repeat(states[-1]))):
            env.reset(options={"state": state})
            ways, risks = imagined(state)
            told = {"risk": float(risks.mean()), "futures": ways, "future_risks": risks}
            yield Proposal(state.astype(np.float32), np.array([0.9, 0.15], np.float32), {}, env, step, **told)

    return proposals
