"""heed label: people compare completions at a page, one judgement for each objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from heed.cli.command import Command, add_logins, words
from heed.cli.console import quiet_libraries, say, say_revoked, stopping_at_rounds, wait_until_stopped
from heed.cli.label_pairs import add_options, pairs_of
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.oversight.store.store import Judgement
    from heed.web.compare import CompareServer
    from heed.web.limits import Limits
    from heed.web.people import People
    from heed.web.serving import Tls


PACE_S = 60.0
"""Seconds between two words on how far everybody is."""


def run(arguments: Sequence[str], limits: Limits | None = None) -> None:
    """Parse, serve the page until all is compared, export.

    Args:
        arguments: of the command.
        limits: how much pages may send; for programs that judge faster than people do.
    """
    quiet_libraries()
    command = Command("label", "Compare completions in the browser, by several objectives.")
    command.add("--objectives", type=str, required=True, help="what is asked of each pair: names, commas between")
    command.add(
        "--guidelines",
        type=str,
        default=None,
        help="a file of Markdown, shown beside the pairs: below an objective's heading what it means",
    )
    command.add("--people", type=str, default="overseer", help="who compares: names with commas between them")
    command.add(
        "--store", type=str, default="judgements.db", help="where comparisons are kept: a file or SQLAlchemy URL"
    )
    command.add("--times", type=int, default=1, help="how many different people judge each pair")
    command.add("--seed", type=int, default=0, help="of the sampling, the pairs' order and the sides")
    command.add("--host", type=str, default="127.0.0.1", help="where the page is served; others reach it if it says so")
    command.add("--port", type=int, default=8000, help="the page's port; 0 takes a free one")
    add_logins(command)
    command.add(
        "--out",
        type=str,
        default=None,
        help="the comparisons in the end, as FILE.jsonl or FILE.parquet to train on",
    )
    add_options(command)
    parsed = command.parse(arguments)
    asked = {name for name, value in vars(command.parse(arguments, defaults=False)).items() if value is not None}

    from heed.oversight.comparisons.guidelines import read_guidelines
    from heed.oversight.comparisons.pairs import in_order, require_order  # once it is asked for: --help answers at once
    from heed.oversight.comparisons.session import ComparisonSession, require_objectives
    from heed.oversight.store.export import require_ending
    from heed.oversight.store.store import open_store
    from heed.web.compare import CompareServer
    from heed.web.judgements import add_judgements
    from heed.web.serving import tls_from
    from heed.web.tokens import people_with, tokens_from

    names, objectives = words(parsed.people), words(parsed.objectives)
    if parsed.out is not None:
        require_ending(Path(parsed.out))
    tls = tls_from(parsed.tls_cert, parsed.tls_key)
    tokens = tokens_from(parsed.tokens, words(parsed.rotate or ""), words(parsed.revoke or ""))
    require_objectives(objectives)
    require_order(parsed.next, objectives)
    guidelines = None if parsed.guidelines is None else read_guidelines(parsed.guidelines, objectives)
    if guidelines is not None and (unsaid := [name for name in objectives if name not in guidelines.definitions]):
        say(f"no heading of {parsed.guidelines} says what {', '.join(unsaid)} means")
    people, _ = people_with(tokens, names)
    if parsed.times > len(people.all):
        raise HeedError(f"{len(people.all)} cannot judge each pair {parsed.times} times", "--times", "name more people")
    found, path = pairs_of(parsed, asked, objectives)
    title = path.name
    pairs = in_order(found, parsed.next, objectives, parsed.seed)
    session = ComparisonSession(pairs, objectives, parsed.times, parsed.seed, run=title)
    people, keep = people_with(tokens, names)  # once more: sampling pairs may have taken hours
    with closing(open_store(parsed.store, "--store")) as store:
        resumed = session.resume(store.effective("compare"))
        if resumed:
            say(f"{resumed} comparisons stand in {parsed.store} already")
        if session.finished:
            keep()
        else:
            server = CompareServer(session, store, people, title, limits, guidelines)
            add_judgements(server.app, lambda: store, people, server.retracted)
            say_revoked(names, [person.name for person in people.all])
            told = Told(lambda: session.among(store.effective("compare")), lambda: session.progress("")["given"])
            serve_pairs(server, people, parsed.host, parsed.port, limits, tls, told, keep)
        say("everything is compared" if session.finished else "stopped; go on with the same command")
        if parsed.out is not None:
            _export(session.among(store.effective("compare")), Path(parsed.out))
    if not session.finished:
        raise SystemExit(130)


class Told:
    """How far everybody is, for who runs the command: said at a pace, and only where there is something new.

    Args:
        found: gives the comparisons that stand.
        count: how many were wanted and are there; it is asked often, and must be quick.
        clock: seconds, from anywhere.
    """

    def __init__(
        self,
        found: Callable[[], Sequence[Judgement]],
        count: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._found, self._count, self._clock = found, count, clock
        self._said, self._next = count(), clock() + PACE_S

    def look(self, last: bool = False) -> None:
        """Say it if it is time to, or the last time, and something is new."""
        count = self._count()
        if count == self._said or (self._clock() < self._next and not last):
            return
        self._said, self._next = count, self._clock() + PACE_S
        for line in progress_lines(self._found()):
            say(line)


def progress_lines(found: Sequence[Judgement]) -> list[str]:
    """Of each person: how many pairs they compared, how fast, and how often most others say the same."""
    from heed.oversight.agreement import agreements  # statistics, once there is something to count

    lines = []
    for each in agreements(found).people:
        line = f"{each.person}: {each.judgements} compared"
        if each.median_ms is not None:
            line += f", median {each.median_ms / 1000:.1f} s"
        if each.with_majority is not None:
            line += f"; as most others say in {each.with_majority:.0%} of {each.majorities} answers"
        lines.append(line)
    return lines


def serve_pairs(
    server: CompareServer,
    people: People,
    host: str,
    port: int,
    limits: Limits | None,
    tls: Tls | None,
    told: Told,
    keep: Callable[[], None],
) -> None:
    """Until everything is compared, or Ctrl-C; `keep` is called once the page is there."""
    from heed.web.serving import at_stake, serving

    with stopping_at_rounds("stopping") as wanted, serving(server.app, host, port, limits, tls) as address:
        keep()
        if stake := at_stake(host, tls):
            say(stake, needed=True)
        for person in people.all:
            say(f"{person.name} compares at {address}/#token={people.token_of(person.name)}", needed=True)

        def done() -> bool:
            told.look()
            return server.finished.is_set()

        wait_until_stopped(wanted, done)
    told.look(last=True)


def _export(found: Sequence[Judgement], out: Path) -> None:
    if not found:
        say(f"nothing is compared yet: {out} is not written")
        return

    from heed.oversight.comparisons.formats import export_comparisons

    count, _ = export_comparisons(found, out)
    print(f"{count} comparisons in {out}")
