"""heed bench: measure speed, and whether a promise is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence

from heed.cli.command import Command
from heed.cli.console import Bar, console, quiet_libraries
from heed.errors import HeedError, RunFailed


def run(arguments: Sequence[str]) -> None:
    """Parse, measure, print a table or one JSON object."""
    quiet_libraries()
    kinds = {"gradients": _gradients, "plan": _plan, "coverage": _coverage, "proposals": _proposals}
    kinds |= {"kills": _kills, "oversight": _oversight, "step": _step, "generate": _generate}
    kinds |= {"min-norm": _min_norm}
    kind = "gradients" if arguments and arguments[0] in ("--help", "-h") else (arguments or [""])[0]
    if kind not in kinds:
        raise HeedError("what shall be measured?", "heed bench", f"heed bench {', '.join(kinds)}")
    kinds[kind](arguments[1:] if arguments[0] == kind else arguments)


def _gradients(arguments: Sequence[str]) -> None:
    from heed.bench.gradients import GradientBench, gradient_table, run_gradient_bench

    command = Command("bench gradients", "K gradients against one scalarised step, interleaved in one run.")
    defaults = GradientBench()
    command.add("--device", default=defaults.device, help="cpu or cuda")
    command.add("--shape", default=defaults.shape, help="tiny, 2m, 30m, 60m, 1.1b or mistral-7b (random weights)")
    command.add("--k", default="2,4,8", help="numbers of objectives, commas between")
    command.add("--repeats", type=int, default=defaults.repeats, help="rounds, each method once in each")
    command.add("--checkpointing", default=defaults.checkpointing, help="both, off or on")
    command.add("--seed", type=int, default=0, help="of weights, tokens and the order of methods")
    command.add("--tokens", type=int, default=0, help="length of each sequence; 0 takes the shape's")
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = command.parse(arguments)
    k = _integers(parsed.k, "--k", "2,4,8")
    options = GradientBench(
        parsed.device, parsed.shape, k, parsed.repeats, parsed.checkpointing, parsed.seed, parsed.tokens
    )
    result = run_gradient_bench(options, lambda message: console.print(message, style="dim"))
    print(json.dumps(result) if parsed.json else gradient_table(result))


def _integers(text: str, flag: str, example: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(text).split(","))
    except ValueError:
        raise HeedError(f"'{text}' is not a list of numbers", flag, f"write {example}") from None


def _step(arguments: Sequence[str]) -> None:
    from heed.bench.step import StepBench, run_step_bench, step_table

    command = Command("bench step", "A whole step of alignment, for several K, against TRL's GRPO on the same model.")
    command.parser.add_class_arguments(StepBench, as_group=False, skip={"k"})
    command.add("--k", default="1,2,4,8", help="numbers of objectives, commas between")
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json, k = parsed.pop("json"), _integers(parsed.pop("k"), "--k", "1,2,4,8")
    result = run_step_bench(StepBench(**parsed, k=k), lambda message: console.print(message, style="dim"))
    print(json.dumps(result) if as_json else step_table(result))


def _generate(arguments: Sequence[str]) -> None:
    from heed.bench.generate import GenerateBench, generate_table, run_generate_bench

    command = Command("bench generate", "Tokens a second of heed's samplers and of transformers' generate.")
    command.parser.add_class_arguments(GenerateBench, as_group=False, skip={"batches"})
    command.add("--batches", default="1,8,64", help="numbers of completions, commas between")
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json, batches = parsed.pop("json"), _integers(parsed.pop("batches"), "--batches", "1,8,64")
    options = GenerateBench(**parsed, batches=batches)
    result = run_generate_bench(options, lambda message: console.print(message, style="dim"))
    print(json.dumps(result) if as_json else generate_table(result))


def _min_norm(arguments: Sequence[str]) -> None:
    from heed.bench.min_norm import MinNormBench, min_norm_table, run_min_norm_bench

    command = Command("bench min-norm", "What the weights of K objectives take, and how exact they are.")
    command.parser.add_class_arguments(MinNormBench, as_group=False, skip={"k"})
    command.add("--k", default=",".join(map(str, MinNormBench.k)), help="numbers of objectives, commas between")
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json, k = parsed.pop("json"), _integers(parsed.pop("k"), "--k", "2,4,8")
    result = run_min_norm_bench(MinNormBench(**parsed, k=k))
    print(json.dumps(result) if as_json else min_norm_table(result))


def _plan(arguments: Sequence[str]) -> None:
    from heed.bench.plan import PlanBench, plan_table, run_plan_bench

    command = Command("bench plan", "What a look ahead and a plan take.")
    command.parser.add_class_arguments(PlanBench, as_group=False)
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    result = run_plan_bench(PlanBench(**parsed))
    print(json.dumps(result) if as_json else plan_table(result))


def _coverage(arguments: Sequence[str]) -> None:
    from heed.bench.coverage import CoverageBench, coverage_table, run_coverage_bench

    command = Command("bench coverage", "Whether the conformal threshold misses no more than it promises.")
    command.parser.add_class_arguments(CoverageBench, as_group=False)
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    with Bar("bench coverage") as bar:
        result = run_coverage_bench(CoverageBench(**parsed), lambda done, total: bar.show("splits", done, total))
    print(json.dumps(result) if as_json else coverage_table(result))


def _proposals(arguments: Sequence[str]) -> None:
    from heed.bench.proposals import ProposalsBench, proposals_table, run_proposals_bench

    command = Command("bench proposals", "What a finished guard says of a frozen policy's proposals.")
    command.parser.add_class_arguments(ProposalsBench, as_group=False)
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    with Bar("bench proposals") as bar:
        result = run_proposals_bench(ProposalsBench(**parsed), bar.show)
    print(json.dumps(result) if as_json else proposals_table(result))


def _kills(arguments: Sequence[str]) -> None:
    from heed.bench.kills import KillBench, kept, kill_table, run_kill_bench

    command = Command("bench kills", "Whether every acknowledged judgement survives kill -9 of the pages' servers.")
    command.parser.add_class_arguments(KillBench, as_group=False)
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    with Bar("bench kills") as bar:
        result = run_kill_bench(KillBench(**parsed), bar.show)
    print(json.dumps(result) if as_json else kill_table(result))
    if not kept(result):
        raise RunFailed("a promise is broken: a judgement was lost, doubled, altered or refused")


def _oversight(arguments: Sequence[str]) -> None:
    from heed.bench.oversight import OversightBench, oversight_table, run_oversight_bench

    command = Command("bench oversight", "What the watch page takes from key to disk, and from action to screen.")
    command.parser.add_class_arguments(OversightBench, as_group=False)
    command.add("--json", action="store_true", help="print one JSON object")
    parsed = vars(command.parse(arguments))
    as_json = parsed.pop("json")
    result = run_oversight_bench(OversightBench(**parsed))
    print(json.dumps(result) if as_json else oversight_table(result))
