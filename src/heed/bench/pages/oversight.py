"""Latency of the watch page while an agent trains: of a key until it is on disk, of a proposal until it is shown."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import heed
from heed.bench.options import OversightBench
from heed.bench.pages.watching_pages import RATE, WARM_UP_S, Heard, in_chromium, over_sockets
from heed.errors import HeedError, RunFailed, Stopped
from heed.guard.run.config import job_of
from heed.guard.run.environment import drawing
from heed.guard.run.train import train_guard
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal, Verdict
from heed.oversight.overseers.human import HumanOverseer
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer


class _Timed(HumanOverseer):
    """Notes how long after a proposal each page has drawn it."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        super().__init__(Desk(Pace(rates=(RATE,), rate=0, heartbeat=60.0)), stopping=stopping)
        self.proposed: list[float] = []
        self.rendered_after: list[tuple[float, float]] = []  # when, and seconds since the proposal

    def judge(self, proposal: Proposal, /) -> Verdict:
        self.proposed.append(time.perf_counter())
        return super().judge(proposal)

    def rendered(self, page: str, number: int) -> None:
        now = time.perf_counter()
        self.rendered_after.append((now, now - self.proposed[number - 1]))
        super().rendered(page, number)


def run_oversight_bench(bench: OversightBench) -> dict[str, Any]:
    """Let an agent train before pages, and take the times.

    The agent, its learner and the server share one process, as in ``heed oversee``; the pages have another one.

    Returns:
        What ``heed bench oversight --json`` prints: "device", "version" and "rows"; a row has "name" ("key to stored":
        from the key until the page is notified that the judgement is on disk; "frame to screen": from the proposal
        until the server hears that a page has drawn it, or decoded it where no browser does), "pages", "n", "ms" (the
        median), "p99", "most" and "per_second" (keys, or frames on each page).

    Raises:
        HeedError: numbers that cannot be, or an environment that cannot be drawn.
        RunFailed: the pages failed.
    """
    numbers = _numbers(bench.pages)
    if min(*numbers, bench.presses) <= 0 or bench.seconds <= WARM_UP_S:
        fix = f"give pages and presses above 0, and more than {WARM_UP_S:g} seconds"
        raise HeedError(f"{bench}", "heed bench oversight", fix)
    rows = []
    for pages in numbers:
        keys, frames, seconds = _watched(bench, pages)
        rows += [_row("key to stored", pages, keys, 1, seconds), _row("frame to screen", pages, frames, pages, seconds)]
    return {"device": "cpu", "version": heed.__version__, "rows": rows}


def oversight_table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    >>> row = {"name": "key to stored", "pages": 1, "n": 99, "ms": 9.0, "p99": 20.0, "most": 31.0, "per_second": 2.0}
    >>> print(oversight_table({"rows": [row]}))
    | | pages | counted | a second | ms, median | 99% | most |
    |---|---|---|---|---|---|---|
    | key to stored | 1 | 99 | 2.0 | 9.0 | 20.0 | 31.0 |
    """
    lines = ["| | pages | counted | a second | ms, median | 99% | most |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['pages']} | {row['n']} | {row['per_second']:.1f} | {row['ms']:.1f} | {row['p99']:.1f} "
        f"| {row['most']:.1f} |"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise HeedError(f"'{text}' is no list of numbers", "--pages", "write 1,20") from None


def _watched(bench: OversightBench, pages: int) -> tuple[list[float], list[float], float]:
    """Milliseconds from keys to judgements and from proposals to screens, and the seconds in which they were taken."""
    forever = 10**9
    asked = {"env": bench.env, "overseer": "browser", "seed": bench.seed, "steps": forever, "oversight_steps": forever}
    job = job_of(asked | {"env_kwargs": drawing(bench.env)})
    people = People.named(["presser"], watchers=[f"watcher {n}" for n in range(1, pages)])
    tokens = [people.token_of(person.name) for person in people.all]
    here, there = multiprocessing.get_context("spawn").Pipe()
    overseer = _Timed(stopping=lambda: bool(here.poll()))

    def over(_step: int, _metrics: dict[str, float]) -> None:
        if here.poll():
            raise Stopped

    with (
        tempfile.TemporaryDirectory(prefix="heed-oversight-") as folder,
        serving(WatchServer(overseer, people, bench.env).app) as address,
    ):
        speak = in_chromium if bench.chromium else over_sockets
        asked_of_pages = (there, address, tokens, bench.seconds, bench.presses, bench.seed, bench.chromium)
        process = multiprocessing.get_context("spawn").Process(target=speak, args=asked_of_pages, daemon=True)
        process.start()
        there.close()
        with contextlib.suppress(Stopped):
            train_guard(job, Path(folder) / "run", over, overseer)
        try:
            heard: Heard = here.recv()
        except EOFError:
            raise RunFailed("the pages' process died") from None
        process.join(10.0)
    if heard.failed:
        raise RunFailed(f"the pages failed: {heard.failed}")
    counted_from = overseer.rendered_after[0][0] + WARM_UP_S
    ends = counted_from - WARM_UP_S + bench.seconds
    frames = [1e3 * after for when, after in overseer.rendered_after if counted_from <= when <= ends]
    return heard.keys_ms, frames, bench.seconds - WARM_UP_S


def _row(name: str, pages: int, ms: Sequence[float], each: int, seconds: float) -> dict[str, Any]:
    if not ms:
        raise RunFailed(f"nothing was measured of '{name}': give more --seconds")
    median, p99 = (float(x) for x in np.percentile(ms, [50, 99]))
    rate = len(ms) / each / seconds
    return {
        "name": name,
        "pages": pages,
        "n": len(ms),
        "ms": median,
        "p99": p99,
        "most": max(ms),
        "per_second": rate,
    }
