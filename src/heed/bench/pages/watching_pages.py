"""The simulated pages of `heed bench oversight`: over their sockets, or in a real browser whose keys are pressed."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

from heed.errors import RunFailed

RATE = 50.0
"""Proposals in a second that the desk lets pass at most."""
PATIENCE_S = 20.0
"""Seconds in which a page must be let in and shown something."""
WARM_UP_S = 3.0
"""Seconds from the first frame that are not counted."""
BEAT_S = 0.5
"""Seconds between two signs of life, as the page gives them."""
_TAKES_TIMES = """() => {
  window.keysMs = [];
  let pressed = 0;
  document.addEventListener("keydown", (event) => { if (event.key === "b") pressed = performance.now(); }, true);
  new MutationObserver(() => {
    if (pressed) window.keysMs.push(performance.now() - pressed);
    pressed = 0;
  }).observe(document.body, { attributes: true, attributeFilter: ["data-written"] });
}"""


@dataclass
class Heard:
    """The result of the pages.

    Args:
        keys_ms: from each key to the notice that its judgement is on disk.
        failed: why they failed; "" if they did not.
    """

    keys_ms: list[float] = field(default_factory=list)
    failed: str = ""


def over_sockets(
    results: Connection, address: str, tokens: Sequence[str], seconds: float, presses: float, seed: int, _program: str
) -> None:
    """Simulate a page of each token over its socket, as the page's script acts; the first one blocks now and then."""
    heard = Heard()
    try:
        heard.keys_ms = asyncio.run(_all(address.replace("http", "ws", 1) + "/watch", tokens, seconds, presses, seed))
    except Exception as problem:  # noqa: BLE001 - whatever it is, the other process must hear of it
        heard.failed = f"{type(problem).__name__}: {problem}"
    results.send(heard)


async def _all(url: str, tokens: Sequence[str], seconds: float, presses: float, seed: int) -> list[float]:
    keys: list[float] = []
    pages = [_SocketPage(url, token) for token in tokens]
    work = [asyncio.create_task(page.run()) for page in pages]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(page.ready.wait() for page in pages))
    await pages[0].order("go")
    draw, ends = random.Random(seed), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        await asyncio.sleep(draw.expovariate(presses))
        await pages[0].next_proposal()  # not the one that was blocked last
        taken = await pages[0].press()
        if taken is not None and time.perf_counter() > ends - seconds + WARM_UP_S:
            keys.append(1e3 * taken)
        for task in work:
            if task.done():
                raise RunFailed(f"a page's connection ended: {task.exception()}")
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    return keys


class _SocketPage:
    """One page: draws what it is shown, and says so."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.ready, self._shown = asyncio.Event(), asyncio.Event()
        self._socket: ClientConnection | None = None
        self._proposal = 0
        self._written: dict[str, asyncio.Future[bool]] = {}

    async def run(self) -> None:
        async with connect(self.url) as self._socket:
            await self._say({"token": self.token})
            beating = asyncio.create_task(self._beat())
            try:
                async for message in self._socket:
                    await self._hear(message)
            finally:
                beating.cancel()

    async def order(self, do: str, **rest: object) -> None:
        await self._say({"order": {"do": do, **rest}})

    async def press(self) -> float | None:
        """Block what is in view; seconds until it is known to be on disk, None if it came as the episode ended."""
        key, began = str(uuid.uuid4()), time.perf_counter()
        known = self._written[key] = asyncio.get_running_loop().create_future()
        await self.order("block", proposal=self._proposal, key=key)
        written = await asyncio.wait_for(known, PATIENCE_S)
        return time.perf_counter() - began if written else None

    async def next_proposal(self) -> None:
        """Wait until a proposal is in view that nobody has blocked."""
        self._shown.clear()
        await asyncio.wait_for(self._shown.wait(), PATIENCE_S)

    async def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            Image.open(io.BytesIO(message)).load()
            await self._drawn()
            return
        said = json.loads(message)
        self.ready.set()
        if "proposal" in said:
            self._proposal = said["proposal"]["number"]
            if not said["proposal"]["framed"]:
                await self._drawn()
        for kind in ("written", "refused"):
            if kind in said and (known := self._written.pop(said[kind]["key"], None)) is not None:
                known.set_result(kind == "written")

    async def _drawn(self) -> None:
        self._shown.set()
        await self._say({"rendered": self._proposal})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._say({})

    async def _say(self, message: dict[str, object]) -> None:
        if self._socket is not None:
            await self._socket.send(json.dumps(message))


def in_chromium(
    results: Connection, address: str, tokens: Sequence[str], seconds: float, presses: float, seed: int, program: str
) -> None:
    """Open a page of each token in a real browser, and press the first one's keys now and then."""
    heard = Heard()
    try:
        heard.keys_ms = _pressed(address, tokens, seconds, presses, seed, program)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the other process must hear of it
        heard.failed = f"{type(problem).__name__}: {problem}"
    results.send(heard)


def _pressed(
    address: str, tokens: Sequence[str], seconds: float, presses: float, seed: int, program: str
) -> list[float]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        pages = [browser.new_page() for _ in tokens]
        for page, token in zip(pages, tokens, strict=True):
            page.goto(f"{address}/#token={token}")
            page.wait_for_selector("body[data-proposal]", timeout=1e3 * PATIENCE_S)
        first = pages[0]
        first.evaluate(_TAKES_TIMES)
        first.keyboard.press(" ")
        draw, ends = random.Random(seed), time.perf_counter() + seconds
        while time.perf_counter() < ends:
            first.wait_for_timeout(1e3 * draw.expovariate(presses))
            first.keyboard.press("b")
            if time.perf_counter() < ends - seconds + WARM_UP_S:
                first.evaluate("window.keysMs = []")
        found: list[float] = first.evaluate("window.keysMs")
        browser.close()
    return found
