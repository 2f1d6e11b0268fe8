"""heed bench: measure speed, and whether a promise is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from heed import bench
from heed.bench import options
from heed.cli.command import Command, settings_in
from heed.cli.console import Bar, quiet_libraries, say
from heed.cli.kinds import refused_kind, show_kinds
from heed.errors import RunFailed

Shows = Callable[[Bar], Callable[..., None]]
"""From a bar to what a benchmark tells its progress to."""


def _in_lines(_: Bar) -> Callable[[str], None]:
    return lambda message: say(message, style="dim")


def _counted(stage: str) -> Shows:
    return lambda bar: lambda done, total: bar.show(stage, done, total)


def _staged(bar: Bar) -> Callable[[str, int, int], None]:
    return bar.show


@dataclass(frozen=True)
class Benchmark:
    """What is measured, and by which functions of `heed.bench`.

    Args:
        about: one sentence.
        asked: the class of its options.
        name: of its functions, as in ``run_NAME_bench`` and ``NAME_table``.
        shows: what its progress is told to; None where it tells none.
    """

    about: str
    asked: type[Any]
    name: str
    shows: Shows | None = None


BENCHMARKS = {
    "gradients": Benchmark(
        "K gradients against one scalarised step, interleaved in one run.",
        options.GradientBench,
        "gradient",
        _in_lines,
    ),
    "step": Benchmark(
        "A whole step of alignment, for several K, against TRL's GRPO on the same model.",
        options.StepBench,
        "step",
        _in_lines,
    ),
    "generate": Benchmark(
        "Tokens a second of heed's samplers and of transformers' generate.",
        options.GenerateBench,
        "generate",
        _in_lines,
    ),
    "min-norm": Benchmark(
        "What the weights of K objectives take, and how exact they are.",
        options.MinNormBench,
        "min_norm",
    ),
    "plan": Benchmark("What a look ahead and a plan take.", options.PlanBench, "plan"),
    "coverage": Benchmark(
        "Whether the conformal threshold misses no more than it promises.",
        options.CoverageBench,
        "coverage",
        _counted("splits"),
    ),
    "proposals": Benchmark(
        "What a finished guard says of a frozen policy's proposals.", options.ProposalsBench, "proposals", _staged
    ),
    "kills": Benchmark(
        "Whether every acknowledged judgement survives kill -9 of the pages' servers.",
        options.KillBench,
        "kill",
        _staged,
    ),
    "oversight": Benchmark(
        "What the watch page takes from key to disk, and from action to screen.", options.OversightBench, "oversight"
    ),
    "startup": Benchmark(
        "What people wait for before a command does anything: help, refusals, a small query.",
        options.StartupBench,
        "startup",
        _counted("rounds"),
    ),
}


def run(arguments: Sequence[str]) -> None:
    """Parse, measure, print a table or one JSON object."""
    quiet_libraries()
    kinds = {name: each.about for name, each in BENCHMARKS.items()}
    if arguments and arguments[0] in ("--help", "-h"):
        show_kinds("bench", kinds)
    if not arguments or arguments[0] not in BENCHMARKS:
        raise refused_kind("what shall be measured?", "bench", kinds, arguments)
    _measure(arguments[0], BENCHMARKS[arguments[0]], arguments[1:])


def _measure(name: str, measured: Benchmark, arguments: Sequence[str]) -> None:
    command = Command(f"bench {name}", measured.about)
    command.add_group("What is measured, and how", settings_in(measured.asked))
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    asked = measured.asked(**parsed)
    run_it, table = getattr(bench, f"run_{measured.name}_bench"), getattr(bench, f"{measured.name}_table")
    if measured.shows is None:
        result = run_it(asked)
    else:
        with Bar(f"bench {name}") as bar:
            result = run_it(asked, measured.shows(bar))
    print(json.dumps(result) if as_json else table(result))
    if isinstance(asked, options.KillBench) and not bench.kept(result):
        raise RunFailed("a promise is broken: a judgement was lost, doubled, altered or refused")
