"""Runs as Ray tasks, on this machine or on a cluster: scheduling, resources and machines are Ray's."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.queue import Empty, Queue

from heed.compare.crews.base import DiedError, Report
from heed.compare.crews.settings import HERE, RayWorkers
from heed.compare.crews.work import settle, work
from heed.compare.tasks import Task
from heed.errors import HeedError

logger = logging.getLogger(__name__)


class RayCrew:
    """Ray's workers; one that dies takes its own run with it, and no other.

    A run is not tried again by Ray: whoever asked for it says so, and counts it.

    Args:
        workers: where, and what each may take.
    """

    def __init__(self, workers: RayWorkers) -> None:
        self.workers = workers

    @contextmanager
    def started(self, tasks: Sequence[Task]) -> Iterator[_Started]:
        """Within: they run; at its end those under way end with their round.

        Raises:
            HeedError: no cluster answers, or it has not what a run needs.
        """
        with self._connected():
            reports, stop = Queue(actor_options={"num_cpus": 0}), Queue(actor_options={"num_cpus": 0})
            run = _run.options(num_cpus=self.workers.cpus, num_gpus=self.workers.gpus)
            where = str(Path.cwd())
            futures = {
                run.remote(_whole(task), reports, stop, self.workers.cpus, where).future(): task for task in tasks
            }
            under_way = _Started(futures, reports, stop)
            try:
                yield under_way
            finally:
                under_way.stop()
                for future in futures:  # so that none writes on once its folder was given back
                    future.exception()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        ours = not ray.is_initialized()
        if ours:
            told: dict[str, Any] = {"address": self.workers.address}
            if self.workers.address == HERE:
                told = {"num_cpus": self.workers.count * self.workers.cpus, "include_dashboard": False}
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **told)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                where = f"--ray {self.workers.address}"
                raise HeedError(f"Ray cannot be reached: {reason}", where, f"give {HERE}") from error
        try:
            self._check()
            yield
        finally:
            if ours:
                ray.shutdown()

    def _check(self) -> None:
        """Refuse runs that would wait for ever.

        Raises:
            HeedError: no machine has what one takes.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.workers.cpus, "GPU": self.workers.gpus}
        if not any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in nodes):
            what = f"no machine of the cluster has {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs"
            there = "; ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
            raise HeedError(what, "--cpus-each, --gpus-each", f"its machines have {there}")
        if not self.workers.gpus and any(node.get("GPU", 0.0) for node in nodes):
            logger.warning("the cluster has GPUs, and --gpus-each 0 reserves none for a run")


class _Started:
    def __init__(self, futures: dict[Future[None], Task], reports: Queue, stop: Queue) -> None:
        self.futures, self._reports, self._stop = futures, reports, stop

    def result(self, future: Future[None]) -> None:
        try:
            future.result()
        except RayTaskError as error:
            raise error.cause from error  # what the run itself raised
        except RayError as error:
            raise DiedError from error

    def reports(self) -> Iterator[Report]:
        while True:
            try:
                yield self._reports.get(block=False)
            except Empty:
                return

    def stop(self) -> None:
        self._stop.put(True)


@ray.remote(max_retries=0, max_calls=1)
def _run(task: Task, reports: Queue, stop: Queue, threads: int, where: str) -> None:
    try:
        os.chdir(where)  # what settings name by a relative path lies there
    except OSError as error:
        fix = "share the file system of the folder in which the command was typed"
        raise HeedError("a machine of the cluster has not this folder", where, fix) from error
    settle(threads)
    work(task, reports.put, lambda: not stop.empty())


def _whole(task: Task) -> Task:
    """The task with its folders named from the root: a worker stands elsewhere."""
    trunk = None if task.trunk is None else task.trunk.resolve()
    return dataclasses.replace(task, folder=task.folder.resolve(), trunk=trunk)
