"""The server of the pages where people judge: who may connect, what is sent, what is believed of what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import heed
from heed.errors import HeedError, RunFailed
from heed.oversight.browser import BrowserOverseer, View
from heed.oversight.orders import Order
from heed.oversight.people import People, Person

logger = logging.getLogger(__name__)

LARGEST = 4096
"""Bytes of a message from a page."""
MESSAGES = 200
"""Messages of a page in a second, at most."""
PAGES = 100
"""Connections at once."""
GREETING_S = 5.0
"""Seconds in which a page must have said its token."""
DRAWING_S = 1.0
"""Seconds after which a page that has not said that it drew a frame is sent the next one all the same."""

REFUSED, TOO_MUCH, FULL = 4401, 4429, 4503
"""Why a connection was closed."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FILES = {
    "/": ("watch.html", "text/html; charset=utf-8"),
    "/watch.js": ("watch.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files that are served, read once at the start: no path of a request reaches the file system."""
VERDICTS = ("block", "allow", "catastrophe", "act")
"""The orders that become judgements, of which the page is told when they are on disk."""
MOST_WAITING = 100
"""Verdicts of one page that may wait for that."""

Short = Annotated[str, Field(max_length=64)]
Key = Annotated[str, Field(max_length=64, pattern=r"^[0-9A-Za-z-]*$")]
"""Nothing that the store makes keys of itself, which have spaces."""
Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class Strict(BaseModel):
    """What a page sends: of these kinds, and nothing beside."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Said(Strict):
    """An order as a page sends it (see `heed.oversight.desk.Order`)."""

    do: Short
    moment: Annotated[int, Field(ge=0)] | None = None
    key: Key = ""
    action: Annotated[list[Number], Field(max_length=1024)] | int | None = None


class Message(Strict):
    """What a page sends: its token first, then orders, what it has drawn, and that it is alive."""

    token: Annotated[str, Field(max_length=256)] | None = None
    drawn: Annotated[int, Field(ge=0)] | None = None
    order: Said | None = None


class _Connection:
    """One page: what it was sent, and what it is to be told next."""

    def __init__(self, socket: WebSocket, person: Person) -> None:
        self.socket, self.person, self.name = socket, person, uuid.uuid4().hex
        self.news = asyncio.Event()
        self.notes: list[dict[str, Any]] = []
        self.waiting: dict[str, None] = {}  # keys of orders that are not on disk yet
        self.sent, self.drawing_until, self.stands = 0, 0.0, ""
        self._second, self._count = 0, 0

    def note(self, note: dict[str, Any]) -> None:
        """Tell the page something once, in order."""
        self.notes.append(note)
        self.news.set()

    def too_many(self) -> bool:
        """Count a message; whether there were too many in this second."""
        now = int(time.monotonic())
        self._second, self._count = now, (self._count + 1 if now == self._second else 1)
        return self._count > MESSAGES


class Server:
    """Serves the pages of one overseer.

    Args:
        overseer: to whom people lend their eyes.
        people: who may connect.
        title: what is watched.
    """

    def __init__(self, overseer: BrowserOverseer, people: People, title: str) -> None:
        self.overseer, self.people, self.title = overseer, people, title
        self._connections: set[_Connection] = set()
        self._open = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.app = self._app()

    def _app(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def life(_app: FastAPI) -> Any:
            self._loop = asyncio.get_running_loop()
            self.overseer.changed = self._changed
            yield
            self.overseer.changed = lambda: None

        app = app_of(FILES, life)
        app.add_api_websocket_route("/watch", self._watch)
        return app

    def _changed(self) -> None:
        """From any thread: there is something new to tell."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pulse)

    def _pulse(self) -> None:
        for connection in self._connections:
            connection.news.set()

    async def _watch(self, socket: WebSocket) -> None:
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
            if person is None:
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
        except (TimeoutError, ValidationError):  # nothing in time, or no message
            return None
        return None if message.token is None else self.people.whose(message.token)

    async def _serve(self, connection: _Connection) -> None:
        person = connection.person
        self.overseer.connect(connection.name, person.name, person.judges)
        connection.note({"hello": {"person": person.name, "judges": person.judges, "title": self.title}})
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
            self.overseer.gone(connection.name)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed already, as a rule
                await connection.socket.close()

    async def _hear(self, connection: _Connection) -> None:
        """Do what a page says, message by message."""
        while True:
            try:
                message = await _read(connection.socket)
            except ValidationError:
                await connection.socket.close(REFUSED, "not understood")
                return
            if connection.too_many():
                await connection.socket.close(TOO_MUCH, "too many messages")
                return
            if not self.overseer.beat(connection.name):  # it was silent for too long, as tabs in the background are
                self.overseer.connect(connection.name, connection.person.name, connection.person.judges)
            if message.drawn is not None:
                connection.drawing_until = 0.0
                self.overseer.drawn(connection.name, message.drawn)
                connection.news.set()
            if message.order is not None:
                await self._obey(connection, message.order)

    async def _obey(self, connection: _Connection, said: Said) -> None:
        if said.key and said.do in VERDICTS:
            connection.waiting[said.key] = None
            for oldest in list(connection.waiting)[:-MOST_WAITING]:
                del connection.waiting[oldest]
        try:
            if said.do == "undo":  # which waits for the disk
                row = await asyncio.to_thread(self.overseer.undo, connection.person.name)
                connection.note({"undone": {"id": row}})
                return
            self.overseer.order(connection.name, Order(said.do, said.moment, said.key, said.action))
        except (HeedError, RunFailed) as refusal:
            connection.waiting.pop(said.key, None)
            connection.note({"refused": {"do": said.do, "key": said.key, "why": str(refusal)}})
        connection.news.set()

    async def _tell(self, connection: _Connection) -> None:
        """Send what is new; frames that a page is too slow for are left out, never queued."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.news.wait(), DRAWING_S)
            connection.news.clear()
            notes, connection.notes = connection.notes, []
            for note in notes:
                await connection.socket.send_text(json.dumps(note))
            for key in list(connection.waiting):
                if (row := self.overseer.written(key)) is not None:
                    del connection.waiting[key]
                    await connection.socket.send_text(json.dumps({"written": {"key": key, "id": row}}))
            stands = json.dumps({"desk": self.overseer.stands()})
            if stands != connection.stands:
                connection.stands = stands
                await connection.socket.send_text(stands)
            view = self.overseer.view
            if view is not None and view.number > connection.sent and time.monotonic() >= connection.drawing_until:
                await self._show(connection, view)

    async def _show(self, connection: _Connection, view: View) -> None:
        connection.sent, connection.drawing_until = view.number, time.monotonic() + DRAWING_S
        await connection.socket.send_text(json.dumps({"moment": {**view.told, "framed": view.frame is not None}}))
        if view.frame is not None:
            await connection.socket.send_bytes(view.frame)


async def _read(socket: WebSocket) -> Message:
    """The next message.

    Raises:
        ValidationError: what came is none.
    """
    try:
        text = await socket.receive_text()
    except KeyError:  # a binary one
        text = ""
    return Message.model_validate_json(text if len(text) <= LARGEST else "")


def same_origin(socket: WebSocket) -> bool:
    """Whether a browser's page of this very server asks; other programs name no origin."""
    origin = socket.headers.get("origin")
    return origin is None or origin.partition("://")[2] == socket.headers.get("host")


def app_of(files: Mapping[str, tuple[str, str]], life: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """An app that serves pages with their policy, and says whether it is up.

    Args:
        files: the name and the media type of what is served at each path, read here, once.
        life: what begins and ends with the server, if anything does.
    """
    app = FastAPI(title="heed", version=heed.__version__, lifespan=life, docs_url=None, redoc_url=None)
    folder = resources.files("heed.oversight") / "pages"
    for path, (name, kind) in files.items():
        app.add_api_route(path, _file((folder / name).read_bytes(), kind), include_in_schema=False)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        answer.headers.update(HEADERS)
        return answer

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"heed": heed.__version__}

    return app


def _file(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(content, media_type=kind)

    return serve
