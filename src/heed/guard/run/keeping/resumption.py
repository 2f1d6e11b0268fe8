"""All that a guarded run is made of between two steps: written as a checkpoint, put back from one to the last bit."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from heed.errors import HeedError, RunFailed, Stopped
from heed.guard.learners.learner_state import learner_state, restore_learner
from heed.guard.learners.mbpo import ImaginedRollouts
from heed.guard.phases import Phases
from heed.guard.run.build import GuardRun
from heed.guard.run.methods import method_from_name
from heed.guard.run.progress import Progress
from heed.runs.folder import RunFolder
from heed.runs.randomness import capture_randomness, restore_randomness
from heed.runs.state import State, read_state, write_state

logger = logging.getLogger(__name__)

LEARNER, GUARD, LOG = "learner", "guard", "decisions.parquet"


class Checkpointing(BaseCallback):
    """Writes checkpoints of a run, each between two of the learner's rollouts, and the last one where it is stopped.

    Args:
        run: in progress.
        folder: takes them.
        name: the run's, in the store of judgements.
        progress: says whether the run is to stop.
    """

    def __init__(self, run: GuardRun, folder: RunFolder, name: str, progress: Progress) -> None:
        super().__init__()
        self._run, self._folder, self._name, self._progress = run, folder, name, progress
        self._imagined = [each for each in run.callbacks if isinstance(each, ImaginedRollouts)]
        self._keeps = method_from_name(run.job.method).brings is None  # published baselines are not gone on with
        self._every, self._written = run.job.checkpoint_every, -1
        self._began, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between its parts."""
        return self._before + time.perf_counter() - self._began

    def _on_rollout_start(self) -> None:
        steps = len(self._run.log.rows)
        due = self._written < 0 or (self._every > 0 and steps - self._written >= self._every)
        if self._keeps and (due or self._progress.stopping) and steps != self._written:
            self.write()
        if self._progress.stopping:
            raise Stopped

    def _on_step(self) -> bool:
        return True

    def write(self) -> None:
        """Write one now; where the disk refuses, the run goes on, and the checkpoint before it stands."""
        run = self._run
        if run.overseer is not None:
            run.overseer.flush()  # what a checkpoint has learnt from is in the store
        self._written = len(run.log.rows)

        def fill(folder: Path) -> None:
            write_state(folder, LEARNER, learner_state(run.learner))
            write_state(folder, GUARD, self._guard_state())
            run.log.write(folder / LOG)

        try:
            self._folder.save_checkpoint(self._written, fill)
        except RunFailed as failed:
            logger.warning("%s; the run goes on", failed.reason)

    def restore(self, checkpoint: Path) -> None:
        """Let a run that was just built become as the one was that wrote a checkpoint, and go on with its folder.

        Raises:
            HeedError: a checkpoint that is damaged, or an environment that does not come back to where it stood.
        """
        run, learner, guard = self._run, read_state(checkpoint, LEARNER), read_state(checkpoint, GUARD)
        try:
            self._restore(learner, guard)
        except (KeyError, TypeError, ValueError, RuntimeError) as problem:
            reason = f"this checkpoint is not one of this run ({type(problem).__name__}: {problem})"
            raise HeedError(reason, str(checkpoint), "resume with the version of heed that wrote it") from problem
        run.log.read(checkpoint / LOG)
        self._written = len(run.log.rows)
        self._folder.truncate_after(self._written)

    def _restore(self, learner: State, guard: State) -> None:
        run = self._run
        assert run.learner.env is not None
        run.learner.env.reset()  # the wrappers between learner and guard begin an episode
        seen, info = run.episode.replay(guard["episode"], guard["observation"])
        run.checks.restore(guard["checks"])
        restore_learner(run.learner, learner)
        if isinstance(run.phases, Phases):
            run.phases.restore(guard["phases"])
        run.guard.situations[0].restore(guard["situation"], seen, info)
        run.guard.faults.clear()
        run.guard.faults.update(guard["faults"])
        lookahead = run.guard.intervention.looking
        if lookahead is not None and lookahead.planning is not None:
            lookahead.planning.restore(guard["plans"], run.guard.situations)
        if run.snapshots is not None:
            run.snapshots.restore(guard["snapshots"])
        if run.overseer is not None:
            run.overseer.restore(guard["overseer"])
        self._progress.due, self._before = guard["due"], guard["seconds"]
        for feeding, state in zip(self._imagined, guard["imagined"], strict=True):
            feeding.restore(state)
        restore_randomness(guard["randomness"])  # the last: putting back may have drawn

    def _guard_state(self) -> State:
        run = self._run
        lookahead = run.guard.intervention.looking
        planning = None if lookahead is None else lookahead.planning
        return {
            "run": self._name,
            "seconds": self.seconds,
            "due": self._progress.due,
            "episode": run.episode.kept(),
            "observation": run.guard.situations[0].observation,
            "checks": run.checks.kept(),
            "situation": run.guard.situations[0].kept(),
            "faults": dict(run.guard.faults),
            "plans": {} if planning is None else planning.state(),
            "phases": run.phases.state() if isinstance(run.phases, Phases) else None,
            "snapshots": None if run.snapshots is None else run.snapshots.state(),
            "overseer": None if run.overseer is None else run.overseer.state(),
            "imagined": [feeding.state() for feeding in self._imagined],
            "randomness": capture_randomness(),
        }


def name_in(checkpoint: Path) -> Any:
    """The name in the store of the run that wrote a checkpoint."""
    return read_state(checkpoint, GUARD)["run"]
