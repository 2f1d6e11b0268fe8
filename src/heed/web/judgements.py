"""The page of judgements: to be browsed, retracted, exported and verified, and how far people agree."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from heed.errors import HeedError, RunFailed
from heed.oversight.agreement import Agreements, agreements
from heed.oversight.comparisons.session import is_comparison
from heed.oversight.overseers.recorded import FLAGS
from heed.oversight.store.export import STREAMS
from heed.oversight.store.queries import Filter, Found, Status, follows, last_row, one, page, passing, people_of
from heed.oversight.store.store import MARK, Judgement, Store, open_store
from heed.web.app import add_page
from heed.web.authentication import UNAUTHORIZED, Refusal, bearer
from heed.web.connection import Strict
from heed.web.people import People, Person

logger = logging.getLogger(__name__)

MOST_ROWS = 100
"""Judgements of one answer."""
LONGEST_LINE = 160
"""Characters in which a list shows what was judged, and the verdict."""
MOST_RUNS = 200
"""Runs that are named, the latest."""
LARGEST_ID = 2**31 - 1
MOST_FILES = 2
"""Files that are written at once; a reader may be slow."""
KINDS_OF_FILE = {"jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}

OnRetracted = Callable[[Judgement], Awaitable[None]]
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Kind = Literal["block", "compare", "mark"]

NO_STORE: dict[int | str, dict[str, Any]] = {
    **UNAUTHORIZED,
    404: {"model": Refusal, "description": "There are no judgements yet, or not this one."},
    503: {"model": Refusal, "description": "The store cannot be read or written now."},
}
"""How a request for judgements may be refused."""
ONLY_JUDGES: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body is no text."},
    403: {"model": Refusal, "description": "Only people who judge retract judgements."},
}


class Those(BaseModel):
    """Of which judgements."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | SkipJsonSchema[None] = None
    person: Name | SkipJsonSchema[None] = None
    run: Name | SkipJsonSchema[None] = None


class Listed(Those):
    """Which of them, and from where on."""

    status: Status = "all"
    before: Annotated[int, Field(ge=1, le=LARGEST_ID)] | SkipJsonSchema[None] = None
    most: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50


class Row(BaseModel):
    """A judgement in a list: what was shown and the verdict, in a line of words each."""

    id: int
    at: datetime
    kind: str
    person: str
    run: str
    shown: str
    summary: str
    latency_ms: float
    active: bool


class Rows(BaseModel):
    """Some judgements, newest first; ``next`` is what ``before`` asks for the next ones with, if there may be any."""

    rows: list[Row]
    next: int | None


class Retracted(BaseModel):
    """That a judgement was retracted: by which row, by whom, when and why."""

    id: int
    person: str
    at: datetime
    why: str


class Whole(BaseModel):
    """A judgement with all that is stored of it, and whether its row is as it was written after the one before it."""

    id: int
    at: datetime
    kind: str
    person: str
    run: str
    model_version: str
    shown: Any
    verdict: Any
    summary: str
    latency_ms: float
    key: str
    digest: str
    unbroken: bool
    retraction: Retracted | None


class About(BaseModel):
    """Who asks, and whose judgements and which runs' there are."""

    person: str
    judges: bool
    count: int
    people: list[str]
    runs: list[str]


class Reason(Strict):
    """Why a judgement is retracted."""

    why: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class Verified(BaseModel):
    """What the audit chain says: how many rows it links, or what is wrong."""

    rows: int | None
    wrong: str | None


class OpenedLater:
    """A store that is opened when it is first asked for and is there; a run makes its own once it has begun.

    Args:
        place: a file, or a URL as `heed.oversight.open_store` takes it.

    >>> OpenedLater("not-there-yet.db")()
    Traceback (most recent call last):
    heed.errors.HeedError: there is no store of judgements (--store not-there-yet.db): give one that a run has written
    """

    def __init__(self, place: str) -> None:
        self._place, self._opening = place, threading.Lock()
        self._store: Store | None = None

    def __call__(self) -> Store:
        """The store.

        Raises:
            HeedError: there is none.
        """
        with self._opening:
            if self._store is None:
                self._store = open_store(self._place, "--store", new=False)
            return self._store

    def close(self) -> None:
        """Give up its connections, if it was opened."""
        if self._store is not None:
            self._store.close()


def add_judgements(
    app: FastAPI, opened: Callable[[], Store], people: People, on_retracted: OnRetracted | None = None
) -> None:
    """Add the page of judgements to an app, and what it asks for, below ``/api/judgements``, behind each one's token.

    Rows of an answer, texts of a list and pairs of people are bounded. Of the requests that go through the whole store,
    agreement and verifying work one at a time, and hold the answers alone; `MOST_FILES` files are written at once, and
    hold what is written next.

    Args:
        app: of `heed.web.app.create_app`.
        opened: gives the store; may raise `HeedError` as long as there is none. Called in threads.
        people: who may look; those who judge may retract judgements, anybody's, under their own name.
        on_retracted: called with each judgement that was retracted here, in the server's loop.
    """
    known, busy, files = Depends(bearer(people)), asyncio.Lock(), asyncio.Semaphore(MOST_FILES)
    anybody = [known, Depends(once)]
    add_page(app, "/judgements", "judgements", "the judgements", beside=["judgements.css"])

    def store() -> Store:
        try:
            return opened()
        except HeedError as none:
            raise HTTPException(404, none.what) from none

    here = Depends(store)

    async def file() -> AsyncIterator[None]:
        """Within: one of the files that are written at once, until it is sent or whoever asked is gone."""
        if files.locked():
            raise HTTPException(429, "other files are being written; ask again later")
        async with files:
            yield

    @app.exception_handler(RunFailed)
    async def failed(_: Request, fault: RunFailed) -> Response:
        """The reason may name a place on this machine: it is for the log."""
        logger.error("%s", fault.reason)
        return JSONResponse({"detail": "the store cannot be read or written now"}, 503)

    @app.get("/api/judgements", responses=NO_STORE, dependencies=anybody)
    def listed(those: Annotated[Listed, Query()], store: Store = here) -> Rows:
        """Judgements, newest first."""
        found = page(store, Filter(those.kind, those.person, those.run, those.status), those.before, those.most)
        return Rows(rows=[_row(each) for each in found], next=found[-1].id if len(found) == those.most else None)

    @app.get("/api/judgements/about", responses=NO_STORE)
    def about(person: Person = known, store: Store = here) -> About:
        """Who asks, and whose judgements and which runs' there are."""
        runs = store.runs()[-MOST_RUNS:]
        return About(
            person=person.name, judges=person.judges, count=store.count(), people=people_of(store), runs=runs[::-1]
        )

    agreed: dict[int, Agreements] = {}

    @app.get("/api/judgements/agreement", responses=NO_STORE, dependencies=anybody)
    async def agreement(store: Store = here) -> Agreements:
        """How far people agree, and how fast and how steady each is; of all active judgements."""
        async with busy:
            last = await run_in_threadpool(last_row, store)
            if last not in agreed:  # rows are only ever added: the same last row is the same answer
                found = await run_in_threadpool(agreements, passing(store, Filter(status="active")))
                agreed.clear()
                agreed[last] = found
            return agreed[last]

    @app.get("/api/judgements/verify", responses=NO_STORE, dependencies=anybody)
    async def verify(store: Store = here) -> Verified:
        """Whether every row is as it was written, by the audit chain."""
        async with busy:
            try:
                return Verified(rows=await run_in_threadpool(store.verify), wrong=None)
            except HeedError as found:
                return Verified(rows=None, wrong=found.what)

    @app.get(
        "/api/judgements/export/{name}",
        responses={**NO_STORE, 200: {"content": {kind: {} for kind in KINDS_OF_FILE.values()}}},
        response_class=StreamingResponse,
        dependencies=[*anybody, Depends(file)],
    )
    def exported(name: Literal["jsonl", "parquet"], those: Annotated[Those, Query()], store: Store = here) -> Response:
        """The active judgements, as a file."""
        pieces = STREAMS[f".{name}"](passing(store, Filter(those.kind, those.person, those.run, "active")))
        headers = {"Content-Disposition": f'attachment; filename="judgements.{name}"'}
        return StreamingResponse(pieces, media_type=KINDS_OF_FILE[name], headers=headers)

    @app.get("/api/judgements/{id}", responses=NO_STORE, dependencies=anybody)
    def whole(id: Id, store: Store = here) -> Whole:
        """One judgement, with all that is stored of it."""
        found = one(store, id)
        if found is None:
            raise HTTPException(404, f"there is no judgement {id}")
        return _whole(found, follows(store, found))

    @app.post("/api/judgements/{id}/retract", responses={**NO_STORE, **ONLY_JUDGES})
    async def retract(id: Id, reason: Reason, person: Person = known, store: Store = here) -> Whole:
        """Retract a judgement, by a further row; a second time changes nothing. There is no way to undo it."""
        if not person.judges:
            raise HTTPException(403, "you watch, and judge nothing")
        found = await run_in_threadpool(one, store, id)
        if found is None:
            raise HTTPException(404, f"there is no judgement {id}")
        await run_in_threadpool(store.retract, id, person.name, reason.why)
        if on_retracted is not None:
            await on_retracted(found.judgement)
        return await run_in_threadpool(whole, id, store)


def once(request: Request) -> None:
    """For FastAPI's ``Depends``: refuse a query that gives a name twice, of which one would be ignored."""
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            raise RequestValidationError([{"type": "repeated", "loc": ("query", name), "msg": "it is given twice"}])


def _row(found: Found) -> Row:
    judgement = found.judgement
    return Row(
        id=found.id,
        at=judgement.at,
        kind=judgement.kind,
        person=judgement.person,
        run=judgement.run,
        shown=_short(shown_in_words(judgement)),
        summary=_short(verdict_in_words(judgement)),
        latency_ms=judgement.latency_ms,
        active=found.retraction is None,
    )


def _whole(found: Found, unbroken: bool) -> Whole:
    retraction, judgement = found.retraction, found.judgement
    fields = {name: value for name, value in vars(judgement).items() if name != "retracts"}
    fields |= {"shown": _plain(judgement.shown), "verdict": _plain(judgement.verdict)}
    return Whole(
        **fields,
        summary=_short(verdict_in_words(judgement)),
        digest=found.digest,
        unbroken=unbroken,
        retraction=None if retraction is None else Retracted(**{**vars(retraction), "why": _plain(retraction.why)}),
    )


def shown_in_words(judgement: Judgement) -> str:
    """What was shown, in a line: a comparison's prompt, or which action when.

    >>> shown_in_words(Judgement("block", "ada", {"env": "Walk", "episode": 2, "step": 7, "action": 1}, {}))
    'episode 3, step 8: action 1'
    """
    shown = judgement.shown
    if is_comparison(judgement):
        prompt = shown["prompt"]
        return prompt if isinstance(prompt, str) else _json(prompt)
    if isinstance(shown, dict) and shown.keys() >= {"episode", "step", "action"}:
        return f"episode {_nth(shown['episode'])}, step {_nth(shown['step'])}: action {_json(shown['action'])}"
    return _json(shown)


def verdict_in_words(judgement: Judgement) -> str:
    """The verdict, in a line.

    >>> verdict_in_words(Judgement("block", "ada", {}, {"block": True, "catastrophe": True}))
    'block, catastrophe'
    >>> shown = {"pair": "p", "prompt": "?", "left": "a", "right": "b", "swapped": False}
    >>> said = {"objectives": {"help": "left"}, "unsafe": {"left": False, "right": True}, "grades": {"help": "much"}}
    >>> verdict_in_words(Judgement("compare", "ada", shown, said | {"comment": "b burns"}))
    'help: much left, right unsafe, “b burns”'
    """
    verdict = judgement.verdict
    if is_comparison(judgement):
        grades = verdict.get("grades", {})
        given = verdict["objectives"].items()
        said = [f"{name}: {grades[name]} {side}" if name in grades else f"{name}: {side}" for name, side in given]
        unsafe = [f"{side} unsafe" for side in ("left", "right") if verdict["unsafe"][side]]
        comment = [f"“{verdict['comment']}”"] if verdict.get("comment") else []
        return ", ".join([*said, *unsafe, *comment])
    if judgement.kind == "block" and isinstance(verdict, dict) and "block" in verdict:
        flags = [name for name in FLAGS if verdict.get(name)]
        reason = [verdict["reason"]] if verdict.get("reason") else []
        return ", ".join(["block" if verdict["block"] else "let pass", *flags, *reason])
    if judgement.kind == MARK and isinstance(verdict, dict):
        return ": ".join(["marked", *([verdict["note"]] if verdict.get("note") else [])])
    return _json(verdict)


def _nth(index: Any) -> str:
    """An index as people count, from 1."""
    return str(index + 1) if isinstance(index, int) else _json(index)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    line = " ".join(_plain(text[: 2 * LONGEST_LINE]).split())
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def _plain(value: Any) -> Any:
    """The same without half characters, which JSON can hold and no encoding: another program may have written them."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
