"""heed compare: several methods and seeds under one budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heed import report
from heed.cli.command import Command, out_folder, refuse_unread
from heed.cli.console import Bar, quiet_libraries, say, stopping_at_rounds
from heed.cli.kinds import refused_kind, show_kinds
from heed.compare.crews.base import Workers
from heed.compare.crews.settings import RayWorkers
from heed.compare.pool import OnProgress, Progress
from heed.compare.tables import format_table
from heed.errors import HeedError, Stopped

KINDS = {
    "align": "methods of balancing, on a world with exact answers or on a model of your own",
    "guard": "ways of guarding, in one environment",
}


def run(arguments: Sequence[str]) -> None:
    """Parse, run the table, print it, report."""
    quiet_libraries()
    kinds = {"align": _align, "guard": _guard}
    if arguments and arguments[0] in ("--help", "-h"):
        show_kinds("compare", KINDS)
    if not arguments or arguments[0] not in kinds:
        raise refused_kind("what shall be compared?", "compare", KINDS, arguments)
    kinds[arguments[0]](arguments[1:])


def refuse_of_one_run(by_flags: Collection[str], unit: str) -> None:
    """Refuse flags of a single run that a comparison would not read; in a file they may stand, which may be a run's.

    Args:
        by_flags: names of what flags gave.
        unit: of a run's length.

    Raises:
        HeedError: names the flag, and the one that is meant.
    """
    if "method" in by_flags:
        raise HeedError("several methods are compared here", "--method", "name them by --methods")
    if {"steps", "budget"} <= set(by_flags):
        raise HeedError(f"the {unit} of each run are given twice", "--steps, --budget", "give one of them")


@contextmanager
def following(name: str, out: Path) -> Iterator[tuple[OnProgress, Callable[[str, int, int], None]]]:
    """Within: callbacks that show rounds over all runs, and a preparation; Ctrl-C ends them with a checkpoint each.

    Args:
        name: of the command.
        out: the run folder.
    """
    with stopping_at_rounds() as wanted, Bar(name) as bar:

        def show(found: Progress) -> None:
            bar.show("rounds", found.steps, found.all_steps, f"{found.done}/{found.total} runs  {found.latest}")
            if wanted:
                raise Stopped

        def prepare(stage: str, done: int, total: int) -> None:
            bar.show(stage, done, total)
            if wanted:
                raise Stopped

        try:
            yield show, prepare
        except Stopped:
            kept = f"go on with: heed {name} --resume {out}" if out.exists() else "no round was made"
            say(f"stopped; {kept}")
            raise SystemExit(130) from None


def add_workers(command: Command) -> None:
    """Add what says who makes the runs."""
    command.add("--workers", type=int, default=2, help="runs at once, on this machine")
    command.add("--ray", type=str, default=None, help="make them by Ray: here, or on the cluster of this address")
    command.add("--cpus-each", type=int, default=1, help="with --ray: cores, and so threads, of each run")
    command.add("--gpus-each", type=float, default=0.0, help="with --ray: GPUs of each run; a half lets two share one")


def workers_of(parsed: Any, given: Collection[str]) -> Workers:
    """Who makes the runs.

    Args:
        parsed: what was typed, by name.
        given: names of what was.
    """
    refuse_unread(set(given), {"cpus_each": "ray", "gpus_each": "ray"})
    if parsed["ray"] is None:
        return int(parsed["workers"])
    return RayWorkers(parsed["ray"], parsed["workers"], parsed["cpus_each"], parsed["gpus_each"])


def _align(arguments: Sequence[str]) -> None:
    from heed.cli.settings import AlignCommand  # each half's packages are for those who compare in it
    from heed.compare.results import RESULTS, Results

    command = AlignCommand(
        "compare align",
        "Compare methods on a world with exact answers, or on a model and judges of your own.",
        "apothecary",
        {"rewards": "gold"},
    )
    command.add(
        "--methods",
        type=list[str],
        default=None,
        help="NAME or NAME:key=value, commas between; by default the paper's on a world, else each objective alone, "
        "linear, mgda and gapo",
    )
    command.add("--seeds", type=int, default=5, help="runs of each method, from --seed on")
    command.add("--budget", type=int, default=None, help="rounds of each run (the same as --steps)")
    add_workers(command)
    command.add("--results", type=str, default=None, help=RESULTS)
    parsed, settings, asked = command.settings(arguments)

    from heed.compare.methods import MethodsJob, compare_methods, table_of  # once it is asked for

    refuse_of_one_run(command.given_by_flags, "rounds")
    workers = workers_of(parsed, command.given_by_flags)
    results = None if parsed.results is None else Results(Path(parsed.results))
    if parsed.budget is not None:
        settings["steps"] = asked["steps"] = parsed.budget
    if parsed.resume is not None:
        asked |= {name: parsed[name] for name in ("methods", "seeds") if name in command.given}
        out = Path(parsed.resume)
        job = MethodsJob.resumed(out, workers, asked)
    else:
        out = out_folder(parsed.out, "compare-align")
        job = MethodsJob(parsed.methods or table_of(settings), parsed.seeds, workers, settings)
    with following("compare align", out) as (show, prepare):
        table = compare_methods(job, out, show, parsed.resume is not None, prepare, results)
    print(format_table(table))
    for each in (table[name] for name in ("rounds", "improvement") if name in table):
        print(f"\n{each['title']}:\n\n{format_table(each)}")
    print(report.write_report(out))


def _guard(arguments: Sequence[str]) -> None:
    from heed.cli.guard import guard_settings
    from heed.guard.run.methods import COMPARED

    command = Command("compare guard", "Compare ways of guarding in one environment.")
    command.add("config", nargs="?", help="a YAML file of settings; flags go over it")
    command.add("--methods", type=list[str], default=list(COMPARED), help="NAME or NAME:key=value:..., commas between")
    command.add("--seeds", type=int, default=5, help="runs of each method, from --seed on")
    command.add("--budget", type=int, default=None, help="steps of each run (the same as --steps)")
    add_workers(command)
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--resume", type=str, default=None, help="a comparison to go on with")
    parsed, asked = guard_settings(command, arguments)

    from heed.compare.guards import GuardsJob, compare_guards  # once it is asked for

    refuse_of_one_run(command.flags(arguments), "steps")
    workers = workers_of(parsed, command.flags(arguments))
    if parsed["out"] is not None and parsed["resume"] is not None:
        raise HeedError("a comparison that goes on stays where it is", "--out", "give one of --out and --resume")
    if parsed["budget"] is not None:
        asked["steps"] = parsed["budget"]
    if parsed["resume"] is not None:
        out = Path(parsed["resume"])
        job = GuardsJob.resumed(out, workers, asked)
    else:
        out = out_folder(parsed["out"], "compare-guard")
        job = GuardsJob(parsed["methods"], parsed["seeds"], workers, asked)
    with following("compare guard", out) as (show, _):
        table = compare_guards(job, out, show, parsed["resume"] is not None)
    print(format_table(table))
    for each in table["efficiency"]:
        print(f"{each['title']}, median over seeds and quartiles:\n\n{format_table(each)}")
    print(report.write_report(out))
