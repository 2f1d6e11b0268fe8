"""Snapshots of blocks: what was imagined, planned and done, of a small even sample, for people to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.guard.decisions import Step
from heed.guard.planning.lookahead import Look
from heed.guard.planning.planner import Plan
from heed.runs.files import replacing
from heed.runs.state import State

logger = logging.getLogger(__name__)

FOLLOWED = 20
"""Steps after a block that are kept at least: what came of it."""
WIDEST = 320
"""Pixels: a larger picture is thinned out to at most so many along its longer side."""


@dataclass
class BlockSnapshot:
    """One block: what the guard saw, and what followed.

    Args:
        step: of the run, from 0.
        taken: the step with the guard's decision.
        look: what the guard saw.
        happened: the states from this one on, [S] each, while the episode lasted and at most as far as the look
            reached, or `FOLLOWED` steps.
        picture: the environment right after the step, uint8 [h, w, 3], or None.
    """

    step: int
    taken: Step
    look: Look
    happened: list[NDArray[np.float32]]
    picture: NDArray[np.uint8] | None = None


class BlockSnapshots:
    """Keeps an even sample of the blocks before which the guard looked ahead; is called with every step.

    Reservoir sampling (Vitter 1985, algorithm R): of n blocks so far each is kept with the same probability, most / n.
    In oversight nobody looks, so nothing is kept of it.

    Args:
        most: snapshots kept.
        seed: of the sample.
        picture: draws the environment, uint8 [h, w, 3]; called for kept snapshots alone, right after their step. None
            where it cannot, and after it has failed once.

    Attributes:
        blocks: so many of these blocks there were.
        kept: those kept, in no order.
    """

    def __init__(self, most: int = 40, seed: int = 0, picture: Callable[[], Any] | None = None) -> None:
        self.most, self.picture = most, picture
        self.generator = np.random.default_rng(seed)
        self.kept: list[BlockSnapshot] = []
        self.blocks, self._steps = 0, 0

    def __call__(self, step: Step) -> None:
        """Take in a step: go on with the snapshots that are still followed, and perhaps keep this block."""
        for snapshot in self.kept:
            same = (step.stream, step.episode) == (snapshot.taken.stream, snapshot.taken.episode)
            if same and len(snapshot.happened) <= max(FOLLOWED, len(snapshot.look.own.actions)):
                snapshot.happened.append(step.next_state)
        look = step.decision.look
        if step.decision.decision == "block" and look is not None:
            self.blocks += 1
            place = len(self.kept) if len(self.kept) < self.most else int(self.generator.integers(self.blocks))
            if place < self.most:
                result = BlockSnapshot(self._steps, step, look, [step.state, step.next_state], self._drawn())
                self.kept[place : place + 1] = [result]
        self._steps += 1

    def state(self) -> State:
        """The sample so far, of each snapshot what `save` writes, and the chance of the sample."""
        kept = []
        for each in self.kept:
            taken = replace(each.taken.bare(), decision=replace(each.taken.decision, look=None, verdict=None))
            look = replace(each.look, futures=each.look.own)
            kept.append(vars(each) | {"taken": taken, "look": look, "happened": list(each.happened)})
        chance = self.generator.bit_generator.state
        return {"kept": kept, "blocks": self.blocks, "steps": self._steps, "generator": chance}

    def restore(self, state: State) -> None:
        """Hold the sample of this state, and go on with it."""
        self.kept = [BlockSnapshot(**each) for each in state["kept"]]
        self.blocks, self._steps = state["blocks"], state["steps"]
        self.generator.bit_generator.state = state["generator"]

    def save(self, path: Path) -> None:
        """Write the snapshots in the order of their steps; the file is replaced whole or not at all.

        Of n snapshots with E members, P particles and a horizon of H the file holds, beside the fields of the decision:
        ``states`` [n, S], ``futures`` [n, H + 1, E, P, S] of the policy's own future, ``danger`` [n, H, E, P] of its
        steps, ``plan_actions`` [n, H', A] and ``plan_states`` [n, H' + 1, E, P', S], ``happened`` [n, T + 1, S], and
        ``pictures`` uint8 [n, h, w, 3] with ``pictured`` [n]. Actions are as the environment takes them but for the
        plan's, which are vectors. NaN stands where there is nothing; what no snapshot has is empty.
        """
        kept = sorted(self.kept, key=lambda snapshot: snapshot.step)
        decisions = [snapshot.taken.decision for snapshot in kept]
        own = [snapshot.look.own for snapshot in kept]
        plans: list[Plan | None] = [decision.plan for decision in decisions]
        pictures = [snapshot.picture for snapshot in kept]
        shape = next((picture.shape for picture in pictures if picture is not None), (0, 0, 3))
        pictures = [None if picture is None or picture.shape != shape else picture for picture in pictures]
        blank = np.zeros(shape, np.uint8)
        arrays: dict[str, NDArray[Any]] = {
            "blocks": np.array(self.blocks),
            "step": np.array([snapshot.step for snapshot in kept], np.int64),
            "episode": np.array([snapshot.taken.episode for snapshot in kept], np.int64),
            "source": np.array([decision.source for decision in decisions], np.str_),
            "risk": np.array([decision.risk for decision in decisions]),
            "threshold": np.array([snapshot.look.threshold for snapshot in kept]),
            "limit": np.array([snapshot.look.limit for snapshot in kept]),
            "first_unsafe": np.array([-1 if d.first_unsafe is None else d.first_unsafe for d in decisions], np.int64),
            "feasible": np.array([np.nan if d.feasible is None else float(d.feasible) for d in decisions]),
            "proposed": _stacked([np.atleast_1d(np.asarray(d.proposed, np.float32)) for d in decisions]),
            "executed": _stacked([np.atleast_1d(np.asarray(d.executed, np.float32)) for d in decisions]),
            "states": _stacked([snapshot.taken.state for snapshot in kept]),
            "futures": _stacked([futures.states[:, :, 0].numpy() for futures in own]),
            "danger": _stacked([futures.danger[:, :, 0].numpy() for futures in own]),
            "plan_actions": _stacked([None if plan is None else plan.actions.numpy() for plan in plans]),
            "plan_states": _stacked([None if plan is None else plan.states.numpy() for plan in plans]),
            "happened": _stacked([np.stack(snapshot.happened) for snapshot in kept]),
            "pictures": np.stack([blank if p is None else p for p in pictures] or [blank])[: len(kept)],
            "pictured": np.array([p is not None for p in pictures], np.bool_),
        }
        with replacing(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def _drawn(self) -> NDArray[np.uint8] | None:
        if self.picture is None:
            return None
        try:
            return thinned(np.asarray(self.picture(), np.uint8))
        except Exception as problem:  # noqa: BLE001 - whatever a renderer raises, a picture is not worth the run
            logger.warning("the environment cannot be drawn (%s: %s)", type(problem).__name__, problem)
            self.picture = None
            return None


def thinned(picture: NDArray[np.uint8], widest: int = WIDEST) -> NDArray[np.uint8]:
    """Every n-th row and column of a picture [h, w, 3], so that neither are more than ``widest``, a copy.

    >>> thinned(np.zeros((400, 600, 3), np.uint8)).shape
    (200, 300, 3)
    """
    every = -(-max(picture.shape[:2]) // widest)
    return picture[::every, ::every].copy()


def _stacked(arrays: Sequence[NDArray[Any] | None]) -> NDArray[np.float32]:
    """One array [n, ...] of n that may differ in length; NaN behind the shorter ones and in place of None.

    >>> _stacked([np.ones((1, 2)), None, np.ones((2, 2))])[:, :, 0].tolist()
    [[1.0, nan], [nan, nan], [1.0, 1.0]]
    """
    given = [array for array in arrays if array is not None]
    if not given:
        return np.zeros((len(arrays), 0), np.float32)
    longest = max(len(array) for array in given)
    result = np.full((len(arrays), longest, *given[0].shape[1:]), np.nan, np.float32)
    for row, array in zip(result, arrays, strict=True):
        if array is not None:
            row[: len(array)] = array
    return result
