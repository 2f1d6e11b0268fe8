"""The server of the page where people compare: pairs go out, and what comes back is on disk before it is believed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Annotated, Any, Literal

from fastapi import WebSocket
from pydantic import Field

from heed.errors import HeedError, RunFailed
from heed.oversight.comparisons.session import MOST_OBJECTIVES, Comparing, Said
from heed.oversight.store.store import Judgement, Store
from heed.web.app import add_page, app_of
from heed.web.connection import Gate, Page, Short, Strict
from heed.web.people import People

LOOK_S = 1.0
"""Seconds after which a page that has nothing to show looks again, as a lease may have ended."""
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID: nothing that a store makes keys of itself."""


class Unsafe(Strict):
    """Which of the two is unsafe."""

    left: bool
    right: bool


class Compared(Strict):
    """A comparison as a page sends it (see `heed.oversight.comparisons.session.Said`)."""

    key: Key
    pair: Short
    objectives: Annotated[dict[Short, Literal["left", "right", "tie", "skip"]], Field(max_length=MOST_OBJECTIVES)]
    unsafe: Unsafe
    latency_ms: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Message(Strict):
    """What a page sends: comparisons, and that the last one is to be taken back."""

    compared: Compared | None = None
    undo: bool = False


class CompareServer:
    """Serves the pages on which people compare.

    Args:
        comparing: what is asked; only the server's loop touches it once it serves.
        store: where comparisons are written.
        people: who may connect.
        title: what is compared.

    Attributes:
        finished: set when each pair is judged as often as asked, and those who said the last words know them written.
    """

    def __init__(self, comparing: Comparing, store: Store, people: People, title: str) -> None:
        self.comparing, self.store, self.title = comparing, store, title
        self.gate = Gate(people, Message, only_judges=True)
        self.finished = threading.Event()
        self._writing = asyncio.Lock()
        self.app = app_of()
        add_page(self.app, "/", "compare", "compare completions")
        self.app.add_api_websocket_route("/compare", self._compare)

    async def _compare(self, socket: WebSocket) -> None:
        await self.gate.admit(socket, self._serve)

    async def _serve(self, page: Page[Message]) -> None:
        name = page.person.name
        page.note({"hello": {"person": name, "title": self.title, "objectives": self.comparing.objectives}})
        try:
            await page.talk(self._tell(page), self._hear(page))
        finally:
            if not any(other.person == page.person for other in self.gate.pages - {page}):
                self.comparing.leave(name)
                self.gate.pulse()

    async def _hear(self, page: Page[Message]) -> None:
        """Do what a page says, message by message: one is on disk before the next is read."""
        async for message in page.messages():
            key = "" if message.compared is None else message.compared.key
            try:
                # Whole even if the connection ends meanwhile: what is on disk is counted.
                if message.compared is not None:
                    await asyncio.shield(self._write(page, message.compared))
                if message.undo:
                    await asyncio.shield(self._take_back(page))
            except (HeedError, RunFailed) as refusal:
                page.note({"refused": {"key": key, "why": str(refusal)}})
            self.gate.pulse()

    async def _write(self, page: Page[Message], said: Compared) -> None:
        given = Said(said.pair, said.objectives, said.unsafe.model_dump(), said.key, said.latency_ms)
        async with self._writing:
            judgement = self.comparing.judgement(page.person.name, given)
            row = await asyncio.to_thread(self.store.add, judgement)  # the disk is waited for there, not here
            self.comparing.judged(judgement, row)
        page.note({"written": {"key": said.key, "id": row}})

    async def _take_back(self, page: Page[Message]) -> None:
        person = page.person.name
        async with self._writing:
            given = self.comparing.last(person)
            await asyncio.to_thread(self.store.retract, given.row, person, "undo")
            self.comparing.taken_back(person, given)
        page.note({"undone": {"id": given.row}})

    async def retracted(self, judgement: Judgement) -> None:
        """A judgement was taken back at the page of judgements."""
        async with self._writing:
            if judgement.id is not None:
                self.comparing.retracted(judgement.id, judgement.person)
        self.gate.pulse()

    async def _tell(self, page: Page[Message]) -> None:
        """Send what is new, then what is to be seen now."""
        name, told = page.person.name, list[dict[str, Any]]([{}, {}])
        while True:
            while page.notes:  # taken out once sent: `finished` waits for them
                await page.send(page.notes[0])
                del page.notes[0]
            pair = self.comparing.showing(name)
            shown = {"pair": pair} if pair is not None else {"nothing": self.comparing.nothing(name)}
            now = [shown, {"progress": self.comparing.progress(name)}]
            for new, before in zip(now, told, strict=True):
                if new != before:
                    await page.send(new)
            told = now
            if self.comparing.finished and not any(other.notes for other in self.gate.pages):
                self.finished.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(page.news.wait(), LOOK_S)
            page.news.clear()
