"""Several runs at once, each in a process of its own; what is finished stays finished."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from heed.compare.tasks import Task, is_finished, note_failure, summary_of
from heed.errors import HeedError, RunFailed, Stopped
from heed.runs.config import refuse_other_settings
from heed.runs.folder import RunFolder

logger = logging.getLogger(__name__)

OnProgress = Callable[["Progress"], None]
OnFinished = Callable[[Task, dict[str, Any]], None]
KEPT = ("**/checkpoints/step-*", "**/learner.zip", "**/judgements.db", "model/config.json", "judges/*/agreement.json")
"""What makes a folder of runs worth keeping: a checkpoint, a guarded run's learner, what somebody judged,
a model or a judge that was made for them."""


@dataclass(frozen=True)
class Progress:
    """How far the runs are.

    Args:
        done: finished runs.
        total: all runs.
        steps: rounds made in all runs so far.
        all_steps: rounds of all runs.
        latest: the label of the run that last moved.
        metrics: that run's last.
    """

    done: int
    total: int
    steps: int
    all_steps: int
    latest: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def run_all(
    tasks: Sequence[Task],
    workers: int,
    on_progress: OnProgress | None = None,
    on_finished: OnFinished | None = None,
) -> list[dict[str, Any]]:
    """Run every task that is not finished, seed by seed, going on where one was interrupted.

    What is cut short so compares like with like. A run that fails is tried once more, after all others: an alignment
    run from its last checkpoint, a guarded one anew. Its summary then says why, in ``failed_once``.

    Args:
        tasks: the runs; two must not share a folder.
        workers: processes at once, each with its share of the cores, or with `OMP_NUM_THREADS` if those are fewer.
        on_progress: called twice a second; may raise `Stopped`. Then, and at a mistake of the user's, the others end
            with the round that they are in and keep a checkpoint.
        on_finished: called with every task and its summary when it is done, or was before.

    Returns:
        The summaries, in the order of the tasks.

    Raises:
        HeedError: a folder holds a run with other settings, or a run was stopped by a mistake of the user's.
        RunFailed: a run failed twice.
    """
    if workers < 1:
        raise HeedError(f"{workers} runs at once are none", "--workers", "give at least 1")
    waiting = [task for task in tasks if not is_finished(task)]

    def finished(task: Task) -> None:
        if on_finished is not None:
            on_finished(task, summary_of(task))

    for task in tasks:
        if task not in waiting:
            finished(task)
    pool = _Pool(tasks, waiting, workers, on_progress, finished)
    failed = pool.run(waiting)
    twice: dict[str, RunFailed] = {}
    for task in (task for task in waiting if task.label in failed):
        note_failure(task, failed[task.label].reason)
        logger.warning("%s failed: %s; it is tried once more", task.label, failed[task.label].reason)
        twice |= pool.run([task])  # by itself: what kills its process kills no other
    if twice:
        reasons = "; ".join(f"{label} failed twice: {error.reason}" for label, error in twice.items())
        raise RunFailed(reasons, next((error.checkpoint for error in twice.values() if error.checkpoint), None))
    return [summary_of(task) for task in tasks]


class _Pool:
    """Processes that run tasks, and the count of how far they are."""

    def __init__(
        self,
        tasks: Sequence[Task],
        waiting: Sequence[Task],
        workers: int,
        on_progress: OnProgress | None,
        on_finished: Callable[[Task], None],
    ) -> None:
        self.workers, self.on_progress, self.on_finished = workers, on_progress, on_finished
        self.done, self.total = len(tasks) - len(waiting), len(tasks)
        self.offset = sum(task.settings["steps"] for task in tasks if task not in waiting)
        self.all_steps = sum(task.settings["steps"] for task in tasks)
        self.steps: dict[str, int] = {}
        self.latest: tuple[str, Mapping[str, float]] = ("", {})

    def run(self, waiting: Sequence[Task]) -> dict[str, RunFailed]:
        """Run them all; those that failed, by label.

        A process that dies takes the pool with it: what ran in it has failed, what had not begun is run by another.
        """
        failed: dict[str, RunFailed] = {}
        left = list(waiting)
        while left:
            left = self._run_until_broken(left, failed)
        return failed

    def _run_until_broken(self, waiting: Sequence[Task], failed: dict[str, RunFailed]) -> list[Task]:
        """Run tasks until all are done, or the pool broke; those that never began."""
        context = multiprocessing.get_context("spawn")
        self.latest = (waiting[0].label, {})
        with _deaf_to_ctrl_c():
            manager = context.Manager()
        with manager:
            reports, stop = manager.Queue(), manager.Event()
            with ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_settle, initargs=(_threads_of_each(self.workers),)
            ) as executor:
                with _deaf_to_ctrl_c():
                    futures: dict[Future[None], Task] = {
                        executor.submit(_run, t, reports, stop, os.getpid()): t
                        for t in sorted(waiting, key=lambda task: task.settings["seed"])
                    }
                pending, broken = set(futures), list[Task]()
                try:
                    while pending:
                        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                        broken += [futures[each] for each in finished if not self._ended(futures[each], each, failed)]
                        self._drain(reports)
                        if self.on_progress is not None:
                            reached = self.offset + sum(self.steps.values())
                            self.on_progress(Progress(self.done, self.total, reached, self.all_steps, *self.latest))
                finally:
                    stop.set()
        began = [task for task in broken if _key(task) in self.steps] or broken
        died = RunFailed("its process, or one beside it, died (killed, or out of memory)")
        failed |= {task.label: died for task in began}
        return [task for task in waiting if task in broken and task not in began]

    def _ended(self, task: Task, future: Future[None], failed: dict[str, RunFailed]) -> bool:
        """Count a task that is done, or say why it failed; False where the pool broke under it."""
        try:
            future.result()
        except RunFailed as error:
            failed[task.label] = error
        except BrokenProcessPool:
            return False
        else:
            self.done += 1
            self.on_finished(task)
        return True

    def _drain(self, reports: Any) -> None:
        """Take in how far each run is, and the label and metrics of the one that last moved."""
        while True:
            try:
                key, step, self.latest = reports.get_nowait()
            except queue.Empty:
                return
            self.steps[key] = step


def _key(task: Task) -> str:
    return task.label + str(task.folder)


@contextmanager
def folder_of_runs(out: Path, record: Mapping[str, Any], kind: str, resumed: bool) -> Iterator[RunFolder]:
    """Within: the folder that several runs lie in. A new one is removed again if no run in it got to a checkpoint.

    Args:
        out: where.
        record: what to write into ``config.yaml``.
        kind: "front", "compare" or "demo".
        resumed: take the folder that is there.
    """
    run = RunFolder.open(out) if resumed else RunFolder.create(out, record, kind=kind)
    whole = False
    try:
        yield run
        whole = True
    finally:
        run.close()
        if not (whole or resumed) and not any(any(out.glob(kept)) for kept in KEPT):
            shutil.rmtree(out)


def recorded(
    out: Path,
    kind: str,
    wanted: Mapping[str, Any],
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> dict[str, Any]:
    """What a run of several runs was told, to go on with it.

    Args:
        out: its folder.
        kind: what it must be: "front", "compare" or "demo".
        wanted: what was asked for now; must be the run's own.
        upgrade: puts settings in sections that an older version wrote without.

    Raises:
        HeedError: no run, one of another kind, or other settings.
    """
    run = RunFolder.open(out, writable=False)
    if run.kind != kind:
        raise HeedError(f"this is a run of kind {run.kind}", f"--resume {out}", f"give one of kind {kind}")
    config = upgrade(dict(run.config))
    refuse_other_settings(config, wanted, f"--resume {out}")
    return config


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Within: processes that are started never hear Ctrl-C, which reaches all; this one hears it afterwards."""
    resource_tracker.ensure_running()  # where it is started later, it makes us hear again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _threads_of_each(workers: int) -> int:
    """Threads of each process: its share of the cores, or what torch has here (`OMP_NUM_THREADS`) if that is fewer."""
    import torch  # not for those who only ask for --help

    return max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers))


def _settle(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", category=FutureWarning)  # the libraries' talk among themselves


def _run(task: Task, reports: Any, stop: Any, parent: int) -> None:
    def unwanted() -> bool:
        return os.getppid() != parent or stop.is_set()  # who asked for the run may have been killed

    if unwanted():
        return
    key = _key(task)
    reports.put((key, 0, (task.label, {})))

    def follow(step: int, metrics: dict[str, float]) -> None:
        reports.put((key, step, (task.label, dict(metrics))))
        if unwanted():
            raise Stopped

    try:
        if task.kind == "guard":
            _guard(task, follow)
        else:
            _align(task, follow)
    except Stopped:
        return


def _align(task: Task, follow: Callable[[int, dict[str, float]], None]) -> None:
    """Make an alignment run, or go on with it."""
    from heed.align.run.train import train  # each half's packages are for those who compare in it
    from heed.compare.align_runs import trainer_of

    train(trainer_of(task), follow)


def _guard(task: Task, follow: Callable[[int, dict[str, float]], None]) -> None:
    """Make a guarded run; one that was interrupted begins anew, and what it had gathered stays beside it."""
    from heed.guard.run.config import job_of
    from heed.guard.run.train import train_guard

    if task.folder.exists():
        times = len(list(task.folder.parent.glob(f"{task.folder.name}.stopped-*")))
        task.folder.rename(task.folder.with_name(f"{task.folder.name}.stopped-{times + 1}"))
    train_guard(job_of(task.settings), task.folder, follow)
