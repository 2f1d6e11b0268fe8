"""Align a real model to people's own judgements of two kinds, by several methods, and judge it honestly.

Stages: the model; prompts; judges of one part of the comparisons, by which policies are trained; judges of another,
which are held out; the runs of each method and seed; and what came of it. Resumed, it makes nothing twice.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import heed
from heed.align.run.apothecary import SetupProgress
from heed.align.run.job import defaults
from heed.compare.methods import MethodsJob, compare_methods
from heed.compare.pool import OnProgress, folder_of_runs, recorded
from heed.compare.real.judges import converses, make_judges, specs
from heed.compare.real.model import small_model
from heed.compare.real.prompts import deal_prompts, read_prompts
from heed.compare.real.results import kinds_of, refusals, side_by_side
from heed.compare.real.sizes import SIZES
from heed.compare.real.sources import Sources
from heed.errors import HeedError
from heed.report import write_report
from heed.runs.folder import RunFolder

METHODS = ["single:helpful", "single:harmless", "linear", "mgda", "gapo:p=1"]
LEARNING_RATE = 3e-4
"""Of the adapters. Chosen by judges of words alone: in sixteen rounds the policy went .045 nats a token from its
reference at 4e-4, and hardly at 1e-4 (below .005); higher ones were not tried."""
MOST_PROMPTS = 2000
"""Of each kind that are read."""
SHOWN = 8
"""Prompts whose answers are shown side by side."""


def run_real(
    out: Path,
    size: str | None = None,
    model: str | None = None,
    data: str | None = None,
    seed: int | None = None,
    on_stage: SetupProgress | None = None,
    on_progress: OnProgress | None = None,
    resumed: bool = False,
) -> dict[str, Any]:
    """Make the experiment, or go on with it.

    Args:
        out: the run folder.
        size: a name of `SIZES`; gpu where there is one, else cpu.
        model: a chat model's folder or hub id; SmolLM2-135M-Instruct out of its wheel by default.
        data: a folder with judgements and prompts (`Sources.in_folder`); the public data sets by default.
        seed: of everything.
        on_stage: follows the stages before the runs; may raise `Stopped`.
        on_progress: follows the runs; may raise `Stopped`.
        resumed: go on with what ``out`` holds.

    Returns:
        The content of ``real.json``.

    Raises:
        HeedError: no such size, model or data, or ``out`` holds another experiment.
    """
    out = out.resolve()
    model = str(Path(model).resolve()) if model is not None and Path(model).is_dir() else model
    given = {"size": size, "model": model, "seed": seed, "data": data and str(Path(data).resolve())}
    asked = {name: value for name, value in given.items() if value is not None}
    if resumed:
        settings = recorded(out, "real", asked)
        if settings["made_in"] != str(out):
            fix = f"move it back to {settings['made_in']}, or make another"
            raise HeedError("its runs name their judges by where they were made", f"--resume {out}", fix)
    else:
        usual = {
            "size": "gpu" if torch.cuda.is_available() else "cpu",
            "model": None,
            "seed": 0,
            "data": None,
            "made_in": str(out),
        }
        settings = usual | asked
    if settings["size"] not in SIZES:
        raise HeedError(f"there is no size {settings['size']!r}", "--size", f"give one of {', '.join(SIZES)}")
    amount, seed = SIZES[settings["size"]], settings["seed"]
    numbers = asdict(amount) | {"learning_rate": LEARNING_RATE}
    if settings.setdefault("numbers", None if resumed else numbers) != numbers:
        raise HeedError("it was made with other numbers, by another version", f"--resume {out}", "begin a new one")
    sources = Sources() if settings["data"] is None else Sources.in_folder(Path(settings["data"]))
    with folder_of_runs(out, settings, "real", resumed) as run:
        policy = settings["model"] or str(small_model(out / "model"))
        risky, benign = (read_prompts(source, MOST_PROMPTS) for source in (sources.risky, sources.benign))
        train, evaluated = deal_prompts(risky, benign, amount.evaluated, out / "prompts", converses(policy))
        judges = make_judges(out / "judges", policy, sources, amount, seed, on_stage)
        trained, held_out = specs(out / "judges")
        job = MethodsJob(
            METHODS,
            amount.seeds,
            amount.workers,
            defaults(None, "paper")
            | {
                "model": policy,
                "data": str(train),
                "eval_data": str(evaluated),
                "objectives": trained,
                "held_out_judges": held_out,
                "advantage": "group",
                "seed": seed,
                "steps": amount.rounds,
                "learning_rate": LEARNING_RATE,
                "prompts_per_step": amount.prompts,
                "completions_per_prompt": amount.completions,
                "max_completion_tokens": amount.tokens,
                "micro_batch": amount.micro_batch,
                "eval_prompts": 2 * amount.evaluated,
                "eval_completions": 1,
                "eval_every": amount.rounds,
                "checkpoint_every": 10,
            },
        )
        table = compare_methods(job, out / "compare", on_progress, (out / "compare" / "config.yaml").exists())
        write_report(out / "compare")
        runs = {method: job.folders(method, out / "compare") for method in METHODS}
        kinds = kinds_of(evaluated)
        real = {
            "model": settings["model"] or "SmolLM2-135M-Instruct",
            "sources": asdict(sources),
            "size": asdict(amount),
            "judges": judges,
            "table": table,
            "refusals": refusals(runs, kinds),
            "answers": side_by_side(runs, kinds, SHOWN),
        }
        run.write_json("real.json", real, indent=1)
        seconds = RunFolder.open(out / "compare", writable=False).read_summary()[
            "seconds"
        ]  # of training, in all sittings
        summary = {
            "kind": "real",
            "method": ", ".join(METHODS),
            "seed": seed,
            "steps": amount.rounds,
            "seconds": seconds,
        }
        run.write_summary(summary | {"version": heed.__version__, "completed": True})
        write_report(out)
    return real
