"""The server of the page where people watch: what it is shown, and which of its orders are obeyed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, WebSocket
from pydantic import Field
from pydantic.dataclasses import dataclass

from heed.errors import HeedError, RunFailed
from heed.oversight.control.records import Order
from heed.oversight.control.said import said_of
from heed.oversight.control.view import View
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.store.store import MARK, Judgement
from heed.web.app import add_page, create_app
from heed.web.connection import MESSAGE, Connections, Page, Short, Strict
from heed.web.limits import Limits
from heed.web.people import People

logger = logging.getLogger(__name__)

LATE = "it came as the episode ended: it is about nothing, but the first action of the next one is blocked"
VERDICTS = ("block", "allow", "catastrophe", "act")
"""The orders that become judgements, of which the page is told when they are on disk."""
MOST_WAITING = 100
"""Verdicts of one page that may wait for that."""
MOST_MARKS = 100
"""Marked moments that a page lists, the latest."""
MOST_REASONS, LONGEST_REASON = 9, 300
"""Reasons that have a digit; characters of what a person types."""
LONGEST_CHIP = 60
"""Characters of a reason that has a digit."""
LOOK_S = 1.0
"""Seconds after which a page that heard of nothing new looks again."""

Key = Annotated[str, Field(max_length=64, pattern=r"^[0-9A-Za-z-]*$")]
"""Nothing that the store makes keys of itself, which have spaces."""
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True, config=MESSAGE)
class SentOrder(Order):
    """An order as a page sends it: the desk's own record, with bounds."""

    do: Short
    proposal: Annotated[int, Field(ge=0)] | None = None
    key: Key = ""
    action: Annotated[list[Number], Field(max_length=1024)] | int | None = None
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    silent: bool = False


class Message(Strict):
    """What a page sends: orders, what it has rendered, whether it shows the past; by an empty one, that it is alive."""

    rendered: Annotated[int, Field(ge=0)] | None = None
    past: bool | None = None
    order: SentOrder | None = None


def check_reasons(reasons: Sequence[str]) -> None:
    """Refuse reasons that no page can offer.

    Raises:
        HeedError: too many, one twice, an empty or a long one.

    >>> check_reasons(["too fast", "too near"])
    """
    if (
        len(reasons) > MOST_REASONS
        or len({*reasons}) < len(reasons)
        or not all(0 < len(it) <= LONGEST_CHIP for it in reasons)
    ):
        fix = f"give at most {MOST_REASONS} different texts of at most {LONGEST_CHIP} characters"
        raise HeedError("these cannot be reasons to block", "--reasons", fix)


class WatchServer:
    """Serves the pages of one overseer.

    Args:
        overseer: to whom people lend their eyes.
        people: who may connect.
        title: what is watched.
        limits: how much pages may send, and how long they may take.
        reasons: short texts, of which a person gives one with a block by its digit, from 1.

    Raises:
        HeedError: too many reasons, one twice, an empty or a long one.
    """

    def __init__(
        self,
        overseer: HumanOverseer,
        people: People,
        title: str,
        limits: Limits | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        check_reasons(reasons)
        self.overseer, self.title, self.reasons = overseer, title, list(reasons)
        self._limits = Limits() if limits is None else limits
        self.connections = Connections(people, Message, limits=self._limits)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.app = create_app(self._life, self._limits)
        beside = ["watch.css", "watch_view.js", "action.js", "rewind.js", "marks.js", "reaction.js", "gamepad.js"]
        add_page(self.app, "/", "watch", "watch the agent", beside)
        self.app.add_api_websocket_route("/watch", self._watch)

    @contextlib.asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        with self.overseer.notifying(self._pulse):
            yield

    async def retracted(self, judgement: Judgement) -> None:
        """A judgement was retracted at the page of judgements."""
        if judgement.id is not None:
            self.overseer.retracted(judgement.id)
        if judgement.kind == MARK:
            await self._tell_marks()

    async def _tell_marks(self) -> None:
        """Every page lists the moments that are marked."""
        try:
            marks = await asyncio.to_thread(self.overseer.marks)
        except RunFailed as unread:  # the page is there to judge, all the same
            logger.warning("%s", unread)
            return
        told = [_mark(mark) for mark in marks[-MOST_MARKS:]]
        for page in self.connections.pages:
            page.note({"marks": told})

    def _pulse(self) -> None:
        """From any thread: there is something new to send."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.connections.pulse)

    async def _watch(self, socket: WebSocket) -> None:
        await self.connections.admit(socket, self._serve)

    async def _serve(self, page: Page[Message]) -> None:
        watching = _Watching(page, self.overseer, self._limits.rendering_s, self._tell_marks)
        watching.connect()
        person = {"person": page.person.name, "judges": page.person.judges}
        page.note({"hello": person | {"title": self.title, "reasons": self.reasons}})
        try:
            await self._tell_marks()
            await page.talk(watching.send_news(), watching.obey())
        finally:
            self.overseer.disconnect(page.name)


def _mark(mark: Judgement) -> dict[str, Any]:
    """A marked moment, as pages list it."""
    shown, told = mark.shown, {"id": mark.id, "person": mark.person, "at": mark.at.isoformat()}
    return told | {"episode": shown["episode"], "step": shown["step"], "note": mark.verdict["note"]}


class _Watching:
    """One page: what it was sent, and what it is to be sent next."""

    def __init__(
        self,
        page: Page[Message],
        overseer: HumanOverseer,
        rendering_s: float,
        marked: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._marked = marked
        self.page, self.overseer, self._rendering_s = page, overseer, rendering_s
        self._unwritten: dict[str, None] = {}  # keys of orders that are not on disk yet
        self._sent, self._rendering_until, self._status = 0, 0.0, ""

    def connect(self) -> None:
        """It is there."""
        self.overseer.connect(self.page.name, self.page.person.name, self.page.person.judges)

    async def obey(self) -> None:
        """Do what the page sends, message by message."""
        async for message in self.page.messages():
            if not self.overseer.heartbeat(self.page.name):  # it was silent for too long, as tabs in the background are
                self.connect()
                self._sent = 0  # what it showed is no longer in its view: it is shown again
            if message.past is not None:
                self.overseer.look(self.page.name, message.past)
            if message.rendered is not None:
                self._rendering_until = 0.0
                self.overseer.rendered(self.page.name, message.rendered)
                self.page.news.set()
            if message.order is not None:
                await self._obey(message.order)

    async def _obey(self, order: Order) -> None:
        if order.key and order.do in VERDICTS:
            self._unwritten[order.key] = None
            for oldest in list(self._unwritten)[:-MOST_WAITING]:
                del self._unwritten[oldest]
        try:
            if order.do == "undo":  # which waits for the disk
                row = await asyncio.to_thread(self.overseer.undo, self.page.person.name)
                self.page.note({"undone": {"id": row}})
                return
            if order.do == "mark":  # likewise
                await self._mark(order)
                return
            self.overseer.order(self.page.name, order)
        except (HeedError, RunFailed) as refusal:
            self._unwritten.pop(order.key, None)
            self.page.note({"refused": {"do": order.do, "key": order.key, "why": str(refusal)}})
        self.page.news.set()

    async def _mark(self, order: Order) -> None:
        if not self.page.person.judges:
            raise HeedError("this page may only watch", "mark", "connect with an overseer's token")
        key = order.key or str(uuid.uuid4())
        row = await asyncio.to_thread(self.overseer.mark, self.page.person.name, order.proposal, order.reason, key)
        self.page.note({"marked": {"id": row, "key": order.key}})
        await self._marked()

    async def send_news(self) -> None:
        """Send what is new; frames that a page is too slow for are left out, never queued."""
        page = self.page
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(page.news.wait(), LOOK_S)
            page.news.clear()
            notes, page.notes = page.notes, []
            for note in notes:
                await page.send(note)
            for key in list(self._unwritten):
                if (row := self.overseer.row_of(key)) is not None:
                    del self._unwritten[key]
                    await page.send({"written": {"key": key, "id": row, "glimpsed": self.overseer.is_glimpsed(key)}})
                elif self.overseer.came_late(key):
                    del self._unwritten[key]
                    await page.send({"refused": {"do": "", "key": key, "why": LATE}})
            await self._tell(self.overseer.status())
            view = self.overseer.view
            if view is not None and view.number > self._sent and time.monotonic() >= self._rendering_until:
                await self._show(view)

    async def _tell(self, status: dict[str, Any]) -> None:
        """Send how the desk stands and what that means to this person, if it is not what they were told last."""
        told = status | asdict(said_of(status, self.page.person.name, self.page.person.judges))
        due = None if told["left_s"] is None else round(time.monotonic() + told["left_s"], 1)
        lasting = json.dumps([due, {name: told[name] for name in told if name not in ("left_s", "empty_s")}])
        if lasting != self._status:
            self._status = lasting
            await self.page.send({"desk": told})

    async def _show(self, view: View) -> None:
        self._sent, self._rendering_until = view.number, time.monotonic() + self._rendering_s
        await self.page.send({"proposal": {**view.content, "framed": view.frame is not None}})
        if view.frame is not None:
            await self.page.socket.send_bytes(view.frame)
