"""The server of the page where people watch: what it is shown, and what is obeyed of what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, WebSocket
from pydantic import Field

from heed.errors import HeedError, RunFailed
from heed.oversight.control.records import Order
from heed.oversight.overseers.human import HumanOverseer, View
from heed.oversight.store.store import Judgement
from heed.web.app import add_page, app_of
from heed.web.connection import Gate, Page, Short, Strict
from heed.web.people import People

DRAWING_S = 1.0
"""Seconds after which a page that has not said that it drew a frame is sent the next one all the same."""
LATE = "it came as the episode ended: it is about nothing, but the first action of the next one is blocked"
VERDICTS = ("block", "allow", "catastrophe", "act")
"""The orders that become judgements, of which the page is told when they are on disk."""
MOST_WAITING = 100
"""Verdicts of one page that may wait for that."""

Key = Annotated[str, Field(max_length=64, pattern=r"^[0-9A-Za-z-]*$")]
"""Nothing that the store makes keys of itself, which have spaces."""
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class Said(Strict):
    """An order as a page sends it (see `heed.oversight.control.desk.Order`)."""

    do: Short
    moment: Annotated[int, Field(ge=0)] | None = None
    key: Key = ""
    action: Annotated[list[Number], Field(max_length=1024)] | int | None = None


class Message(Strict):
    """What a page sends: orders, what it has drawn, and, by an empty one, that it is alive."""

    drawn: Annotated[int, Field(ge=0)] | None = None
    order: Said | None = None


class WatchServer:
    """Serves the pages of one overseer.

    Args:
        overseer: to whom people lend their eyes.
        people: who may connect.
        title: what is watched.
    """

    def __init__(self, overseer: HumanOverseer, people: People, title: str) -> None:
        self.overseer, self.title = overseer, title
        self.gate = Gate(people, Message)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.app = app_of(self._life)
        add_page(self.app, "/", "watch", "watch the agent")
        self.app.add_api_websocket_route("/watch", self._watch)

    @contextlib.asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self.overseer.changed = self._changed
        yield
        self.overseer.changed = lambda: None

    async def retracted(self, judgement: Judgement) -> None:
        """A judgement was taken back at the page of judgements."""
        if judgement.id is not None:
            self.overseer.retracted(judgement.id)

    def _changed(self) -> None:
        """From any thread: there is something new to tell."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.gate.pulse)

    async def _watch(self, socket: WebSocket) -> None:
        await self.gate.admit(socket, self._serve)

    async def _serve(self, page: Page[Message]) -> None:
        watching = _Watching(page, self.overseer)
        watching.connect()
        page.note({"hello": {"person": page.person.name, "judges": page.person.judges, "title": self.title}})
        try:
            await page.talk(watching.tell(), watching.hear())
        finally:
            self.overseer.gone(page.name)


class _Watching:
    """One page: what it was sent, and what it is to be told next."""

    def __init__(self, page: Page[Message], overseer: HumanOverseer) -> None:
        self.page, self.overseer = page, overseer
        self._unwritten: dict[str, None] = {}  # keys of orders that are not on disk yet
        self._sent, self._drawing_until, self._stands = 0, 0.0, ""

    def connect(self) -> None:
        """It is there."""
        self.overseer.connect(self.page.name, self.page.person.name, self.page.person.judges)

    async def hear(self) -> None:
        """Do what the page says, message by message."""
        async for message in self.page.messages():
            if not self.overseer.beat(self.page.name):  # it was silent for too long, as tabs in the background are
                self.connect()
            if message.drawn is not None:
                self._drawing_until = 0.0
                self.overseer.drawn(self.page.name, message.drawn)
                self.page.news.set()
            if message.order is not None:
                await self._obey(message.order)

    async def _obey(self, said: Said) -> None:
        if said.key and said.do in VERDICTS:
            self._unwritten[said.key] = None
            for oldest in list(self._unwritten)[:-MOST_WAITING]:
                del self._unwritten[oldest]
        try:
            if said.do == "undo":  # which waits for the disk
                row = await asyncio.to_thread(self.overseer.undo, self.page.person.name)
                self.page.note({"undone": {"id": row}})
                return
            self.overseer.order(self.page.name, Order(said.do, said.moment, said.key, said.action))
        except (HeedError, RunFailed) as refusal:
            self._unwritten.pop(said.key, None)
            self.page.note({"refused": {"do": said.do, "key": said.key, "why": str(refusal)}})
        self.page.news.set()

    async def tell(self) -> None:
        """Send what is new; frames that a page is too slow for are left out, never queued."""
        page = self.page
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(page.news.wait(), DRAWING_S)
            page.news.clear()
            notes, page.notes = page.notes, []
            for note in notes:
                await page.send(note)
            for key in list(self._unwritten):
                if (row := self.overseer.written(key)) is not None:
                    del self._unwritten[key]
                    await page.send({"written": {"key": key, "id": row}})
                elif self.overseer.late(key):
                    del self._unwritten[key]
                    await page.send({"refused": {"do": "", "key": key, "why": LATE}})
            stands = json.dumps({"desk": self.overseer.stands()})
            if stands != self._stands:
                self._stands = stands
                await page.socket.send_text(stands)
            view = self.overseer.view
            if view is not None and view.number > self._sent and time.monotonic() >= self._drawing_until:
                await self._show(view)

    async def _show(self, view: View) -> None:
        self._sent, self._drawing_until = view.number, time.monotonic() + DRAWING_S
        await self.page.send({"moment": {**view.told, "framed": view.frame is not None}})
        if view.frame is not None:
            await self.page.socket.send_bytes(view.frame)
