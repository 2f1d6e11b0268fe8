"""An overseer who sits before a page: each moment is laid on the desk, shown, and waited for."""

from __future__ import annotations

import io
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from heed.errors import HeedError, Stopped
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Answer, Order
from heed.oversight.overseers.base import Proposal, Verdict
from heed.oversight.presentation import action_in_words, action_names, drawn_futures, name_of
from heed.runs.files import to_json

logger = logging.getLogger(__name__)

KEPT = 10_000
"""Orders and judgements that are remembered, so that retries are known and the latest can be taken back."""
LONGEST_WAIT = 0.2
"""Seconds after which a waiting agent looks whether it is to stop."""
GLANCES = 20
"""Frames in a second of what nobody is asked about, at most."""
QUALITY = 80
"""Of the frames' JPEG."""


@dataclass(frozen=True)
class View:
    """What a page shows of a moment.

    Args:
        number: of the moment, from 1.
        told: all that is shown in words and numbers, as JSON.
        frame: a JPEG; None where the environment draws nothing.
    """

    number: int
    told: dict[str, Any]
    frame: bytes | None


@dataclass(frozen=True, eq=False)
class _Given:
    """A judgement on disk: its key, who gave it, its row, and what is learnt from it.

    Args:
        key: of the judgement.
        person: who gave it.
        row: where it is.
        label: key of the one that is learnt from, where several people judged.
        standing: keys of those who said the same as that one, and have not taken it back.
    """

    key: str
    person: str
    row: int
    label: str
    standing: set[str]


class HumanOverseer:
    """Waits for what a person says of a moment, or for the desk to let it pass in view.

    The agent's thread calls `judge` and waits in it; a server's thread connects pages, gives orders and asks what is in
    view. Both work under one lock, which is never held while anybody waits.

    Args:
        desk: who may act now.
        about: what a page shows beside the moment itself, as JSON: the phase, counts; asked at each moment.
        stopping: whether the run is to stop; looked at while the agent waits.

    Attributes:
        view: what is to be shown now; None before the first moment.
        changed: called, from either thread, when there is something new to be shown or told.
        retract: takes a judgement back in the store, by its id and the person who does; the run sets it.
    """

    name = "browser"

    def __init__(
        self,
        desk: Desk | None = None,
        about: Callable[[], dict[str, Any]] = dict,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.desk = Desk() if desk is None else desk
        self.about, self.stopping = about, stopping
        self.view: View | None = None
        self.changed: Callable[[], None] = lambda: None
        self._wakes = threading.Condition()
        self._shown = 0
        self._first = 1  # moment of the episode
        self._glanced = 0.0
        self.retract: Callable[[int, str], Any] = lambda *_: None
        self._heard: dict[str, None] = {}
        self._written: dict[str, int] = {}
        self._late: dict[str, None] = {}  # keys of what came as an episode ended
        self._on_the_way: dict[str, str] = {}  # to the disk: keys, and whose they are
        self._given: deque[_Given] = deque(maxlen=KEPT)  # and on disk
        self._cannot_draw = False
        self._taken_back: queue.SimpleQueue[str] = queue.SimpleQueue()

    def judge(self, moment: Proposal) -> Verdict:
        """Show a moment, and wait.

        Raises:
            Stopped: the run is to stop.
        """
        view = self._view_of(moment)
        with self._wakes:
            self._shown, self.view = view.number, view
            self._first = view.number if moment.step == 0 else min(self._first, view.number)
            late = self.desk.put(view.number, asked=moment.risk is not None, begins=moment.step == 0)
            if late:
                self._late[late] = None
                _forget(self._late)
            self.changed()
            while (answer := self.desk.answer()) is None:
                if self.stopping():
                    raise Stopped
                self._wakes.wait(min(self.desk.due() + 1e-3, LONGEST_WAIT))
        self.changed()
        return self._verdict(answer, view.number)

    def alone(self) -> None:
        """From now on the agent acts by itself, and asks where it is unsure."""
        self._tell(self.desk.go_alone)

    def glance(self, moment: Proposal) -> None:
        """Show a moment that nobody is asked about, if somebody looks, and not more of them than a film has."""
        with self._wakes:
            watched, now = self.desk.watched, self.desk.clock()
        if watched and now - self._glanced >= 1 / GLANCES:
            self._glanced = now
            view = self._view_of(replace(moment, risk=None))
            with self._wakes:
                self._shown, self.view = view.number, view
            self.changed()

    def rest(self) -> None:
        """Wait as long as somebody has paused an agent that acts by itself.

        Raises:
            Stopped: the run is to stop.
        """
        with self._wakes:
            before, rests = self.desk.state, self.desk.rests(stepped=True)
            if rests or self.desk.state is not before:
                self.changed()
            while rests:
                if self.stopping():
                    raise Stopped
                self._wakes.wait(LONGEST_WAIT)
                rests = self.desk.rests(stepped=False)

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def connect(self, page: str, person: str, judges: bool) -> None:
        """A page is there."""
        self._tell(lambda: self.desk.connect(page, person, judges))

    def gone(self, page: str) -> None:
        """A page is gone."""
        self._tell(lambda: self.desk.gone(page))

    def beat(self, page: str) -> bool:
        """A page says that it is alive; whether it is still taken for connected."""
        with self._wakes:
            return self.desk.beat(page)

    def drawn(self, page: str, number: int) -> None:
        """A page has drawn a moment."""
        self._tell(lambda: self.desk.drawn(page, number))

    def order(self, page: str, order: Order) -> None:
        """Do what a person says, once for each key.

        Raises:
            HeedError: it cannot be done (see `Desk.order`).
        """
        if order.key and order.key in self._heard:  # a retry: the page did not hear that it was heard
            return
        self._tell(lambda: self.desk.order(page, order))
        if order.key:
            self._heard[order.key] = None
            _forget(self._heard)

    def undo(self, person: str) -> int:
        """Take a person's last judgement back: in the store now, in what is learnt from at the next step.

        Returns:
            The judgement's id.

        Raises:
            HeedError: there is none.
            RunFailed: the store refuses; nothing is taken back.
        """
        with self._wakes:
            if person in self.desk.said or person in self._on_the_way.values():
                raise HeedError("your last verdict is not on disk yet", "undo", "wait until it is, or block after all")
            mine = next((given for given in reversed(self._given) if given.person == person), None)
        if mine is None:
            raise HeedError("there is nothing of yours to take back", "undo", "judge first")
        self.retract(mine.row, person)  # which waits for the disk, as nobody else should
        self.retracted(mine.row)
        return mine.row

    def retracted(self, row: int) -> None:
        """A judgement was taken back by its id, here or at another page: what is learnt from follows at the next step.

        What nobody said in this run, or what passed in silence, changes nothing.
        """
        with self._wakes:
            for given in [given for given in self._given if given.row == row]:
                self._given.remove(given)
                if given.key in given.standing:
                    given.standing.remove(given.key)
                    if not given.standing:  # nobody else says the same
                        self._taken_back.put(given.label)

    def taken_back(self) -> list[str]:
        """The keys of what was taken back since this was last asked."""
        found = []
        while not self._taken_back.empty():
            found.append(self._taken_back.get())
        return found

    def stands(self) -> dict[str, Any]:
        """How the desk stands, as pages show it."""
        with self._wakes:
            desk = self.desk
            return {
                "state": desk.state.value,
                "why": desk.why,
                "rate": desk.pace.rates[desk.rate],
                "holding": desk.holding,
                "acting": desk.acting,
                "people": desk.people,
                "moment": desk.moment,
                "said": desk.said,
                "votes": desk.votes,
                "alone": desk.alone,
            }

    def written(self, key: str) -> int | None:
        """The id of the judgement that an order became, None as long as it is not on disk."""
        return self._written.get(key)

    def late(self, key: str) -> bool:
        """Whether an order came as the episode ended, so that it is about nothing."""
        return key in self._late

    def _tell(self, what: Callable[[], None]) -> None:
        with self._wakes:
            what()
            self._wakes.notify_all()
        self.changed()

    def _view_of(self, moment: Proposal) -> View:
        number = self._shown + 1
        told = {
            "number": number,
            "episode": moment.episode,
            "step": moment.step,
            "observation": to_json(moment.observation),
            "action": to_json(moment.action),
            "words": action_in_words(moment.action, moment.env),
            "acts": _acts(moment.env),
            "futures": drawn_futures(moment),
            "risk": to_json(moment.risk),
            "asked": moment.risk is not None,
            **self.about(),
        }
        return View(number, told, self._frame_of(moment.env))

    def _frame_of(self, env: gym.Env[Any, Any] | None) -> bytes | None:
        if env is None or env.render_mode != "rgb_array" or self._cannot_draw:
            return None
        try:
            return jpeg(np.asarray(env.render()))
        except Exception as problem:  # noqa: BLE001 - a foreign renderer; what it cannot draw is still shown in words
            self._cannot_draw = True
            logger.warning("the environment cannot be drawn (%s: %s)", type(problem).__name__, problem)
            return None

    def _verdict(self, answer: Answer, number: int) -> Verdict:
        all_said = (answer, *answer.others)
        standing = {said.key for said in all_said if said.block == answer.block}
        first, *others = (self._one_verdict(said, number, answer.key, standing) for said in all_said)
        return replace(first, others=tuple(others))

    def _one_verdict(self, answer: Answer, number: int, label: str, standing: set[str]) -> Verdict:
        since = number if answer.since is None else max(answer.since, self._first)
        said = Verdict(
            answer.block,
            latency_ms=1e3 * answer.seconds,
            instead=answer.instead,
            failed=not answer.person,
            person=answer.person,
            credit=number - since,
            struck=answer.struck,
            silent=answer.silent,
            acted=answer.acted,
        )
        if not answer.key:
            return said

        self._on_the_way[answer.key] = answer.person

        def written(row: int) -> None:
            with self._wakes:
                self._on_the_way.pop(answer.key, None)
                self._written[answer.key] = row
                _forget(self._written)
                self._given.append(_Given(answer.key, answer.person, row, label, standing))
            self.changed()

        return replace(said, key=answer.key, written=written)


def _forget(known: dict[str, Any]) -> None:
    """Drop the oldest beyond what is kept."""
    while len(known) > KEPT:
        del known[next(iter(known))]


def _acts(env: gym.Env[Any, Any] | None) -> dict[str, Any] | None:
    """What a person who acts in the agent's place can do, as the page needs to know it."""
    if env is None:
        return None
    space, names = env.action_space, action_names(env)
    if isinstance(space, gym.spaces.Discrete):
        return {
            "choices": [name_of(n, names) for n in range(int(space.n))],
            "start": int(space.start),
        }
    if isinstance(space, gym.spaces.Box):
        low, high = space.low.reshape(-1).tolist(), space.high.reshape(-1).tolist()
        return {"low": low, "high": high, "axes": None if names is None else [list(pair) for pair in names]}
    return None


def jpeg(picture: np.ndarray[Any, Any]) -> bytes:
    """A picture uint8 [height, width, 3] as a JPEG.

    >>> jpeg(np.zeros((8, 8, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
