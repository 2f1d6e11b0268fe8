"""The page of a run in progress or at its end: its metrics as they come, its settings, and its report."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from heed.web.app import add_page, policy
from heed.web.authentication import UNAUTHORIZED, Refusal, bearer
from heed.web.people import People
from heed.web.run_reports import Report, Reports
from heed.web.run_view import RunView, RunViews

REPORT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox",
    "Cross-Origin-Opener-Policy": "unsafe-none",  # what is sandboxed may ask for no other, in a tab of its own
}
"""A report carries its styles and pictures in itself; it runs no script, and belongs to no origin."""

PAGE_HEADERS = {"Content-Security-Policy": policy(frame_src="'self'", form_action="'self'")}
"""The page frames a report, which it asks for by a form."""
NO_PAGE = '<!doctype html><html lang="en"><title>No report</title><p>There is no report: {}</p></html>'
NO_RUN: dict[int | str, dict[str, Any]] = {
    **UNAUTHORIZED,
    404: {"model": Refusal, "description": "There is no such run."},
}
"""How a request for a run may be refused."""
REPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {}}},
    503: {"model": Refusal, "description": "There is no report now; why."},
}
"""What else a request for a report may bring."""
Name = Annotated[str, Query(max_length=500, description="a run within, of those in runs; empty for the folder itself")]
Cursor = Annotated[str, Query(max_length=32, pattern=r"^(\d+\.\d+)?$", description="the last answer's; empty at first")]


def add_run(app: FastAPI, folder: Path, people: People, report: Callable[[Path], str], path: str = "/run") -> None:
    """Add the page of a run to an app, and what it asks for, below ``/api/run``, behind each person's token.

    Args:
        app: of `heed.web.app.create_app`.
        folder: a run's, whether it runs, has ended or is not there yet; or one with runs within.
        people: who may look.
        report: a run folder to one self-contained HTML page; called in a thread.
        path: the page's.
    """
    views, reports = RunViews(folder), Reports(report)
    known = [Depends(bearer(people))]
    add_page(app, path, "run", "the run so far", ("chart.js", "run.css"), PAGE_HEADERS)

    def found(name: str) -> RunView:
        view = views.view(name)
        if view is None:
            raise HTTPException(404, "there is no such run")
        return view

    @app.get("/api/run", responses=NO_RUN, dependencies=known)
    def status(name: Name = "") -> dict[str, Any]:
        """What a run is and how far it has come, and which runs are within the folder."""
        return {"title": folder.resolve().name, "runs": views.names(), **found(name).status()}

    @app.get("/api/run/metrics", responses=NO_RUN, dependencies=known)
    def metrics(name: Name = "", since: Cursor = "") -> dict[str, Any]:
        """A run's metrics since the last answer, as curves of a bounded number of points."""
        return found(name).curves.since(since)

    @app.get("/api/run/report", responses=NO_RUN | REPORT, response_class=Response, dependencies=known)
    def read(name: Name = "") -> Response:
        """A run's report as it stands."""
        made = reports.of(found(name))
        if made.problem:
            raise HTTPException(503, made.problem)
        return _response(made)

    @app.post(f"{path}/report", include_in_schema=False)
    async def framed(request: Request) -> Response:
        """The same for a frame or tab of a browser, which can send a token in the body of a form alone."""
        form = parse_qs((await request.body()).decode(errors="replace"))
        if people.whose(form.get("token", [""])[0]) is None:
            return _response(Report("", "a token is needed", 0), 401)
        view = views.view(form.get("name", [""])[0])
        if view is None:
            return _response(Report("", "there is no such run", 0), 404)
        made = await run_in_threadpool(reports.of, view)
        return _response(made, 503 if made.problem else 200)


def _response(made: Report, status: int = 200) -> Response:
    page = made.page if not made.problem else NO_PAGE.format(html.escape(made.problem))
    return HTMLResponse(page, status, REPORT_HEADERS)
