"""What happened and what was judged: all that dynamics and blockers are fitted to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.guard.decisions import Step
from heed.guard.transitions import Transitions

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """Judgements as rows.

    Args:
        states: [N, S].
        actions: the judged action vectors [N, A].
        next_states: [N, S]; NaN where the action was blocked, so that nobody knows.
        blocked: bool [N].
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    blocked: Tensor


class Memory:
    """Transitions and labels, filled step by step.

    A label comes from three sources: a person's judgement of a proposed action; a catastrophe, whoever had allowed
    it; and survival, where it counts: an executed step that no catastrophe followed within ``grace`` steps is one
    that did not have to be blocked. Survival keeps autonomy from calling ever more of the world dangerous; with
    far-sighted judgements it may contradict them, so it can be left out.

    Args:
        state_size: S.
        action_size: A.
        grace: steps after which a step has survived; 0 learns nothing from survival.
    """

    def __init__(self, state_size: int, action_size: int, grace: int = 20) -> None:
        self.transitions = Transitions(state_size, action_size)
        self.grace = grace
        self.judgements = 0
        self._rows: list[tuple[Vector, Vector, Vector, bool]] = []
        self._pending: deque[Step] = deque()

    def add(self, step: Step) -> None:
        """Take in a step of the environment with the judgement that it got, if any."""
        self.transitions.add(step.state, step.executed, step.next_state, step.reward, step.terminated, step.catastrophe)
        asked, blocked = step.decision.asked, step.decision.decision == "block"
        self.judgements += asked
        if asked and blocked and step.proposed is not None:
            self._label(step.state, step.proposed, np.full_like(step.next_state, np.nan), blocked=True)
        if step.catastrophe:
            self._label(step.state, step.executed, step.next_state, blocked=True)
        elif asked and not blocked:
            self._label(step.state, step.executed, step.next_state, blocked=False)
        elif self.grace:
            self._pending.append(step)
        if step.catastrophe:
            self._pending.clear()
        while self._pending and (len(self._pending) > self.grace or step.terminated):
            survived = self._pending.popleft()
            self._label(survived.state, survived.executed, survived.next_state, blocked=False)
        if step.truncated:
            self._pending.clear()  # nobody knows what would have followed

    def labels(self) -> Labels:
        """All labels so far."""
        columns = [np.array([row[i] for row in self._rows], np.float32) for i in range(3)]
        blocked = torch.tensor([row[3] for row in self._rows], dtype=torch.bool)
        states, actions, next_states = (torch.from_numpy(column) for column in columns)
        return Labels(states, actions, next_states, blocked)

    @property
    def blocks(self) -> int:
        """Labels that say block."""
        return sum(row[3] for row in self._rows)

    def _label(self, state: Vector, action: Vector, next_state: Vector, blocked: bool) -> None:
        self._rows.append((state, action, next_state, blocked))

    def save(self, folder: Path) -> None:
        """Write transitions and labels into a folder; the steps that have not yet survived are left out."""
        self.transitions.save(folder / "transitions.npz")
        labels = self.labels()
        arrays = {name: getattr(labels, name).numpy() for name in ("states", "actions", "next_states", "blocked")}
        np.savez(folder / "labels.npz", judgements=self.judgements, **arrays)

    def load(self, folder: Path) -> None:
        """Go back to what `save` wrote."""
        self.transitions = Transitions.load(folder / "transitions.npz")
        with np.load(folder / "labels.npz", allow_pickle=False) as kept:
            self.judgements = int(kept["judgements"])
            rows = zip(kept["states"], kept["actions"], kept["next_states"], kept["blocked"], strict=True)
            self._rows = [(s, a, n, bool(b)) for s, a, n, b in rows]
        self._pending.clear()
