"""heed front: a family of policies along preferences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed import report
from heed.cli.command import out_folder
from heed.cli.compare import add_workers, following, refuse_of_one_run, workers_of
from heed.cli.console import quiet_libraries
from heed.cli.settings import AlignCommand
from heed.compare.results import RESULTS, Results
from heed.compare.tables import format_table

FRONT = {
    "rewards": "gold",
    "advantage": "leave_one_out",
    "kl_beta": 0.005,
    "entropy_beta": 0.015,
    "steps": 200,
    "cooldown_steps": 60,
}
"""Where a world's front differs from an align run on it: gold rewards, so that the method is seen without its judges'
errors; no critics; a long leash of the reference and a little entropy, without which a policy settles on the first
reply that pays; and enough rounds to come near the front, the last third of them with ever smaller steps."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train every point, print the fronts and their values as tables, report."""
    quiet_libraries()
    command = AlignCommand("front", "Train one policy per preference and judge the front.", changes=FRONT)
    command.add(
        "--methods",
        type=list[str],
        default=["tchebycheff"],
        help="tchebycheff, pgapo, linear, gdpo, ... that follow a preference; soups mixes single ones",
    )
    command.add("--preferences", type=int, default=5, help="points of the simplex")
    command.add("--seeds", type=int, default=1, help="runs of each point, from --seed on")
    add_workers(command)
    command.add("--results", type=str, default=None, help=RESULTS)
    parsed, settings, asked = command.settings(arguments)

    from heed.compare.front import FrontJob, resumed_front, run_front  # once it is asked for: --help answers at once
    from heed.compare.front_measures import front_table, values_table

    results = None if parsed.results is None else Results(Path(parsed.results))
    refuse_of_one_run(command.given_by_flags, "rounds")
    workers = workers_of(parsed, command.given_by_flags)
    if parsed.resume is not None:
        asked |= {name: parsed[name] for name in ("methods", "preferences", "seeds") if name in command.given}
        out = Path(parsed.resume)
        job = resumed_front(out, workers, asked)
    else:
        out = out_folder(parsed.out, "front")
        job = FrontJob(parsed.methods, parsed.preferences, parsed.seeds, workers, settings)
    with following("front", out) as (show, prepare):
        summary = run_front(job, out, show, parsed.resume is not None, prepare, results)
    print(format_table(front_table(summary)) + "\n")
    print(format_table(values_table(summary)) + "\n")
    print(report.write_report(out))
