"""One task in whatever process it was sent to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from heed.compare.crews.base import Report
from heed.compare.tasks import Task
from heed.errors import Stopped

Follow = Callable[[int, dict[str, float]], None]


def key_of(task: Task) -> str:
    """What reports call a task."""
    return task.label + str(task.folder.resolve())


def settle(threads: int) -> None:
    """Take so many threads, and leave the libraries' talk among themselves."""
    import torch

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", category=FutureWarning)


def work(task: Task, report: Callable[[Report], None], unwanted: Callable[[], bool]) -> None:
    """Make a run or go on with it, and tell every round of it.

    Args:
        task: the run.
        report: takes what is told.
        unwanted: whether it is to end with the round that it is in.
    """
    if unwanted():
        return
    key = key_of(task)
    report((key, 0, (task.label, {})))

    def follow(step: int, metrics: Mapping[str, float]) -> None:
        report((key, step, (task.label, dict(metrics))))
        if unwanted():
            raise Stopped

    try:
        if task.kind == "guard":
            _guard(task, follow)
        else:
            _align(task, follow)
    except Stopped:
        return


def _align(task: Task, follow: Follow) -> None:
    """Make an alignment run, or go on with it."""
    from heed.align.run.train import train  # each half's packages are for those who compare in it
    from heed.compare.align_runs import trainer_of

    train(trainer_of(task), follow)


def _guard(task: Task, follow: Follow) -> None:
    """Make a guarded run; one that was interrupted begins anew, and what it had gathered stays beside it."""
    from heed.guard.run.config import job_of
    from heed.guard.run.train import train_guard

    if task.folder.exists():
        times = len(list(task.folder.parent.glob(f"{task.folder.name}.stopped-*")))
        task.folder.rename(task.folder.with_name(f"{task.folder.name}.stopped-{times + 1}"))
    train_guard(job_of(task.settings), task.folder, follow)
