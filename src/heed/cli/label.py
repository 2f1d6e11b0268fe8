"""heed label: people compare completions at a page, one judgement for each objective."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from heed.cli.command import Command, words
from heed.cli.console import quiet_libraries, say, wait_until_stopped
from heed.cli.label_pairs import add_options, pairs_of
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.oversight.store.store import Judgement
    from heed.web.compare import CompareServer
    from heed.web.limits import Limits
    from heed.web.people import People


def run(arguments: Sequence[str], limits: Limits | None = None) -> None:
    """Parse, serve the page until all is compared, export.

    Args:
        arguments: of the command.
        limits: how much pages may send; for programs that judge faster than people do.
    """
    quiet_libraries()
    command = Command("label", "Compare completions in the browser, by several objectives.")
    command.add("--objectives", type=str, required=True, help="what is asked of each pair: names, commas between")
    command.add("--people", type=str, default="overseer", help="who compares: names with commas between them")
    command.add(
        "--store", type=str, default="judgements.db", help="where comparisons are kept: a file or SQLAlchemy URL"
    )
    command.add("--times", type=int, default=1, help="how many different people judge each pair")
    command.add("--seed", type=int, default=0, help="of the sampling, the pairs' order and the sides")
    command.add("--host", type=str, default="127.0.0.1", help="where the page is served; others reach it if it says so")
    command.add("--port", type=int, default=8000, help="the page's port; 0 takes a free one")
    command.add(
        "--out",
        type=str,
        default=None,
        help="the comparisons in the end, as FILE.jsonl or FILE.parquet to train on",
    )
    add_options(command)
    parsed = command.parse(arguments)
    asked = {name for name, value in vars(command.parse(arguments, defaults=False)).items() if value is not None}

    from heed.oversight.comparisons.pairs import in_order, require_order  # once it is asked for: --help answers at once
    from heed.oversight.comparisons.session import ComparisonSession, require_objectives
    from heed.oversight.store.export import require_ending
    from heed.oversight.store.store import open_store
    from heed.web.compare import CompareServer
    from heed.web.judgements import add_judgements
    from heed.web.people import People

    names, objectives = words(parsed.people), words(parsed.objectives)
    if parsed.times > len(names):
        raise HeedError(f"{len(names)} cannot judge each pair {parsed.times} times", "--times", "name more people")
    if parsed.out is not None:
        require_ending(Path(parsed.out))
    people = People.named(names)
    require_objectives(objectives)
    require_order(parsed.next, objectives)
    found, path = pairs_of(parsed, asked, objectives)
    title = path.name
    pairs = in_order(found, parsed.next, objectives, parsed.seed)
    session = ComparisonSession(pairs, objectives, parsed.times, parsed.seed, run=title)
    with closing(open_store(parsed.store, "--store")) as store:
        resumed = session.resume(store.effective("compare"))
        if resumed:
            say(f"{resumed} comparisons stand in {parsed.store} already")
        if not session.finished:
            server = CompareServer(session, store, people, title, limits)
            add_judgements(server.app, lambda: store, people, server.retracted)
            serve_pairs(server, people, parsed.host, parsed.port, limits)
        say("everything is compared" if session.finished else "stopped; go on with the same command")
        if parsed.out is not None:
            _export(session.among(store.effective("compare")), Path(parsed.out))
    if not session.finished:
        raise SystemExit(130)


def serve_pairs(server: CompareServer, people: People, host: str, port: int, limits: Limits | None) -> None:
    """Until everything is compared, or Ctrl-C."""
    from heed.web.serving import serving

    with serving(server.app, host, port, limits) as address:
        for person in people.all:
            say(f"{person.name} compares at {address}/#token={people.token_of(person.name)}", needed=True)
        wait_until_stopped(server.finished.is_set)


def _export(found: Sequence[Judgement], out: Path) -> None:
    if not found:
        say(f"nothing is compared yet: {out} is not written")
        return

    from heed.oversight.comparisons.formats import export_comparisons

    count, _ = export_comparisons(found, out)
    print(f"{count} comparisons in {out}")
