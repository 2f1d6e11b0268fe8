"""The gate of the pages where people judge: who may come in, how much they may say, and what a page may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import heed
from heed.oversight.people import People, Person

logger = logging.getLogger(__name__)

LARGEST = 4096
"""Bytes of a message from a page, and of a request's body."""
MESSAGES = 200
"""Messages of a page in a second, and requests of all, at most."""
PAGES = 100
"""Connections at once."""
GREETING_S = 5.0
"""Seconds in which a page must have said its token."""

REFUSED, TOO_MUCH, FULL = 4401, 4429, 4503
"""Why a connection was closed."""

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""What a page may load, and from where."""


def policy(**more: str) -> str:
    """The policy of the pages as a header, with what one page needs beyond it.

    >>> policy(frame_src="'self'").split("; ")[-1], "default-src 'none'" in policy(frame_src="'self'")
    ("frame-src 'self'", True)
    """
    changed = POLICY | {name.replace("_", "-"): allowed for name, allowed in more.items()}
    return "; ".join(f"{name} {allowed}" for name, allowed in changed.items())


HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_KINDS[".svg"] = "image/svg+xml"
_SHARED = ("common.js", "style.css", "icon.svg")

MOST_ERRORS = 10
"""Faults of a request of which it is told."""


class Refusal(BaseModel):
    """Why a request is refused."""

    detail: str


BOUNDS: dict[int | str, dict[str, Any]] = {
    411: {"model": Refusal, "description": "A body's length is needed."},
    413: {"model": Refusal, "description": "The body is too large."},
    429: {"model": Refusal, "description": "There are too many requests."},
}
"""How any request may be refused, for the OpenAPI schema."""
NOBODY: dict[int | str, dict[str, Any]] = {401: {"model": Refusal, "description": "A token is needed."}}
"""How a request may be refused that needs a token."""

Short = Annotated[str, Field(max_length=64)]
"""A name or a key, as pages send them."""


class Strict(BaseModel):
    """What a page sends: of these kinds, and nothing beside."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Greeting(Strict):
    """What a page says first."""

    token: Annotated[str, Field(max_length=256)]


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
    """A connection that came through the gate.

    Args:
        socket: where it is.
        person: whose token it said.
        message: what it may send.

    Attributes:
        name: of this connection, unlike any other's.
        news: set when there is something to tell it.
        notes: what it is to be told once, in order.
    """

    def __init__(self, socket: WebSocket, person: Person, message: type[M]) -> None:
        self.socket, self.person, self.name = socket, person, uuid.uuid4().hex
        self.news = asyncio.Event()
        self.notes: list[dict[str, Any]] = []
        self._message, self._rate = message, Rate()

    def note(self, note: dict[str, Any]) -> None:
        """Tell it something once, in order."""
        self.notes.append(note)
        self.news.set()

    async def send(self, told: dict[str, Any]) -> None:
        """Send it something now."""
        await self.socket.send_text(json.dumps(told))

    async def messages(self) -> AsyncIterator[M]:
        """What it says, until it says what is not understood, or too much; then it is closed."""
        while True:
            try:
                message = await _read(self.socket, self._message)
            except ValidationError:
                await self.socket.close(REFUSED, "not understood")
                return
            if self._rate.above(MESSAGES):
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


class Gate(Generic[M]):
    """Lets pages in that say a token of somebody's, from a page of this very server.

    Args:
        people: who may come in.
        message: what their pages may send.
        only_judges: refuse those who only watch.

    Attributes:
        pages: those that are in.
    """

    def __init__(self, people: People, message: type[M], only_judges: bool = False) -> None:
        self.people, self.only_judges = people, only_judges
        self.pages: set[Page[M]] = set()
        self._message, self._open = message, 0

    def pulse(self) -> None:
        """Let every page look whether there is something to tell it."""
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
            if self._open > PAGES:
                await socket.close(FULL, "too many pages")
                return
            person = await self._greeted(socket)
            if person is None or (self.only_judges and not person.judges):
                await socket.close(REFUSED, "wrong token")
                return
            page = Page(socket, person, self._message)
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

    async def _greeted(self, socket: WebSocket) -> Person | None:
        try:
            greeting = await asyncio.wait_for(_read(socket, Greeting), GREETING_S)
        except (TimeoutError, ValidationError):  # nothing in time, or no greeting
            return None
        return self.people.whose(greeting.token)


async def _read(socket: WebSocket, kind: type[M]) -> M:
    """The next message.

    Raises:
        ValidationError: what came is none.
        WebSocketDisconnect: nothing comes any more.
    """
    event = await socket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1000))
    text = event.get("text") or ""  # bytes are no message
    return kind.model_validate_json(text if len(text) <= LARGEST else "")


def same_origin(socket: WebSocket) -> bool:
    """Whether a browser's page of this very server asks; other programs name no origin."""
    origin = socket.headers.get("origin")
    return origin is None or origin.partition("://")[2] == socket.headers.get("host")


def bearer(people: People) -> Callable[..., Person]:
    """For FastAPI's ``Depends``: who asks, by the token in the header ``Authorization: Bearer``; nobody is 401."""

    def whose(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> Person:
        person = None if given is None else people.whose(given.credentials)
        if person is None:
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
        return person

    return whose


def app_of(life: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """An app that serves what all pages share, with their policy and bounds, and says whether it is up.

    Args:
        life: what begins and ends with the server, if anything does.
    """
    app = FastAPI(
        title="heed", version=heed.__version__, lifespan=life, docs_url=None, redoc_url=None, responses=BOUNDS
    )
    app.state.pages = {}
    rate = Rate()
    for name in _SHARED:
        _serve(app, f"/{name}", name)

    @app.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = _refusal(request, rate)
        if answer is None:
            answer = await call_next(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, refusal: RequestValidationError) -> Response:
        """What is wrong with a request, without repeating it: it may be anything."""
        told = [{name: error[name] for name in ("type", "loc", "msg")} for error in refusal.errors()[:MOST_ERRORS]]
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")  # in ASCII

    @app.get("/pages")
    async def pages() -> dict[str, str]:
        """The pages of this server that others lead to, by path: what each is called."""
        return dict(app.state.pages)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server is up."""
        return {"heed": heed.__version__}

    return app


def add_page(
    app: FastAPI,
    path: str,
    name: str,
    title: str = "",
    beside: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> None:
    """Serve a page at a path, and its script beside it.

    Args:
        app: of `app_of`.
        path: of the page.
        name: of its files.
        title: what the other pages of this app call it in their header; they do not lead to it without.
        beside: further files of the page's own.
        headers: in place of those that all pages have.
    """
    _serve(app, path, f"{name}.html", headers)
    for file in (f"{name}.js", *beside):
        _serve(app, f"/{file}", file)
    if title:
        app.state.pages[path] = title


def _serve(app: FastAPI, path: str, name: str, headers: Mapping[str, str] | None = None) -> None:
    """A file, read here, once: no path of a request reaches the file system."""
    content = (resources.files("heed.oversight") / "pages" / name).read_bytes()
    kind = _KINDS[name[name.rindex(".") :]]

    async def serve() -> Response:
        return Response(content, media_type=kind, headers=headers)

    app.add_api_route(path, serve, include_in_schema=False)


def _refusal(request: Request, rate: Rate) -> Response | None:
    """Why a request is not even looked at, if it is not."""
    if rate.above(MESSAGES):
        return JSONResponse({"detail": "too many requests"}, 429)
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdecimal():
        return JSONResponse({"detail": "a body's length is needed"}, 411)
    if len(length) > 9 or int(length) > LARGEST:
        return JSONResponse({"detail": f"a body has at most {LARGEST} bytes"}, 413)
    return None
