"""heed report: write the page of a run."""

from __future__ import annotations

from collections.abc import Sequence

from heed.cli.settings import Command
from heed.report import write_report


def run(arguments: Sequence[str]) -> None:
    """Parse, write, point to the page."""
    command = Command("report", "Write the page of a run: one HTML file that opens offline.")
    command.add("run", help="a run folder")
    print(write_report(command.parse(arguments).run))
