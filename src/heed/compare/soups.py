"""Rewarded soups: policies of one objective each, mixed along a preference without any further training."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from heed.align.models.policy import POLICY_ADAPTER
from heed.align.rollouts import Sampler
from heed.align.run.train import resume
from heed.align.trainer import AlignTrainer
from heed.compare.crews.base import Workers
from heed.compare.pool import OnProgress, Progress, run_all
from heed.compare.tasks import Task
from heed.errors import HeedError
from heed.runs.files import write_whole
from heed.runs.folder import RunFolder

SOUPS = "soups"
"""The method's name in `heed front`; no weighting of gradients, as nothing is trained along a preference."""
MIXED = "mixed"
"""The mixture's name among a model's adapters, and that of its folder."""


def soup_points(
    settings: dict[str, Any],
    names: Sequence[str],
    grid: Sequence[Sequence[float]],
    seeds: Sequence[int],
    out: Path,
    workers: Workers,
    on_progress: OnProgress | None = None,
) -> list[dict[str, Any]]:
    """A front of mixtures (Rame et al. 2023, "Rewarded soups"): K runs a seed, and one evaluation for each preference.

    The policy of a preference lambda has the change of weights ``sum_k lambda_k Delta W_k`` of the K policies, exactly:
    an adapter of K times their rank, and not the mean of their factors.

    Args:
        settings: of every run, as `heed align` takes them.
        names: of the objectives.
        grid: preferences, [N, K].
        seeds: of the runs.
        out: the front's folder.
        workers: runs at once.
        on_progress: follows the runs; may raise `Stopped`.

    Returns:
        Points of the front, as `heed.compare.front` lists them.

    Raises:
        HeedError: whole models were trained, of which there is no adapter to mix.
    """
    refuse_whole_models(settings)
    singles = single_settings(settings, names)
    tasks = {
        (name, seed): Task(
            f"{SOUPS}-{name}-seed{seed}",
            single | {"seed": seed},
            out / "runs" / f"{SOUPS}-{name}-seed{seed}",
        )
        for (name, single), seed in itertools.product(zip(names, singles, strict=True), seeds)
    }
    summaries = dict(zip(tasks, run_all(list(tasks.values()), workers, on_progress), strict=True))
    points: list[dict[str, Any]] = []
    for seed in seeds:
        trained = sum(float(summaries[name, seed]["seconds"]) for name in names)
        folders = [tasks[name, seed].folder for name in names]
        for preference in grid:
            place = out / "runs" / f"{SOUPS}-{'-'.join(f'{x:g}' for x in preference)}-seed{seed}"
            if not (place / "values.json").exists():
                mix_and_judge(folders, preference, place)
            if on_progress is not None:
                done = len(points) + 1
                on_progress(Progress(done, len(grid) * len(seeds), done, len(grid) * len(seeds), place.name))
            values = json.loads((place / "values.json").read_text(encoding="utf-8"))
            point = {"preference": list(preference), "method": SOUPS, "seed": seed, "seconds": trained / len(grid)}
            point |= {"values": [values[name] for name in names], "adapter": str((place / MIXED).relative_to(out))}
            points.append(point)
    return points


def single_settings(settings: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The settings of the runs of one objective each."""
    return [settings | {"method": f"single:{name}", "weighting": {}} for name in names]


def refuse_whole_models(settings: dict[str, Any]) -> None:
    """Refuse runs that train no adapter.

    Raises:
        HeedError: they train whole models.
    """
    if settings["lora_r"] == 0:
        raise HeedError("soups mix adapters, and whole models are trained", "--lora-r", "give a rank")


def mix_and_judge(runs: Sequence[Path], weights: Sequence[float], place: Path) -> dict[str, float]:
    """Mix the adapters of finished runs, evaluate the mixture, and keep both.

    Args:
        runs: folders of finished runs of one base, one for each weight.
        weights: lambda.
        place: gets a folder `MIXED` in peft's format, and ``values.json``.

    Returns:
        The mixture's mean value of each objective: exact where the task has exact values, else the reward.
    """
    trainer = resume(runs[0])
    try:
        mix(trainer, runs[1:], weights)
        found = trainer.evaluate()
        if found is None:
            raise HeedError("nothing is evaluated, and a mixture has no other value", "--eval-prompts", "give some")
        values = trainer.journal.values_of(found)
        place.mkdir(parents=True, exist_ok=True)
        model = trainer.policy.model
        assert isinstance(model, PeftModel)
        model.save_pretrained(place, selected_adapters=[MIXED], save_embedding_layers=False)
        write_whole(place / "values.json", json.dumps(values, indent=1) + "\n")
        return values
    finally:
        if trainer.journal.run is not None:
            trainer.journal.run.close()


def mix(trainer: AlignTrainer, others: Sequence[Path], weights: Sequence[float]) -> None:
    """Make a trainer's policy act by the mixture of its own adapter and those of other finished runs."""
    model = trainer.policy.model
    assert isinstance(model, PeftModel)
    names = [POLICY_ADAPTER]
    for number, run in enumerate(others, 1):
        newest = RunFolder.open(run, writable=False).latest_checkpoint()
        if newest is None:
            raise HeedError("there is no checkpoint to mix", str(run), "finish that run first")
        model.load_adapter(str(newest), f"other{number}")
        names.append(f"other{number}")
    model.add_weighted_adapter(names, list(weights), MIXED, combination_type="cat")
    _in_full_precision(model, names, weights)
    model.set_adapter(MIXED)
    model.eval()
    trainer.policy.adapter = MIXED
    trainer.sampler = Sampler(trainer.policy, trainer.sampler.sampling, trainer.config.sampler)


@torch.no_grad()
def _in_full_precision(model: PeftModel, names: Sequence[str], weights: Sequence[float]) -> None:
    """Write the mixture's factors in float32, as the adapters' are: peft's are of the base's precision."""
    for layer in model.modules():
        if MIXED not in getattr(layer, "lora_A", {}):
            continue
        held = [(name, weight) for name, weight in zip(names, weights, strict=True) if name in layer.lora_A]
        first = [weight * layer.scaling[name] * layer.lora_A[name].weight.float() for name, weight in held]
        second = [layer.lora_B[name].weight.float() for name, _ in held]
        layer.lora_A[MIXED].weight = torch.nn.Parameter(torch.cat(first) / layer.scaling[MIXED], requires_grad=False)
        layer.lora_B[MIXED].weight = torch.nn.Parameter(torch.cat(second, 1), requires_grad=False)
