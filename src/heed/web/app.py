"""The app behind every page: the files it serves, the policy of what a page may load, the bounds of requests."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import heed
from heed.web.authentication import Refusal
from heed.web.connection import Rate
from heed.web.limits import Limits

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
"""Of every answer that brings none of its own."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SHARED = ("common.js", "style.css", "icon.svg")
_MOST_ERRORS = 10  # of a request that are listed

BOUNDS: dict[int | str, dict[str, Any]] = {
    411: {"model": Refusal, "description": "A body's length is needed."},
    413: {"model": Refusal, "description": "The body is too large."},
    429: {"model": Refusal, "description": "There are too many requests."},
}
"""How any request may be refused, for the OpenAPI schema."""


def create_app(life: Callable[[FastAPI], Any] | None = None, limits: Limits | None = None) -> FastAPI:
    """An app that serves what all pages share, with their policy and bounds, and says whether it is up.

    Args:
        life: what begins and ends with the server, if anything does.
        limits: how much may be asked.
    """
    limits = Limits() if limits is None else limits
    app = FastAPI(
        title="heed", version=heed.__version__, lifespan=life, docs_url=None, redoc_url=None, responses=BOUNDS
    )
    app.state.pages = {}
    rate = Rate()
    for name in _SHARED:
        _serve(app, f"/{name}", name)

    @app.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = _refusal(request, rate, limits)
        if answer is None:
            answer = await call_next(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, refusal: RequestValidationError) -> Response:
        """What is wrong with a request, without repeating it: it may be anything."""
        errors = [{name: error[name] for name in ("type", "loc", "msg")} for error in refusal.errors()[:_MOST_ERRORS]]
        return Response(json.dumps({"detail": errors}), 422, media_type="application/json")  # in ASCII

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
        app: of `create_app`.
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
    content = (resources.files("heed.web") / "assets" / name).read_bytes()
    kind = _KINDS[name[name.rindex(".") :]]

    async def serve() -> Response:
        return Response(content, media_type=kind, headers=headers)

    app.add_api_route(path, serve, include_in_schema=False)


def _refusal(request: Request, rate: Rate, limits: Limits) -> Response | None:
    """Why a request is not even looked at, if it is not."""
    if rate.above(limits.messages):
        return JSONResponse({"detail": "too many requests"}, 429)
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers or not length.isdecimal():
        return JSONResponse({"detail": "a body's length is needed"}, 411)
    if len(length) > 9 or int(length) > limits.message_bytes:
        return JSONResponse({"detail": f"a body has at most {limits.message_bytes} bytes"}, 413)
    return None
