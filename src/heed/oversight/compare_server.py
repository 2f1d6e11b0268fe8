"""The server of the page where people compare: pairs go out, and what comes back is on disk before it is believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import Field, ValidationError

from heed.errors import HeedError, RunFailed
from heed.oversight.comparing import MOST_OBJECTIVES, Comparing, Said
from heed.oversight.judgements import Store
from heed.oversight.people import People, Person
from heed.oversight.server import (
    FILES,
    FULL,
    GREETING_S,
    LARGEST,
    MESSAGES,
    PAGES,
    REFUSED,
    TOO_MUCH,
    Short,
    Strict,
    app_of,
    same_origin,
)

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Seconds after which a page that has nothing to show looks again, as a lease may have ended."""
PAGE = FILES | {
    "/": ("compare.html", "text/html; charset=utf-8"),
    "/compare.js": ("compare.js", "text/javascript; charset=utf-8"),
}
del PAGE["/watch.js"]

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID: nothing that a store makes keys of itself."""


class Unsafe(Strict):
    """Which of the two is unsafe."""

    left: bool
    right: bool


class Compared(Strict):
    """A comparison as a page sends it (see `heed.oversight.comparing.Said`)."""

    key: Key
    pair: Short
    objectives: Annotated[dict[Short, Literal["left", "right", "tie", "skip"]], Field(max_length=MOST_OBJECTIVES)]
    unsafe: Unsafe
    latency_ms: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Message(Strict):
    """What a page sends: its token first, then comparisons, and that the last one is to be taken back."""

    token: Annotated[str, Field(max_length=256)] | None = None
    compared: Compared | None = None
    undo: bool = False


class _Connection:
    """One page: what it shows, and what it is to be told next."""

    def __init__(self, socket: WebSocket, person: Person) -> None:
        self.socket, self.person = socket, person
        self.news = asyncio.Event()
        self.notes: list[dict[str, Any]] = []
        self._told: dict[str, dict[str, Any]] = {}
        self._second, self._count = 0, 0

    def note(self, note: dict[str, Any]) -> None:
        """Tell the page something once, in order."""
        self.notes.append(note)
        self.news.set()

    async def tell_if_new(self, now: dict[str, Any]) -> None:
        """Tell the page how something stands, unless that is what it was told last."""
        kind = "progress" if "progress" in now else "shown"
        if self._told.get(kind) != now:
            self._told[kind] = now
            await self.socket.send_text(json.dumps(now))

    def too_many(self) -> bool:
        """Count a message; whether there were too many in this second."""
        now = int(time.monotonic())
        self._second, self._count = now, (self._count + 1 if now == self._second else 1)
        return self._count > MESSAGES


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
        self.comparing, self.store, self.people, self.title = comparing, store, people, title
        self.finished = threading.Event()
        self._connections: set[_Connection] = set()
        self._open = 0
        self._writing = asyncio.Lock()
        self.app: FastAPI = app_of(PAGE)
        self.app.add_api_websocket_route("/compare", self._compare)

    def _pulse(self) -> None:
        for connection in self._connections:
            connection.news.set()

    async def _compare(self, socket: WebSocket) -> None:
        """One page, from its token to its end."""
        if not same_origin(socket):
            await socket.close(REFUSED)
            return
        await socket.accept()
        self._open += 1
        try:
            if self._open > PAGES:
                await socket.close(FULL, "too many pages")
                return
            person = await self._greeted(socket)
            if person is None or not person.judges:
                await socket.close(REFUSED, "wrong token")
                return
            await self._serve(_Connection(socket, person))
        except WebSocketDisconnect:
            pass
        finally:
            self._open -= 1

    async def _greeted(self, socket: WebSocket) -> Person | None:
        try:
            message = await asyncio.wait_for(_read(socket), GREETING_S)
        except (TimeoutError, ValidationError):
            return None
        return None if message.token is None else self.people.whose(message.token)

    async def _serve(self, connection: _Connection) -> None:
        name = connection.person.name
        connection.note({"hello": {"person": name, "title": self.title, "objectives": self.comparing.objectives}})
        self._connections.add(connection)
        tasks = [asyncio.create_task(work) for work in (self._tell(connection), self._hear(connection))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:  # a fault in either ends the page's connection, and it comes back by itself
                if not isinstance(fault := task.exception(), WebSocketDisconnect | RuntimeError | None):
                    logger.error("a page's connection failed: %s: %s", type(fault).__name__, fault)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._connections.discard(connection)
            if not any(other.person == connection.person for other in self._connections):
                self.comparing.leave(name)
                self._pulse()
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed already, as a rule
                await connection.socket.close()

    async def _hear(self, connection: _Connection) -> None:
        """Do what a page says, message by message: one is on disk before the next is read."""
        while True:
            try:
                message = await _read(connection.socket)
            except ValidationError:
                await connection.socket.close(REFUSED, "not understood")
                return
            if connection.too_many():
                await connection.socket.close(TOO_MUCH, "too many messages")
                return
            key = "" if message.compared is None else message.compared.key
            try:
                # Whole even if the connection ends meanwhile: what is on disk is counted.
                if message.compared is not None:
                    await asyncio.shield(self._write(connection, message.compared))
                if message.undo:
                    await asyncio.shield(self._take_back(connection))
            except (HeedError, RunFailed) as refusal:
                connection.note({"refused": {"key": key, "why": str(refusal)}})
            self._pulse()

    async def _write(self, connection: _Connection, said: Compared) -> None:
        given = Said(said.pair, said.objectives, said.unsafe.model_dump(), said.key, said.latency_ms)
        async with self._writing:
            judgement = self.comparing.judgement(connection.person.name, given)
            row = await asyncio.to_thread(self.store.add, judgement)  # the disk is waited for there, not here
            self.comparing.judged(judgement, row)
        connection.note({"written": {"key": said.key, "id": row}})

    async def _take_back(self, connection: _Connection) -> None:
        person = connection.person.name
        async with self._writing:
            given = self.comparing.last(person)
            await asyncio.to_thread(self.store.retract, given.row, person, "undo")
            self.comparing.taken_back(person, given)
        connection.note({"undone": {"id": given.row}})

    async def _tell(self, connection: _Connection) -> None:
        """Send what is new, then what is to be seen now."""
        while True:
            while connection.notes:  # taken out once sent: `finished` waits for them
                await connection.socket.send_text(json.dumps(connection.notes[0]))
                del connection.notes[0]
            name = connection.person.name
            pair = self.comparing.showing(name)
            shown = {"pair": pair} if pair is not None else {"nothing": self.comparing.nothing(name)}
            for now in (shown, {"progress": self.comparing.progress(name)}):
                await connection.tell_if_new(now)
            if self.comparing.finished and not any(other.notes for other in self._connections):
                self.finished.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.news.wait(), LOOK_S)
            connection.news.clear()


async def _read(socket: WebSocket) -> Message:
    """The next message.

    Raises:
        ValidationError: what came is none.
        WebSocketDisconnect: nothing comes any more.
    """
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1000))
    text = event.get("text") or ""  # bytes are no message
    return Message.model_validate_json(text if len(text) <= LARGEST else "")
