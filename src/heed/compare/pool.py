"""Several runs at once, by whatever crew; what is finished stays finished."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heed.compare.crews.base import Crew, DiedError, Started, Workers
from heed.compare.crews.choosing import crew_of
from heed.compare.crews.work import key_of
from heed.compare.tasks import Task, is_finished, note_failure, summary_of
from heed.errors import HeedError, RunFailed
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
    workers: Workers,
    on_progress: OnProgress | None = None,
    on_finished: OnFinished | None = None,
) -> list[dict[str, Any]]:
    """Run every task that is not finished, seed by seed, going on where one was interrupted.

    What is cut short so compares like with like. A run that fails is tried once more, after all others: an alignment
    run from its last checkpoint, a guarded one anew. Its summary then says why, in ``failed_once``.

    Args:
        tasks: the runs; two must not share a folder.
        workers: processes at once, each with its share of the cores, or with `OMP_NUM_THREADS` if those are fewer; or
            Ray's.
        on_progress: called twice a second; may raise `Stopped`. Then, and at a mistake of the user's, the others end
            with the round that they are in and keep a checkpoint.
        on_finished: called with every task and its summary when it is done, or was before.

    Returns:
        The summaries, in the order of the tasks.

    Raises:
        HeedError: a folder holds a run with other settings, or a run was stopped by a mistake of the user's.
        RunFailed: a run failed twice.
    """
    crew = crew_of(workers)
    waiting = [task for task in tasks if not is_finished(task)]

    def finished(task: Task) -> None:
        if on_finished is not None:
            on_finished(task, summary_of(task))

    for task in tasks:
        if task not in waiting:
            finished(task)
    pool = _Pool(tasks, waiting, crew, on_progress, finished)
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
    """A crew that runs tasks, and the count of how far they are."""

    def __init__(
        self,
        tasks: Sequence[Task],
        waiting: Sequence[Task],
        crew: Crew,
        on_progress: OnProgress | None,
        on_finished: Callable[[Task], None],
    ) -> None:
        self.crew, self.on_progress, self.on_finished = crew, on_progress, on_finished
        self.done, self.total = len(tasks) - len(waiting), len(tasks)
        self.offset = sum(task.settings["steps"] for task in tasks if task not in waiting)
        self.all_steps = sum(task.settings["steps"] for task in tasks)
        self.steps: dict[str, int] = {}
        self.latest: tuple[str, Mapping[str, float]] = ("", {})

    def run(self, waiting: Sequence[Task]) -> dict[str, RunFailed]:
        """Run them all; those that failed, by label.

        A process that dies takes those beside it along: what ran in them has failed, what had not begun is run anew.
        """
        failed: dict[str, RunFailed] = {}
        left = list(waiting)
        while left:
            left = self._run_until_broken(left, failed)
        return failed

    def _run_until_broken(self, waiting: Sequence[Task], failed: dict[str, RunFailed]) -> list[Task]:
        """Run tasks until all are done, or the workers are gone; those that never began."""
        self.latest = (waiting[0].label, {})
        with self.crew.started(sorted(waiting, key=lambda task: task.settings["seed"])) as runs:
            pending, broken = set(runs.futures), list[Task]()
            try:
                while pending:
                    finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                    broken += [runs.futures[each] for each in finished if not self._ended(runs, each, failed)]
                    self._drain(runs)
                    if self.on_progress is not None:
                        reached = self.offset + sum(self.steps.values())
                        self.on_progress(Progress(self.done, self.total, reached, self.all_steps, *self.latest))
            finally:
                runs.stop()
        began = [task for task in broken if key_of(task) in self.steps] or broken
        died = RunFailed("its process, or one beside it, died (killed, or out of memory)")
        failed |= {task.label: died for task in began}
        return [task for task in waiting if task in broken and task not in began]

    def _ended(self, runs: Started, future: Future[None], failed: dict[str, RunFailed]) -> bool:
        """Count a task that is done, or say why it failed; False where its worker is gone."""
        task = runs.futures[future]
        try:
            runs.result(future)
        except RunFailed as error:
            failed[task.label] = error
        except DiedError:
            return False
        else:
            self.done += 1
            self.on_finished(task)
        return True

    def _drain(self, runs: Started) -> None:
        """Take in how far each run is, and the label and metrics of the one that last moved."""
        for key, step, self.latest in runs.reports():
            self.steps[key] = step


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
