"""The alignment runs of a comparison: their world made once, and a trainer wherever a run stands."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heed.align.run.apothecary import ApothecarySetup, SetupProgress, prepare
from heed.align.run.job import complete, split_settings
from heed.align.run.train import resume, start
from heed.align.trainer import AlignTrainer
from heed.compare.tasks import Task
from heed.errors import HeedError
from heed.runs.folder import RunFolder

STEPS = ("metrics.jsonl", "balance.jsonl")
"""Files of a run with lines for every round."""


def prepare_world(settings: Mapping[str, Any], run: RunFolder, on_stage: SetupProgress | None = None) -> None:
    """Make a world's policy and judges once, before every process of the pool would make them for itself.

    Args:
        settings: with a world.
        run: of the runs; where it is complete, nothing is made.
        on_stage: follows it.
    """
    if not run.read_summary().get("completed"):
        preparation = ApothecarySetup(
            objectives=tuple(settings["world_objectives"]),
            seed=settings["world_seed"],
            ensemble=settings.get("ensemble", 1),  # folders of before have none
        )
        prepare(preparation, judges=settings["rewards"] == "learnt", on_stage=on_stage)


def trainer_of(task: Task) -> AlignTrainer:
    """The task's trainer, wherever its run stands: to be begun, to be branched off, or to be gone on with."""
    if (task.folder / "config.yaml").exists():
        with RunFolder.open(task.folder) as run:
            begun = run.latest_checkpoint() is not None
        if begun:
            return resume(task.folder)
        shutil.rmtree(task.folder)  # it was killed before its first checkpoint
    if task.trunk is not None:
        _branch(task.trunk, task)
        return resume(task.folder)
    job, config = split_settings(task.settings)
    return start(job, config, task.folder)


def _branch(trunk: Path, task: Task) -> None:
    """Make the task's folder as if it had been the trunk's run so far."""
    newest = RunFolder.open(trunk, writable=False).latest_checkpoint()
    if newest is None:
        raise HeedError("there is no checkpoint to branch from", str(trunk), "finish that run first")
    RunFolder.create(task.folder, complete(task.settings), kind="align").close()
    for name in (*STEPS, "exact.json"):
        if (trunk / name).exists():
            shutil.copy(trunk / name, task.folder / name)
    if (trunk / "completions").exists():
        shutil.copytree(trunk / "completions", task.folder / "completions")
    # Last, and whole or not at all: it tells that the branch is there.
    (task.folder / "checkpoints").mkdir()
    unfinished = task.folder / "checkpoints" / f".{newest.name}.tmp"
    shutil.copytree(newest, unfinished)
    unfinished.rename(task.folder / "checkpoints" / newest.name)
