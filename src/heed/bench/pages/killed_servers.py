"""The servers that `heed bench kills` kills: the real pages over a real store, each in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from heed.errors import Stopped
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import ComparisonSession
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.store.store import Store
from heed.web.compare import CompareServer
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer

PERSON, RUN = "ada", "kills"
OBJECTIVES = ("help", "harmless")
PAIRS = 500
"""That a server has yet to be judged: more than one life takes."""
PRELOADED = (
    __name__,
    "sqlalchemy.dialects.sqlite",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)
"""What servers import, some of it only once they serve."""

Opening = Callable[[str], Store]
"""How a server opens its store, by its URL."""


def serve(page: str, opening: Opening, url: str, life: int, given: int, ready: Connection) -> None:
    """Serve a page until the process is killed, or whoever started it is gone.

    Args:
        page: one of `SERVERS`.
        opening: opens the store.
        url: of the store.
        life: how many servers there were before.
        given: how many judgements are acknowledged already.
        ready: is told the page's address and the person's token once it is served.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that kills
    with contextlib.suppress(EOFError, Stopped):
        SERVERS[page](opening(url), life, given, ready)


def _serve_compare(store: Store, _life: int, given: int, ready: Connection) -> None:
    """As ``heed label`` does, with pairs that were added to its file."""
    people = People.named([PERSON])
    pairs = [Pair(f"p{n}", f"Cough {n}?", ("Honey.", "Tea.")) for n in range(given + PAIRS)]
    comparing = ComparisonSession(pairs, OBJECTIVES, run=RUN)
    comparing.resume(store.effective("compare"))
    with serving(CompareServer(comparing, store, people, RUN).app) as address:
        ready.send((address, people.token_of(PERSON)))
        ready.recv()


def _serve_watch(store: Store, life: int, _given: int, ready: Connection) -> None:
    """As ``heed oversee`` does, with an agent that proposes as fast as it is judged.

    What it observes is the life and the number of the proposal: no two proposals are the same.
    """
    people = People.named([PERSON])
    overseer = HumanOverseer(Desk(Pace(glance=0.0)), stopping=ready.poll)  # these pages look at nothing
    recorded = Recorded(overseer, listeners=[overseer])
    recorded.begin(store, RUN, "Walk", lambda: ("oversight", 0))
    overseer.bind(recorded)
    with serving(WatchServer(overseer, people, RUN).app) as address:
        ready.send((address, people.token_of(PERSON)))
        for number in itertools.count(1):
            recorded.judge(Proposal(np.array([life, number]), np.array([0.5]), step=number))


SERVERS = {"compare": _serve_compare, "watch": _serve_watch}
