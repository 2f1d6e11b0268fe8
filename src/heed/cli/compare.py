"""heed compare: several methods and seeds under one budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed.cli.console import quiet_libraries
from heed.cli.front import following
from heed.cli.settings import AlignCommand, out_folder
from heed.compare.methods import PAPER_TABLE, MethodsJob, compare_methods, format_table, resumed_methods
from heed.errors import HeedError
from heed.report import write_report


def run(arguments: Sequence[str]) -> None:
    """Parse, run the table, print it, report."""
    quiet_libraries()
    if not arguments or arguments[0] not in ("align", "--help", "-h"):
        raise HeedError("what shall be compared?", "heed compare", "heed compare align")
    command = AlignCommand(
        "compare align", "Compare methods on a world with exact answers.", "apothecary", {"rewards": "gold"}
    )
    command.add("--methods", type=list[str], default=list(PAPER_TABLE), help="NAME or NAME:key=value, commas between")
    command.add("--seeds", type=int, default=5, help="runs of each method, from --seed on")
    command.add("--budget", type=int, default=None, help="rounds of each run (the same as --steps)")
    command.add("--workers", type=int, default=2, help="runs at once")
    parsed, settings, asked = command.settings(arguments[1:] if arguments[0] == "align" else arguments)
    if parsed.budget is not None:
        settings["steps"] = asked["steps"] = parsed.budget
    if parsed.resume is not None:
        asked |= {name: parsed[name] for name in ("methods", "seeds") if name in command.given}
        out = Path(parsed.resume)
        job = resumed_methods(out, parsed.workers, asked)
    else:
        out = out_folder(parsed.out, "compare-align")
        job = MethodsJob(parsed.methods, parsed.seeds, parsed.workers, settings)
    with following("compare align", out) as (show, prepare):
        table = compare_methods(job, out, show, parsed.resume is not None, prepare)
    print(format_table(table))
    print(write_report(out))
