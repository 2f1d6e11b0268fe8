"""Several alignment runs at once, each in a process of its own; what is finished stays finished."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heed.align.job import resume, split_settings, start
from heed.errors import HeedError
from heed.runs.folder import RunFolder

OnProgress = Callable[["Progress"], None]


@dataclass(frozen=True)
class Task:
    """One run of a comparison.

    Args:
        label: what the run is called in tables.
        settings: the job's and the config's, flat.
        folder: the run folder.
        trunk: a finished run with the same seed whose last checkpoint this one goes on from; its settings may differ.
    """

    label: str
    settings: dict[str, Any]
    folder: Path
    trunk: Path | None = None


@dataclass(frozen=True)
class Progress:
    """How far the runs are.

    Args:
        done: finished runs.
        total: all runs.
        steps: rounds made in all runs so far.
        all_steps: rounds of all runs.
        latest: the label of the run that last moved.
    """

    done: int
    total: int
    steps: int
    all_steps: int
    latest: str


def run_all(tasks: Sequence[Task], workers: int, on_progress: OnProgress | None = None) -> list[dict[str, Any]]:
    """Run every task that is not finished, going on where one was interrupted.

    Args:
        tasks: the runs; two must not share a folder.
        workers: processes at once, each with its share of the cores.
        on_progress: called as rounds are made.

    Returns:
        The summaries, in the order of the tasks.

    Raises:
        HeedError: a folder holds a run with other settings.
    """
    waiting = [task for task in tasks if not is_finished(task)]
    steps = {task.label + str(task.folder): 0 for task in waiting}
    offset = sum(task.settings["steps"] for task in tasks if task not in waiting)
    all_steps = sum(task.settings["steps"] for task in tasks)
    if waiting:
        context = multiprocessing.get_context("spawn")
        threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // workers))
        with context.Manager() as manager:
            said = manager.Queue()
            with ProcessPoolExecutor(workers, mp_context=context, initializer=_settle, initargs=(threads,)) as executor:
                futures: dict[Future[None], Task] = {executor.submit(_run, task, said): task for task in waiting}
                pending, done = set(futures), len(tasks) - len(waiting)
                while pending:
                    finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                        done += 1
                    latest = _drain(said, steps)
                    if on_progress is not None and (latest or finished):
                        total = offset + sum(steps.values())
                        label = latest or next(iter(futures[f].label for f in finished))
                        on_progress(Progress(done, len(tasks), total, all_steps, label))
    return [summary_of(task) for task in tasks]


def is_finished(task: Task) -> bool:
    """Whether the task's folder holds the finished run with these settings.

    Raises:
        HeedError: it holds a run with other settings.
    """
    if not (task.folder / "config.yaml").exists():
        return False
    run = RunFolder.open(task.folder, writable=False)
    other = {k: v for k, v in task.settings.items() if k in run.config and run.config[k] != v}
    if other:
        name = next(iter(other))
        raise HeedError(
            f"the folder holds a run with {name} = {run.config[name]}, not {other[name]}",
            str(task.folder),
            "choose another --out",
        )
    return bool(run.read_summary().get("completed"))


def summary_of(task: Task) -> dict[str, Any]:
    """The run's summary."""
    return RunFolder.open(task.folder, writable=False).read_summary()


def _settle(threads: int) -> None:
    torch.set_num_threads(threads)


def _run(task: Task, said: Any) -> None:
    job, config = split_settings(task.settings)
    resumable = any((task.folder / "checkpoints").glob("step-*"))
    if task.trunk is not None and not resumable:
        _branch(task.trunk, task)
        resumable = True
    trainer = resume(task.folder) if resumable else start(job, config, task.folder)
    key = task.label + str(task.folder)
    trainer.train(lambda step, _metrics: said.put((key, step, task.label)))
    if trainer.journal.run is not None:
        trainer.journal.run.close()


def _branch(trunk: Path, task: Task) -> None:
    """Make the task's folder as if it had been the trunk's run so far."""
    newest = RunFolder.open(trunk, writable=False).latest_checkpoint()
    if newest is None:
        raise HeedError("there is no checkpoint to branch from", str(trunk), "finish that run first")
    RunFolder.create(task.folder, task.settings, kind="align").close()
    shutil.copytree(newest, task.folder / "checkpoints" / newest.name)
    for name in ("metrics.jsonl", "balance.jsonl"):
        shutil.copy(trunk / name, task.folder / name)
    shutil.copytree(trunk / "completions", task.folder / "completions")


def _drain(said: Any, steps: dict[str, int]) -> str:
    latest = ""
    while True:
        try:
            key, step, latest = said.get_nowait()
        except queue.Empty:
            return latest
        steps[key] = step
