"""heed judgements: a store of judgements, to be listed, retracted, exported and verified."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heed.cli.command import Command, refuse_both, refuse_unread, words
from heed.cli.console import say, stopping_at_rounds, wait_until_stopped
from heed.errors import HeedError, flag_of
from heed.oversight.store.store import KINDS, Judgement, Store, open_store

if TYPE_CHECKING:
    from heed.oversight.agreement import Agreements


def run(arguments: Sequence[str]) -> None:
    """Parse; do what was asked."""
    command = Command("judgements", "Read a store of judgements: list, retract, export, verify, agree.")
    command.add("store", help="a run's judgements.db, or a SQLAlchemy URL")
    command.add("--kind", default=None, help=f"only {' or '.join(KINDS)}")
    command.add("--person", default=None, help="only this person's; with --retract, who takes it back")
    command.add("--of", default=None, help="only of this run")
    command.add("--last", type=int, default=20, help="how many to show, the latest; 0 shows all")
    command.add("--retract", type=int, default=None, help="take the judgement with this id back")
    command.add("--why", default="", help="with --retract: the reason")
    command.add("--export", default=None, help="write those that stand into FILE.jsonl or FILE.parquet")
    command.add(
        "--format",
        default=None,
        help="with --export: comparisons as heed, pku or trl; with --demonstrations: lerobot, minari",
    )
    command.add(
        "--objectives",
        default="",
        help="with --format: heed: those written (all); pku: BETTER,SAFER; trl: one",
    )
    command.add(
        "--margin",
        type=float,
        default=None,
        help="with --format heed: by how much a much better one is to lead; better two thirds, slightly better one",
    )
    command.add(
        "--demonstrations", default=None, help="write what people did when they took over into FOLDER, by --format"
    )
    command.add("--fps", type=float, default=10.0, help="with --demonstrations: steps in a second, for LeRobot")
    command.add("--verify", action="store_true", help="check that nothing was changed since it was written")
    command.add("--agreement", action="store_true", help="how far people agree, how fast and how steady they are")
    command.add("--serve", action="store_true", help="serve the page of judgements")
    command.add("--people", default="overseer", help="with --serve: who may take judgements back, commas between")
    command.add("--host", default="127.0.0.1", help="with --serve: where; others reach it if it says so")
    command.add("--port", type=int, default=8000, help="with --serve: the page's port; 0 takes a free one")
    parsed, given = command.parse(arguments), command.flags(arguments)
    if parsed.kind not in (None, *KINDS):
        raise HeedError(f"there is no kind '{parsed.kind}'", "--kind", f"take {' or '.join(KINDS)}")
    _refuse_unread(given)
    if parsed.last < 0:
        raise HeedError(f"{parsed.last} judgements cannot be shown", "--last", "give 0 or more")
    with closing(open_store(parsed.store, "heed judgements", new=False)) as store:
        if parsed.verify:
            print(f"{store.verify()} rows, each as it was written")
            return
        if parsed.serve:
            _serve(store, parsed)
            return
        if parsed.retract is not None:
            if not parsed.person:
                raise HeedError("nobody takes it back", "--person", "say who you are")
            print(f"row {store.retract(parsed.retract, parsed.person, parsed.why)} takes {parsed.retract} back")
            return
        if parsed.agreement:
            from heed.oversight.agreement import agreements  # statistics are for those who ask for them
            from heed.oversight.store.queries import Filter, passing

            _agreement(agreements(passing(store, Filter(parsed.kind, parsed.person, parsed.of, "active"))))
            return
        found = store.effective(parsed.kind, parsed.person, parsed.of)
        if parsed.export is not None:
            _export(found, parsed)
            return
        if parsed.demonstrations is not None:
            _demonstrate(found, parsed)
            return
        _show(found, parsed.last)


_DOES = ("verify", "serve", "retract", "agreement", "export", "demonstrations")


def _refuse_unread(given: Collection[str]) -> None:
    """Refuse what would not be read: a second thing to do, and what is another one's."""
    doing = [name for name in _DOES if name in given]
    refuse_both(given, *doing)
    if "demonstrations" not in given:
        refuse_unread(given, {"format": "export"})
    refuse_unread(given, {"objectives": "export", "margin": "export", "why": "retract", "fps": "demonstrations"})
    refuse_unread(given, {"objectives": "format", "margin": "format"})
    refuse_unread(given, dict.fromkeys(("people", "host", "port"), "serve"))
    whole = ("kind", "person", "of")
    unread = {"verify": whole, "serve": whole, "retract": ("kind", "of")}
    for name in (name for each in doing for name in (*unread.get(each, ()), "last") if name in given):
        raise HeedError(f"{flag_of(doing[0])} does not choose among judgements", flag_of(name), "leave it out")


def _serve(store: Store, parsed: Any) -> None:
    """Until Ctrl-C."""
    from heed.web.app import create_app  # for those who installed the pages
    from heed.web.judgements import add_judgements
    from heed.web.people import People
    from heed.web.serving import at_stake, serving

    people, app = People.named(words(parsed.people)), create_app()
    if not people.all:
        raise HeedError("nobody could look", "--people", "name at least one")
    add_judgements(app, lambda: store, people)
    with stopping_at_rounds("stopping") as wanted, serving(app, parsed.host, parsed.port) as address:
        if stake := at_stake(parsed.host, fix="put TLS in front"):
            say(stake, needed=True)
        for person in people.all:
            say(f"{person.name} looks at {address}/judgements#token={people.token_of(person.name)}", needed=True)
        wait_until_stopped(wanted)


def _agreement(found: Agreements) -> None:
    """All people by question, two by two, and each by themselves."""
    console = Console(highlight=False)
    questions = Table("question", "answers", "judged by two or more", "Krippendorff's alpha")
    pairs = Table("question", "one", "other", "both judged", "said the same", "Cohen's kappa")
    for each in found.questions:
        name = escape(each.question)
        questions.add_row(name, str(each.answers), str(each.units), _number(each.alpha, ".3f"))
        for pair in each.pairs:
            who = escape(pair.one), escape(pair.other)
            pairs.add_row(name, *who, str(pair.units), f"{pair.agree:.0%}", _number(pair.kappa, ".3f"))
    people = Table(
        "person", "judgements", "median ms", "nine of ten within", "says the same again", "with the majority"
    )
    for one in found.people:
        people.add_row(
            escape(one.person),
            str(one.judgements),
            _number(one.median_ms, ".0f"),
            _number(one.p90_ms, ".0f"),
            _number(one.steady, ".0%", one.repeats),
            _number(one.with_majority, ".0%", one.majorities),
        )
    for table in (questions, pairs, people):
        console.print(table)


def _number(value: float | None, form: str, of: int = 0) -> str:
    """A number, and of how many; a dash where there is none."""
    return "-" if value is None else f"{value:{form}}" + (f" of {of}" if of else "")


def _export(found: Sequence[Judgement], parsed: Any) -> None:
    """Into a file: as they lie in the store, or comparisons as they are trained on."""
    from heed.oversight.comparisons.formats import export_comparisons
    from heed.oversight.store.export import export

    if parsed.format is None:
        export(found, Path(parsed.export))
        print(f"{len(found)} judgements in {parsed.export}")
        return
    count, left_out = export_comparisons(
        found, Path(parsed.export), parsed.format, words(parsed.objectives), parsed.margin
    )
    print(
        f"{count} comparisons in {parsed.export}"
        + (f"; {left_out} do not decide, and are left out" if left_out else "")
    )


def _demonstrate(found: Sequence[Judgement], parsed: Any) -> None:
    """What people did in the agent's place, into a folder."""
    from heed.oversight.store.demonstrations import export_demonstrations

    lengths = export_demonstrations(found, Path(parsed.demonstrations), parsed.format or "lerobot", parsed.fps)
    print(f"{len(lengths)} demonstrations of {sum(lengths)} steps in {parsed.demonstrations}")


def _show(found: Sequence[Judgement], last: int) -> None:
    """Who judged how much, and the latest judgements."""
    from heed.oversight.store.export import by_person

    console = Console(highlight=False)
    people = Table("person", "judgements", "blocks", "median ms")
    for row in by_person(found):
        blocks = "" if row["blocks"] is None else f"{row['blocks']:.0%}"
        median = "" if row["median_ms"] is None else f"{row['median_ms']:.0f}"
        people.add_row(escape(row["person"]), str(row["judgements"]), blocks, median)
    console.print(people)
    latest = Table("id", "at", "person", "run", "shown", "verdict")
    for judgement in found[-last:]:
        shown, verdict = (json.dumps(value, ensure_ascii=False) for value in (judgement.shown, judgement.verdict))
        at = judgement.at.strftime("%Y-%m-%d %H:%M:%S")
        latest.add_row(str(judgement.id), at, *map(escape, (judgement.person, judgement.run, shown[:60], verdict[:40])))
    console.print(latest)
