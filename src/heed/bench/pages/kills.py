"""Durability: the pages' servers are killed at random times, and the store must hold every acknowledged judgement."""

from __future__ import annotations

import multiprocessing
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, select

import heed
from heed.bench.options import KillBench
from heed.bench.pages.killed_pages import PAGES, Page
from heed.bench.pages.killed_servers import PRELOADED, Opening, serve
from heed.errors import HeedError, RunFailed
from heed.oversight.store.database import TABLE, engine_of
from heed.oversight.store.store import Store, open_store

START_S = 60.0
"""Seconds in which a server must be up."""
LAST = 20
"""Judgements that the last server, which nobody kills, must still take."""


def run_kill_bench(
    bench: KillBench, tell: Callable[[str, int, int], None] | None = None, opening: Opening = Store
) -> dict[str, Any]:
    """Kill the servers again and again, and compare the store with what the pages were told.

    A server is killed with SIGKILL at a time drawn evenly from its start until ``span`` seconds after the last one
    first acknowledged something: some die before they serve, and most while they write. In the end exactly the
    judgements that a page holds for active must be active in the store.

    Args:
        bench: what.
        tell: follows the kills: page, done, all.
        opening: opens the store in the servers.

    Returns:
        What ``heed bench kills --json`` prints: "version", "store", "seed" and "rows", one for each page, with "name",
        "kills", "acknowledged", "taken_back", "lost" (acknowledged, and not in the store, or retracted, and still
        active), "doubled" (active twice, or sent by no page), "altered", "refused" (though it was in view, or written
        all the same), "cut" (kills of a server that owed an acknowledgement), "retried" (sent again, with the same
        key), "turned_away" (of those, refused as nothing was in view on the new line yet), "already" (of those, on
        disk before they were sent again), "links" (of the audit chain, which is whole) and "seconds".

    Raises:
        HeedError: options out of range, a store that is not empty, or whose audit chain is broken.
        RunFailed: a server does not start, or falls silent.
    """
    pages = list(PAGES) if bench.page == "both" else [bench.page]
    if bench.kills < 1 or not bench.span > 0 or not set(pages) <= PAGES.keys():
        fix = f"give kills and a span above 0, and as page {', '.join(PAGES)} or both"
        raise HeedError(f"{bench}", "heed bench kills", fix)
    with tempfile.TemporaryDirectory(prefix="heed-kills-") as folder:
        url = bench.store or f"sqlite:///{Path(folder) / 'judgements.db'}"
        store = open_store(url, "--store")
        if store.count():
            raise HeedError("what the bench judges is no person's judgement", f"--store {url}", "give an empty store")
        store.close()
        _import_once()
        rows = [_row(name, bench, url, opening, tell) for name in pages]
    return {"version": heed.__version__, "store": make_url(url).get_backend_name(), "seed": bench.seed, "rows": rows}


def _import_once() -> None:
    """Let one process import what the servers need, from which they are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    first = context.Process(target=int)
    first.start()
    first.join()


def _row(
    name: str, bench: KillBench, url: str, opening: Opening, tell: Callable[[str, int, int], None] | None
) -> dict[str, Any]:
    draws = random.Random(f"{bench.seed} {name}")
    page: Page = PAGES[name](random.Random(f"{bench.seed} {name} page"))
    began, cut = time.monotonic(), 0
    up = _life(name, opening, url, 0, page, until=LAST) or 0.0
    for kill in range(1, bench.kills + 1):
        page.restarted()
        up = _life(name, opening, url, kill, page, dies=draws.uniform(0.0, up + bench.span)) or up
        cut += page.cut
        if tell is not None:
            tell(name, kill, bench.kills)
    page.restarted()
    _life(name, opening, url, bench.kills + 1, page, until=page.acknowledged + LAST)
    return {
        "name": name,
        "kills": bench.kills,
        "acknowledged": page.acknowledged,
        "taken_back": len(page.retracted),
        **differences(url, page),
        "cut": cut,
        "retried": len(page.repeated),
        "turned_away": len(page.turned_away),
        "seconds": time.monotonic() - began,
    }


def _life(
    name: str,
    opening: Opening,
    url: str,
    life: int,
    page: Page,
    until: float = float("inf"),
    dies: float | None = None,
) -> float | None:
    """One server, from its start to its end; returns the seconds until it acknowledged anything, None if it never did.

    Args:
        name: of the page.
        opening: opens the store.
        url: of the store.
        life: how many servers there were before.
        page: the person's page.
        until: how many judgements are acknowledged in the end, where nobody kills it before.
        dies: seconds after which it is killed.
    """
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(name, opening, url, life, page.acknowledged, theirs), daemon=True)
    began = time.monotonic()
    server.start()
    theirs.close()
    killing = threading.Timer(dies, server.kill) if dies is not None else None
    try:
        if killing is not None:
            killing.start()
        try:
            if not ours.poll(START_S):
                raise RunFailed(f"the server of {name} is not up after {START_S:.0f} s")
            address, token = ours.recv()
        except EOFError:
            return None  # it was not up yet
        page.visit(address, token, until)
        if dies is None and page.acknowledged < until:
            raise RunFailed(f"the server of {name} took no more judgements")
        return None if page.heard is None else page.heard - began
    finally:
        if killing is not None:
            killing.join()
        server.kill()
        server.join()
        ours.close()
        if server.exitcode != -signal.SIGKILL:
            raise RunFailed(f"the server of {name} ended by itself ({server.exitcode})")


def differences(url: str, page: Page) -> dict[str, int]:
    """Compare what a store holds with what a page was told.

    Returns:
        "lost", "doubled", "altered", "already", "refused" and "links", as `run_kill_bench` tells them.

    Raises:
        HeedError: the audit chain is broken.
    """
    store = Store(url)
    links, active = store.verify(), {judgement.key: judgement for judgement in store.effective(page.kind)}
    store.close()
    engine = engine_of(make_url(url))
    with engine.connect() as connection:
        rows = connection.execute(select(TABLE.c.key, TABLE.c.at).where(TABLE.c.kind == page.kind))
        times = {row.key: row.at for row in rows}
    engine.dispose()
    about = Counter(page.content(judgement)[0] for judgement in active.values())
    lost = (page.active - active.keys()) | (page.retracted - (times.keys() - active.keys()))
    known = page.active | page.retracted | page.abandoned | page.uncertain | page.turned_away
    return {
        "lost": len(lost | (page.uncertain - times.keys())),
        "doubled": sum(times - 1 for times in about.values()) + len(times.keys() - known),
        "altered": sum(page.sent.get(key) != page.content(judgement) for key, judgement in active.items()),
        "already": sum(times[key] < again for key, again in page.repeated.items() if key in times),
        "refused": len(page.refused) + len(page.turned_away & times.keys()),
        "links": links,
    }


def kept(result: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, altered or refused.

    >>> kept({"rows": [{"lost": 0, "doubled": 1, "altered": 0, "refused": 0}]})
    False
    """
    return not any(row[fault] for row in result["rows"] for fault in ("lost", "doubled", "altered", "refused"))


def kill_table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    >>> row = {"name": "compare", "kills": 1000, "cut": 800, "acknowledged": 9000, "lost": 0, "doubled": 0}
    >>> row |= {"altered": 0, "retried": 900, "already": 70, "seconds": 400.0}
    >>> print(kill_table({"store": "sqlite", "seed": 0, "rows": [row]}))
    | sqlite, seed 0 | kills | mid-write | acknowledged | lost | doubled | altered | retried | on disk | seconds |
    |---|---|---|---|---|---|---|---|---|---|
    | compare | 1,000 | 800 | 9,000 | 0 | 0 | 0 | 900 | 70 | 400 |
    """
    lines = [
        f"| {result['store']}, seed {result['seed']} | kills | mid-write | acknowledged | lost | doubled | altered "
        "| retried | on disk | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['kills']:,} | {row['cut']:,} | {row['acknowledged']:,} | {row['lost']} "
        f"| {row['doubled']} | {row['altered']} | {row['retried']:,} | {row['already']:,} | {row['seconds']:.0f} |"
        for row in result["rows"]
    ]
    return "\n".join(lines)
