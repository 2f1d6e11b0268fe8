"""An overseer who sits before a page: each proposal is put on the desk, shown, and waited for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from heed.errors import HeedError, Stopped
from heed.oversight.control.desk import Desk
from heed.oversight.control.given import GivenVerdicts, forget_oldest
from heed.oversight.control.records import Order
from heed.oversight.control.view import View, Viewer
from heed.oversight.overseers.base import Proposal, Scope, Verdict
from heed.oversight.store.store import Judgement

LONGEST_WAIT = 0.2
"""Seconds after which a waiting agent looks whether it is to stop."""
LATEST = 500
"""Proposals of which any can be marked: ten seconds of the fastest."""
FRAMES = 20
"""In a second, at most, of what nobody is asked about."""

About = Callable[[], dict[str, Any]]
"""What a page shows beside a proposal, as JSON: the phase, counts."""


class Recorder(Protocol):
    """Who writes a person's verdicts down and can retract them, as `heed.oversight.Recorded` does."""

    def retract(self, row: int, person: str) -> None:
        """Retract the judgement with this id, and let the overseer know by `HumanOverseer.retracted`."""
        ...

    def mark(self, proposal: Proposal, person: str, note: str, key: str) -> int:
        """Write down that somebody marked a moment; the id of the row that says so."""
        ...

    def marks(self) -> list[Judgement]:
        """The moments that were marked in this run, oldest first."""
        ...


class HumanOverseer:
    """Waits for a person's verdict on a proposal, or for the desk to let it pass in view.

    The agent's thread calls `judge` and waits in it; a server's thread connects pages, gives orders and asks what is in
    view. Both work under one lock, which is never held while anybody waits.

    It is a listener of whoever writes its verdicts down: ``recorded = Recorded(human, listeners=[human])``, then
    ``human.bind(recorded)``. As long as nobody does, verdicts are obeyed and cannot be undone.

    Args:
        desk: who may act now.
        about: what a page shows beside the proposal itself; asked at each.
        stopping: whether the run is to stop; looked at while the agent waits.
        task: what people are told before they begin: what moves, and what a catastrophe is; "" leaves it to the run.

    Attributes:
        view: what is to be shown now; None before the first proposal.
    """

    name = "browser"
    scope = Scope()

    def __init__(
        self,
        desk: Desk | None = None,
        about: About = dict,
        stopping: Callable[[], bool] = lambda: False,
        task: str = "",
    ) -> None:
        self.desk = Desk() if desk is None else desk
        self.view: View | None = None
        self._about, self._stopping = about, stopping
        self._recorder: Recorder | None = None
        self._notified: list[Callable[[], None]] = []
        self._wakes = threading.Condition()
        self._viewer, self._shown, self._shown_at = Viewer(), 0, 0.0
        self._orders: dict[str, None] = {}  # keys of those that were obeyed
        self._late: dict[str, None] = {}  # keys of those that came as an episode ended
        self._given = GivenVerdicts()
        self._latest: dict[int, Proposal] = {}  # by number
        self._retractions: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._task, self._ended, self._outcome = task, "", ""
        self._learning: Callable[[], bool] = lambda: False

    def bind(
        self,
        recorder: Recorder,
        about: About | None = None,
        learning: Callable[[], bool] = lambda: False,
        task: str = "",
    ) -> None:
        """A run begins.

        Args:
            recorder: who writes the verdicts down.
            about: what pages show beside a proposal; None leaves it as it was.
            learning: whether the run is learning from what was said; asked from any thread.
            task: what people are told before they begin, unless they are told something already.
        """
        self._recorder, self._learning, self._task = recorder, learning, self._task or task
        if about is not None:
            self._about = about

    @contextmanager
    def notifying(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within: called, from any thread, whenever there is something new to show or to report."""
        self._notified.append(callback)
        try:
            yield
        finally:
            self._notified.remove(callback)

    # What the agent's thread calls.

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Show a proposal, and wait for the verdict on it.

        Raises:
            Stopped: the run is to stop.
        """
        view = self._next_view(proposal)
        with self._wakes:
            self._shown, self.view = view.number, view
            late = self.desk.put(view.number, asked=proposal.risk is not None, begins=proposal.step == 0)
            if late:
                self._late[late] = None
                forget_oldest(self._late)
            self._notify()
            while (verdict := self.desk.collect()) is None:
                if self._stopping():
                    raise Stopped
                self._wakes.wait(min(self.desk.due() + 1e-3, LONGEST_WAIT))
            if self._recorder is not None:
                self._given.add(verdict)
        self._notify()
        return verdict

    def go_alone(self) -> None:
        """From now on the agent acts by itself, and asks where it is unsure."""
        self._change(self.desk.go_alone)

    def happened(self, words: str) -> None:
        """What the last block did, in words; it stays on the pages until the next."""
        self._outcome = words
        self._notify()

    def end(self, words: str) -> None:
        """The run is over, or stopped: nothing is asked any more, and pages say this instead."""
        self._ended = self._ended or words
        self._notify()

    def show(self, proposal: Proposal) -> None:
        """Show a proposal that nobody is asked about, if somebody looks, and not more of them than a film has."""
        with self._wakes:
            watched, now = bool(self.desk.pages), self.desk.clock()
        if watched and now - self._shown_at >= 1 / FRAMES:
            self._shown_at = now
            view = self._next_view(replace(proposal, risk=None))
            with self._wakes:
                self._shown, self.view = view.number, view
            self._notify()

    def wait_while_paused(self) -> None:
        """Wait as long as somebody has paused an agent that acts by itself.

        Raises:
            Stopped: the run is to stop.
        """
        with self._wakes:
            before, halts = self.desk.state, self.desk.halts(stepped=True)
            if halts or self.desk.state is not before:
                self._notify()
            while halts:
                if self._stopping():
                    raise Stopped
                self._wakes.wait(LONGEST_WAIT)
                halts = self.desk.halts(stepped=False)

    def retractions(self) -> list[str]:
        """The keys of the labels that were retracted since this was last asked."""
        keys = []
        while not self._retractions.empty():
            keys.append(self._retractions.get())
        return keys

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    # What a server's thread calls.

    def connect(self, page: str, person: str, judges: bool) -> None:
        """A page is there."""
        self._change(lambda: self.desk.connect(page, person, judges))

    def disconnect(self, page: str) -> None:
        """A page is gone."""
        self._change(lambda: self.desk.disconnect(page))

    def heartbeat(self, page: str) -> bool:
        """A page says that it is alive; whether it still counts as connected."""
        with self._wakes:
            return self.desk.heartbeat(page)

    def rendered(self, page: str, number: int) -> None:
        """A page has rendered a proposal."""
        self._change(lambda: self.desk.rendered(page, number))

    def look(self, page: str, back: bool) -> None:
        """A page shows the past, or the present again."""
        self._change(lambda: self.desk.look(page, back))

    def order(self, page: str, order: Order) -> None:
        """Do what a person orders, once for each key.

        Raises:
            HeedError: it cannot be done (see `Desk.order`).
        """
        if order.key and order.key in self._orders:  # a retry: the page does not know that the order arrived
            return
        self._change(lambda: self.desk.order(page, order))
        if order.key:
            self._orders[order.key] = None
            forget_oldest(self._orders)

    def undo(self, person: str) -> int:
        """Retract a person's last judgement: in the store now, in what is learnt from at the next step.

        Returns:
            The judgement's id.

        Raises:
            HeedError: there is none.
            RunFailed: the store refuses; nothing is retracted.
        """
        if self._recorder is None:
            raise HeedError("nothing is written down here", "undo", "block after all")
        with self._wakes:
            if person in self.desk.judged_by or self._given.awaits_disk(person):
                raise HeedError("your last verdict is not on disk yet", "undo", "wait until it is, or block after all")
            row = self._given.last_row(person)
        if row is None:
            raise HeedError("there is nothing of yours to take back", "undo", "judge first")
        self._recorder.retract(row, person)  # which waits for the disk, as nobody else should
        return row

    def mark(self, person: str, number: int | None, note: str, key: str) -> int:
        """Mark the moment of a proposal that was shown just now, so that it is found again.

        Returns:
            The id of the row that says so.

        Raises:
            HeedError: nothing is written down, or the proposal is not among the `LATEST`.
            RunFailed: the store refuses.
        """
        if self._recorder is None:
            raise HeedError("nothing is written down here", "mark", "note it down yourself")
        proposal = None if number is None else self._latest.get(number)
        if proposal is None:
            raise HeedError("this moment is too long ago, or has not come", "mark", "mark what was shown just now")
        return self._recorder.mark(proposal, person, note, key)

    def marks(self) -> list[Judgement]:
        """The moments that were marked in this run, oldest first; none where nothing is written down."""
        return [] if self._recorder is None else self._recorder.marks()

    def written(self, verdict: Verdict, row: int) -> None:
        """A verdict is on disk: its page is to know."""
        with self._wakes:
            self._given.written(verdict, row)
        self._notify()

    def retracted(self, row: int) -> None:
        """A judgement was retracted, here or at another page: what is learnt from follows at the next step.

        What nobody judged in this run, or what passed in silence, changes nothing.
        """
        with self._wakes:
            for label in self._given.retracted(row):
                self._retractions.put(label)

    def status(self) -> dict[str, Any]:
        """The desk's state, as pages show it."""
        with self._wakes:
            desk = self.desk
            return {
                "state": desk.state.value,
                "why": desk.why,
                "rate": desk.pace.rates[desk.rate],
                "holding": desk.pages.holding,
                "stepping": desk.stepping,
                "looking_back": desk.pages.looking_back,
                "acting": desk.acting,
                "people": desk.pages.people,
                "proposal": desk.proposal,
                "judged_by": desk.judged_by,
                "votes": desk.votes,
                "alone": desk.alone,
                "halted": desk.halted,
                "begun": desk.begun,
                "recorded": self._recorder is not None,
                "asked": desk.left is not None,
                "left_s": desk.left,
                "empty_s": 0.0 if desk.proposal is not None else desk.clock() - desk.empty_since,
                "ended": self._ended,
                "task": self._task,
                "outcome": self._outcome,
                "learning": self._learning(),
            }

    def row_of(self, key: str) -> int | None:
        """The id of the judgement that an order became; None as long as it is not on disk."""
        return self._given.row_of(key)

    def is_glimpsed(self, key: str) -> bool:
        """Whether an order blocked what was hardly in view, so that nothing is learnt of it."""
        return self._given.is_glimpsed(key)

    def came_late(self, key: str) -> bool:
        """Whether an order came as the episode ended, so that it is about nothing."""
        return key in self._late

    def _change(self, what: Callable[[], None]) -> None:
        with self._wakes:
            what()
            self._wakes.notify_all()
        self._notify()

    def _notify(self) -> None:
        for callback in tuple(self._notified):
            callback()

    def _next_view(self, proposal: Proposal) -> View:
        number = self._shown + 1
        with self._wakes:
            self._latest[number] = replace(proposal, env=None, futures=None, future_risks=None)
            self._latest.pop(number - LATEST, None)
        return self._viewer.view_of(proposal, number, self._about())
