"""The server of the page where people compare: pairs go out, and what comes back is on disk before it counts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import field
from typing import Annotated, Any, Literal

from fastapi import WebSocket
from pydantic import Field
from pydantic.dataclasses import dataclass

from heed.errors import HeedError, RunFailed
from heed.oversight.comparisons.guidelines import Guidelines
from heed.oversight.comparisons.session import MOST_COMMENT, MOST_OBJECTIVES, SIDES, Comparison, ComparisonSession, Side
from heed.oversight.store.store import Judgement, Store
from heed.web.app import add_page, create_app
from heed.web.connection import MESSAGE, Connections, Page, Short, Strict
from heed.web.limits import Limits
from heed.web.people import People
from heed.web.texts import Node, as_tree

LOOK_S = 1.0
"""Seconds after which a page that has nothing to show looks again, as a lease may have ended."""
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID: nothing that a store makes keys of itself."""


@dataclass(frozen=True, config=MESSAGE)
class SentComparison(Comparison):
    """A comparison as a page sends it: the session's own record, with bounds."""

    pair: Short
    objectives: Annotated[
        dict[Short, Literal["left", "right", "tie", "both bad", "skip"]], Field(max_length=MOST_OBJECTIVES)
    ]
    unsafe: Annotated[dict[Side, bool], Field(min_length=2)]
    key: Key
    latency_ms: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    grades: Annotated[dict[Short, Literal["slightly", "much"]], Field(max_length=MOST_OBJECTIVES)] = field(
        default_factory=dict
    )
    comment: Annotated[str, Field(max_length=MOST_COMMENT, pattern=r"^[^\x00]*$")] = ""


class Message(Strict):
    """What a page sends: comparisons, and that the last one is to be undone."""

    compared: SentComparison | None = None
    undo: bool = False


class CompareServer:
    """Serves the pages on which people compare.

    Args:
        session: what is asked; only the server's loop touches it once it serves.
        store: where comparisons are written.
        people: who may connect.
        title: what is compared.
        limits: how much pages may send.
        guidelines: what people are to judge by, if that is written down.

    Attributes:
        finished: set when each pair is judged as often as asked, and who submitted last knows it written.
    """

    def __init__(
        self,
        session: ComparisonSession,
        store: Store,
        people: People,
        title: str,
        limits: Limits | None = None,
        guidelines: Guidelines | None = None,
    ) -> None:
        self.session, self.store, self.title = session, store, title
        self._guidelines = _guidelines_as_trees(guidelines or Guidelines())
        self.connections = Connections(people, Message, only_judges=True, limits=limits)
        self.finished = threading.Event()
        self._writing = asyncio.Lock()
        self.app = create_app(limits=limits)
        add_page(self.app, "/", "compare", "compare completions", beside=["compare.css", "texts.js", "kept.js"])
        self.app.add_api_websocket_route("/compare", self._compare)

    async def _compare(self, socket: WebSocket) -> None:
        await self.connections.admit(socket, self._serve)

    async def _serve(self, page: Page[Message]) -> None:
        name = page.person.name
        hello = {"person": name, "title": self.title, "objectives": self.session.objectives}
        page.note({"hello": hello | {"guidelines": self._guidelines}})
        try:
            await page.talk(self._send_news(page), self._obey(page))
        finally:
            if not any(other.person == page.person for other in self.connections.pages - {page}):
                self.session.leave(name)
                self.connections.pulse()

    async def _obey(self, page: Page[Message]) -> None:
        """Do what a page sends, message by message: one is on disk before the next is read."""
        async for message in page.messages():
            key = "" if message.compared is None else message.compared.key
            try:
                # Whole even if the connection ends meanwhile: what is on disk is counted.
                if message.compared is not None:
                    await asyncio.shield(self._write(page, message.compared))
                if message.undo:
                    await asyncio.shield(self._undo(page))
            except (HeedError, RunFailed) as refusal:
                page.note({"refused": {"key": key, "why": str(refusal)}})
            self.connections.pulse()

    async def _write(self, page: Page[Message], comparison: Comparison) -> None:
        async with self._writing:
            judgement = self.session.judgement(page.person.name, comparison)
            row = await asyncio.to_thread(self.store.add, judgement)  # the disk is waited for there, not here
            self.session.judged(judgement, row)
        page.note({"written": {"key": comparison.key, "id": row}})

    async def _undo(self, page: Page[Message]) -> None:
        person = page.person.name
        async with self._writing:
            given = self.session.last(person)
            await asyncio.to_thread(self.store.retract, given.row, person, "undo")
            self.session.undone(person, given)
        page.note({"undone": {"id": given.row, "verdict": given.verdict}})

    async def retracted(self, judgement: Judgement) -> None:
        """A judgement was retracted at the page of judgements."""
        async with self._writing:
            if judgement.id is not None:
                self.session.retracted(judgement.id, judgement.person)
        self.connections.pulse()

    async def _send_news(self, page: Page[Message]) -> None:
        """Send what is new, then what is to be seen now."""
        name, sent = page.person.name, list[dict[str, Any]]([{}, {}])
        while True:
            while page.notes:  # taken out once sent: `finished` waits for them
                await page.send(page.notes[0])
                del page.notes[0]
            pair = self.session.showing(name)
            shown = {"pair": pair} if pair is not None else {"nothing": self.session.why_nothing(name)}
            now = [shown, {"progress": self.session.progress(name)}]
            for new, before in zip(now, sent, strict=True):
                if new != before:
                    # Long texts take a while to read, in which others are served.
                    await page.send(await asyncio.to_thread(_with_trees, new) if "pair" in new else new)
            sent = now
            if self.session.finished and not any(other.notes for other in self.connections.pages):
                self.finished.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(page.news.wait(), LOOK_S)
            page.news.clear()


def _with_trees(message: dict[str, Any]) -> dict[str, Any]:
    """A pair as a page gets it: its texts as they stand, and as trees of Markdown beside them."""
    pair = message["pair"]
    prompt = [pair["prompt"]] if isinstance(pair["prompt"], str) else [said["content"] for said in pair["prompt"]]
    trees: dict[str, Any] = {side: as_tree(pair[side]) for side in SIDES}
    trees["prompt"] = [as_tree(text) for text in prompt]
    return {"pair": pair | {"trees": trees}}


def _guidelines_as_trees(guidelines: Guidelines) -> dict[str, Any]:
    def tree(text: str) -> list[Node]:
        read = as_tree(text)
        return [text] if read is None else read

    return {
        "general": tree(guidelines.general),
        "definitions": {name: tree(text) for name, text in guidelines.definitions.items()},
    }
