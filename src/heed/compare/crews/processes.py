"""Processes of this machine, each with its share of the cores."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from heed.compare.crews.base import DiedError, Report
from heed.compare.crews.work import settle, work
from heed.compare.tasks import Task
from heed.errors import HeedError


class Processes:
    """So many processes; one that dies takes all of them with it.

    Args:
        count: at once.

    Raises:
        HeedError: none at once.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise HeedError(f"{count} runs at once are none", "--workers", "give at least 1")
        self.count = count

    @contextmanager
    def started(self, tasks: Sequence[Task]) -> Iterator[_Started]:
        """Within: they run; at its end those under way end with their round."""
        context = multiprocessing.get_context("spawn")
        with _deaf_to_ctrl_c():
            manager = context.Manager()
        with manager:
            reports, stop = manager.Queue(), manager.Event()
            with ProcessPoolExecutor(
                self.count, mp_context=context, initializer=settle, initargs=(threads_of_each(self.count),)
            ) as executor:
                with _deaf_to_ctrl_c():
                    futures = {executor.submit(_run, task, reports, stop, os.getpid()): task for task in tasks}
                try:
                    yield _Started(futures, reports, stop)
                finally:
                    stop.set()


class _Started:
    def __init__(self, futures: dict[Future[None], Task], reports: Any, stop: Any) -> None:
        self.futures, self._reports, self._stop = futures, reports, stop

    def result(self, future: Future[None]) -> None:
        try:
            future.result()
        except BrokenProcessPool as error:
            raise DiedError from error

    def reports(self) -> Iterator[Report]:
        while True:
            try:
                yield self._reports.get_nowait()
            except queue.Empty:
                return

    def stop(self) -> None:
        self._stop.set()


def threads_of_each(count: int) -> int:
    """Threads of each process: its share of the cores, or what torch has here (`OMP_NUM_THREADS`) if that is fewer."""
    import torch  # not for those who only ask for --help

    return max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // count))


def _run(task: Task, reports: Any, stop: Any, parent: int) -> None:
    def unwanted() -> bool:
        return os.getppid() != parent or stop.is_set()  # who asked for the run may have been killed

    work(task, reports.put, unwanted)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Within: processes that are started never hear Ctrl-C, which reaches all; this one hears it afterwards."""
    resource_tracker.ensure_running()  # where it is started later, it makes us hear again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
