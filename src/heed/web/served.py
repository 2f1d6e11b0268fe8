"""A person as overseer, from Python: their page is served as long as a `with` block lasts."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

from heed.errors import HeedError
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Overseer
from heed.oversight.overseers.human import HumanOverseer
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.store.store import Store, open_store
from heed.web.judgements import OpenedLater, add_judgements
from heed.web.limits import Limits
from heed.web.run import add_run
from heed.web.serving import Tls, serving
from heed.web.tokens import Tokens, people_with
from heed.web.watch import WatchServer

STOPPED = "the run has stopped: nothing is asked of you any more"
"""What pages say where nobody else said how the run ended."""


@dataclass(frozen=True)
class ServedOverseer:
    """People at their pages.

    Args:
        overseer: for `heed.guard.Guard`: asks them, and writes their verdicts down if there is a store to.
        human: for the ``person`` of `heed.guard.train_guard`, which writes their verdicts down itself.
        addresses: of everybody's page, by name, with their secret token behind the ``#``: for their eyes alone.
    """

    overseer: Overseer
    human: HumanOverseer
    addresses: Mapping[str, str]


@contextmanager
def serve(
    env: gym.Env[Any, Any] | str,
    people: Sequence[str] = ("overseer",),
    *,
    watchers: Sequence[str] = (),
    votes: int = 1,
    pace: Pace | None = None,
    reasons: Sequence[str] = (),
    task: str = "",
    store: Store | str | None = None,
    run: Path | str | None = None,
    report: Callable[[Path], str] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    tokens: Tokens | Path | str | None = None,
    tls: Tls | None = None,
) -> Iterator[ServedOverseer]:
    """Within: people oversee an agent in the browser. As long as nobody's page is open, the agent waits.

    Nothing is printed: hand each person their address. An environment made with ``render_mode="rgb_array"`` is shown in
    pictures, any other in words and numbers. A thread that still waits for a verdict when the block ends is stopped.

    Args:
        env: what is overseen, or its name.
        people: who may judge: different, short names.
        watchers: who may only look.
        votes: how many different people judge each action.
        pace: how long things may take; it is changed at the page, too.
        reasons: at most nine short texts, of which a person gives one with a block by its digit.
        task: what people are told before they begin: what moves, and what a catastrophe is; "" leaves it to the run.
        store: where judgements are kept: a `Store`, a SQLite file or a URL. Without a run they are written there from
            here; with one, the run writes them, and None takes the run folder's ``judgements.db``. With neither,
            verdicts are obeyed and written nowhere.
        run: the run folder of a `heed.guard.train_guard` that is overseen.
        report: of a run folder, one self-contained HTML page, such as `heed.report.report_of`; a page with the run's
            metrics leads to it. None serves no page of the run.
        stopping: whether the run is to stop; looked at while the agent waits.
        host: where to listen; others than this machine can connect only if it says so.
        port: 0 takes a free one.
        limits: how much pages may send.
        tokens: a file in which tokens outlast this block, so that addresses stay the same; who was revoked in it has no
            address. Each time fresh ones without.
        tls: a certificate, for a host that others reach.

    Yields:
        The people as an overseer.

    Raises:
        HeedError: names that cannot be, fewer people than votes, a store or file of tokens that cannot be opened, or a
            place where nothing can listen.

    >>> with serve("heed/PointHazard-v0", people=["ada"], watchers=["eve"]) as person:
    ...     sorted(person.addresses), person.addresses["ada"].partition("#")[2][:6], person.overseer.name
    (['ada', 'eve'], 'token=', 'browser')
    """
    kept = Tokens(Path(tokens)) if isinstance(tokens, str | Path) else tokens
    named, keep = people_with(kept, people, watchers)
    judging = sum(person.judges for person in named.all)
    if not 0 < votes <= judging:
        raise HeedError(f"{judging} cannot judge each action {votes} times", "--people", "name more people")
    title, ended = env if isinstance(env, str) else _name(env), threading.Event()
    human = HumanOverseer(Desk(pace, votes=votes), stopping=lambda: ended.is_set() or stopping(), task=task)
    server = WatchServer(human, named, title, limits, reasons)
    overseer: Overseer = human
    judged: Callable[[], Store] | None = None
    with ExitStack() as opened:
        if run is not None and report is not None:
            add_run(server.app, Path(run), named, report)
        if isinstance(store, Store):
            judged = _there(store)
        elif run is not None:
            judged = opened.enter_context(closing(OpenedLater(store or str(Path(run) / "judgements.db"))))
        elif store is not None:
            judged = _there(opened.enter_context(closing(open_store(store, "store"))))
        if run is None and judged is not None:
            overseer = recorded = Recorded(human, listeners=[human])
            recorded.begin(judged(), f"{title.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}", title)
            human.bind(recorded)
        if judged is not None:
            add_judgements(server.app, judged, named, server.retracted)
        address = opened.enter_context(serving(server.app, host, port, limits, tls))
        keep()
        opened.callback(ended.set)  # nobody waits for a page that goes
        words = STOPPED + (", and what you said is kept" if judged is not None else "")
        opened.callback(human.end, words)  # first of all at the end: every page says so before its server is gone
        addresses = {each.name: f"{address}/#token={named.token_of(each.name)}" for each in named.all}
        yield ServedOverseer(overseer, human, addresses)


def _there(store: Store) -> Callable[[], Store]:
    return lambda: store


def _name(env: gym.Env[Any, Any]) -> str:
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__
