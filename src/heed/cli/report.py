"""heed report: write the page of a run, or show it and the run's metrics in the browser while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed import report
from heed.cli.command import Command, refuse_both, refuse_unread, words
from heed.cli.console import quiet_libraries, say, stopping_at_rounds, wait_until_stopped
from heed.errors import HeedError


def run(arguments: Sequence[str]) -> None:
    """Parse; write and point to the page, or serve it."""
    command = Command("report", "Write the page of a run: one HTML file that opens offline.")
    command.add("run", help="a run folder")
    command.add("--serve", action="store_true", help="show metrics and report in the browser instead, until Ctrl-C")
    command.add("--people", type=str, default="viewer", help="with --serve: who may look, names with commas between")
    command.add("--host", type=str, default="127.0.0.1", help="where the page is served; others reach it if it says so")
    command.add("--port", type=int, default=8000, help="the page's port; 0 takes a free one")
    command.add("--picture", type=str, help="write a moving picture of a guard's blocks instead: FILE.gif, or .png")
    command.add("--at", type=str, default="", help="with --picture: steps of the blocks to draw, with commas between")
    parsed, given = command.parse(arguments), command.flags(arguments)
    refuse_both(given, "serve", "picture")
    refuse_unread(given, dict.fromkeys(("people", "host", "port"), "serve") | {"at": "picture"})
    if parsed.picture:
        print(_moving_picture(parsed))
    elif parsed.serve:
        _serve(Path(parsed.run), parsed)
    else:
        print(report.write_report(parsed.run))


def _moving_picture(parsed: Any) -> Path:
    from heed.report.guard.moving_picture import write_moving_picture  # needs more than most pages do

    if not all(step.isdigit() for step in words(parsed.at)):
        raise HeedError(f"'{parsed.at}' are no steps", "--at", "give numbers, with commas between")
    return write_moving_picture(parsed.run, parsed.picture, [int(step) for step in words(parsed.at)])


def _serve(folder: Path, parsed: Any) -> None:
    """Until Ctrl-C. The run need not have begun, and is not touched."""
    from heed.web.app import create_app  # for those who installed the pages; the report itself needs none of them
    from heed.web.people import People
    from heed.web.run import add_run
    from heed.web.serving import at_stake, serving

    quiet_libraries()
    if folder.is_file():
        raise HeedError("this is a file", str(folder), "give a run folder")
    people, app = People.named([], words(parsed.people)), create_app()
    if not people.all:
        raise HeedError("nobody could look", "--people", "name at least one")
    add_run(app, folder, people, report.report_of)
    with stopping_at_rounds("stopping") as wanted, serving(app, parsed.host, parsed.port) as address:
        if stake := at_stake(parsed.host, fix="put TLS in front"):
            say(stake, needed=True)
        for person in people.all:
            say(f"{person.name} watches {folder} at {address}/run#token={people.token_of(person.name)}", needed=True)
        wait_until_stopped(wanted)
        say("stopped; the run itself goes on")
