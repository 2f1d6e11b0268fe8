"""Connections of pages: a token first, then messages of a known shape, of bounded size and number."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Annotated, Any, Generic, TypeVar

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heed.web.authentication import same_origin
from heed.web.limits import Limits
from heed.web.people import People, Person

logger = logging.getLogger(__name__)

UNKNOWN, REFUSED, ENDED, TOO_MUCH, FULL = 4400, 4401, 4403, 4429, 4503
"""Why a connection was closed: a message that is not understood, a wrong token, an ended one; floods."""

MESSAGE = ConfigDict(extra="forbid", strict=True)
"""Of what a page sends: these kinds, and nothing beside."""

Short = Annotated[str, Field(max_length=64)]
"""A name or a key, as pages send them."""


class Strict(BaseModel):
    """What a page sends."""

    model_config = MESSAGE


class Greeting(Strict):
    """What a page sends first."""

    token: str


M = TypeVar("M", bound=Strict)


class Rate:
    """Counts within each second.

    >>> rate = Rate(clock=lambda: 7.5)
    >>> [rate.above(2) for _ in range(3)]
    [False, False, True]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._second, self._count = clock, -1, 0

    def above(self, most: int) -> bool:
        """Count one more; whether there were more than this in this second."""
        now = int(self._clock())
        self._second, self._count = now, (self._count + 1 if now == self._second else 1)
        return self._count > most


class Page(Generic[M]):
    """The connection of somebody's page.

    Args:
        socket: where it is.
        person: whose token it sent.
        message: what it may send.
        limits: how much of it.

    Attributes:
        name: of this connection, unlike any other's.
        news: set when there is something to send it.
        notes: what it is to be sent once, in order.
    """

    def __init__(self, socket: WebSocket, person: Person, message: type[M], limits: Limits) -> None:
        self.socket, self.person, self.name = socket, person, uuid.uuid4().hex
        self.news = asyncio.Event()
        self.notes: list[dict[str, Any]] = []
        self._message, self._limits, self._rate = message, limits, Rate()

    def note(self, note: dict[str, Any]) -> None:
        """Send it something once, in order, as soon as its turn comes."""
        self.notes.append(note)
        self.news.set()

    async def send(self, content: dict[str, Any]) -> None:
        """Send it something now."""
        await self.socket.send_text(json.dumps(content))

    async def messages(self) -> AsyncIterator[M]:
        """What it sends, until it sends what is not understood, or too much; then it is closed."""
        while True:
            try:
                message = await _read(self.socket, self._message, self._limits)
            except ValidationError:
                await self.socket.close(UNKNOWN, "not understood")
                return
            if self._rate.above(self._limits.messages):
                await self.socket.close(TOO_MUCH, "too many messages")
                return
            yield message

    async def talk(self, *works: Coroutine[Any, Any, None]) -> None:
        """Do these at once until one of them ends; a fault in any ends the connection, and the page comes back."""
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(fault := task.exception(), WebSocketDisconnect | RuntimeError | None):
                    logger.error("a page's connection failed: %s: %s", type(fault).__name__, fault)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Connections(Generic[M]):
    """The pages that are connected: each sent a token of somebody's, from a page of this very server.

    Args:
        people: who may connect.
        message: what their pages may send.
        only_judges: refuse those who only watch.
        limits: how many pages, and how much of each.

    Attributes:
        pages: those that are connected.
    """

    def __init__(
        self, people: People, message: type[M], only_judges: bool = False, limits: Limits | None = None
    ) -> None:
        self.people, self.only_judges = people, only_judges
        self.pages: set[Page[M]] = set()
        self._message, self._limits, self._open = message, limits or Limits(), 0

    def pulse(self) -> None:
        """Let every page look whether there is something to send it."""
        for page in self.pages:
            page.news.set()

    async def admit(self, socket: WebSocket, serve: Callable[[Page[M]], Awaitable[None]]) -> None:
        """Serve one page, from its token to its end, or refuse it."""
        if not same_origin(socket):
            await socket.close(REFUSED)
            return
        await socket.accept()
        self._open += 1
        try:
            if self._open > self._limits.connections:
                await socket.close(FULL, "too many pages")
                return
            try:
                token = await self._greeted(socket)
            except ValidationError:
                await socket.close(UNKNOWN, "not understood")
                return
            person = None if token is None else self.people.whose(token)
            if person is None or (self.only_judges and not person.judges):
                ended = token is not None and self.people.ended(token)
                await socket.close(*((ENDED, "this login was ended") if ended else (REFUSED, "wrong token")))
                return
            page = Page(socket, person, self._message, self._limits)
            self.pages.add(page)
            try:
                await serve(page)
            finally:
                self.pages.discard(page)
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed already, as a rule
                    await socket.close()
        except (WebSocketDisconnect, asyncio.CancelledError):  # it is gone, or the server ends
            pass
        finally:
            self._open -= 1

    async def _greeted(self, socket: WebSocket) -> str | None:
        """The token that a page sends first; None if it sends none in time.

        Raises:
            ValidationError: what came is no greeting.
        """
        try:
            greeting = await asyncio.wait_for(_read(socket, Greeting, self._limits), self._limits.greeting_s)
        except TimeoutError:
            return None
        return greeting.token


async def _read(socket: WebSocket, kind: type[M], limits: Limits) -> M:
    """The next message.

    Raises:
        ValidationError: what came is none.
        WebSocketDisconnect: nothing comes any more.
    """
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1000))
    text = event.get("text") or ""  # bytes are no message
    return kind.model_validate_json(text if len(text) <= limits.message_bytes else "")
