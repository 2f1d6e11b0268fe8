"""What happened and what was judged: all that dynamics and blockers are fitted to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heed.guard.decisions import Step
from heed.guard.models.labels import Labels, Remembered
from heed.guard.models.transitions import Transitions
from heed.runs.files import replacing
from heed.runs.state import State

Vector = NDArray[np.float32]
Row = tuple[Vector, Vector, Vector, bool, int, bool, bool]
"""A label: state, action, next state, whether it says block, episode, whether it is a catastrophe, and whether it is a
step that survived without a judgement."""


LONGEST_CREDIT = 200
"""Steps that a block can be about beside its own."""


@dataclass
class _Stream:
    """One environment's part of what happens: its present episode, and the steps of it that have not yet survived."""

    guard_episode: int  # as the guard counts
    episode: int  # as the collector counts
    steps: int = 0
    let_pass: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=LONGEST_CREDIT))
    pending: deque[tuple[int, Step]] = field(default_factory=deque)


class LabelCollector:
    """Transitions and labels, filled step by step.

    A label comes from three sources: a person's judgement of a proposed action; a catastrophe, whoever had allowed
    it; and survival, where it counts: an executed step that no catastrophe followed within ``grace`` steps is one
    that did not have to be blocked. Survival keeps autonomy from calling ever more of the world dangerous; with
    far-sighted judgements it may contradict them, so it can be left out.

    Args:
        state_size: S.
        action_size: A.
        grace: steps after which a step has survived; 0 learns nothing from survival. With judgements about the very
            next state 1 is enough: no catastrophe, so nothing to block.
    """

    def __init__(self, state_size: int, action_size: int, grace: int = 1) -> None:
        self.transitions = Transitions(state_size, action_size)
        self.grace = grace
        self.judgements = 0
        self._rows: list[Row] = []
        self._stored: dict[tuple[bytes, bytes, bool], int] = {}  # where the rows lie that this run has not repeated
        self._keyed: dict[str, tuple[int | None, list[int]]] = {}  # where a judgement lies, and what else it is about
        self._streams: dict[int, _Stream] = {}
        self._episodes = 0

    def add(self, step: Step) -> None:
        """Take in a step of an environment with the judgement that it got, if any."""
        self.transitions.add(
            step.state, step.executed, step.next_state, step.reward, step.terminated, step.catastrophe, step.stream
        )
        stream = self._stream_of(step)
        asked, blocked = step.decision.asked, step.decision.decision == "block"
        stream.steps += 1
        self.judgements += asked
        if step.catastrophe:  # what was proposed before it would tell the same once more
            self._label(step, step.executed, step.next_state, blocked=True)
            stream.pending.clear()
        elif blocked and step.proposed is not None and (asked or step.decision.glimpsed):
            nowhere, place = np.full_like(step.next_state, np.nan), None
            if asked:
                place = self._label(step, step.proposed, nowhere, blocked=True)
            credited = self._credit(stream, max(step.decision.credit, int(step.decision.catastrophe_reported)))
            if step.decision.catastrophe_reported and credited:
                self._set(credited[-1], blocked=True, catastrophe=True)
            if step.decision.key:
                self._keyed[step.decision.key] = (place, credited)
        elif asked and not blocked:
            place = self._label(step, step.executed, step.next_state, blocked=False)
            if step.decision.key:  # said in so many words
                self._keyed[step.decision.key] = (place, [])
            else:
                stream.let_pass.append((stream.steps, place))
        if self.grace and not step.catastrophe and (blocked or not asked):
            stream.pending.append((stream.steps, step))  # the executed action, which nobody judged
        while stream.pending and (stream.steps - stream.pending[0][0] >= self.grace - 1 or step.terminated):
            survived = stream.pending.popleft()[1]
            self._label(survived, survived.executed, survived.next_state, blocked=False, survived=True)
        if step.terminated or step.truncated:  # nobody knows what would have followed a cut
            del self._streams[step.stream]

    def labels(self) -> Labels:
        """All labels so far."""
        columns = [np.array([row[i] for row in self._rows], np.float32) for i in range(3)]
        states, actions, next_states = (torch.from_numpy(column) for column in columns)
        flags = (torch.tensor([row[i] for row in self._rows], dtype=torch.bool) for i in (3, 5, 6))
        blocked, catastrophes, survived = flags
        episodes = torch.tensor([row[4] for row in self._rows], dtype=torch.int64)
        return Labels(states, actions, next_states, blocked, episodes, catastrophes, survived)

    def snapshot(self) -> Remembered:
        """All transitions and labels so far, apart from what comes later."""
        return Remembered(self.transitions.snapshot(), self.labels())

    def add_stored(self, labels: Labels) -> None:
        """Take in labels of earlier runs; they are no judgements of this one.

        Runs with one seed say the same of the same state and action. That is taken once, and where this run says it
        too, its own label takes the stored one's place: a twin in another episode would teach the very member that is
        to judge the label unseen.
        """
        vectors = (column.numpy() for column in (labels.states, labels.actions, labels.next_states))
        kept = (labels.blocked, labels.episodes, labels.catastrophes, labels.survived)
        others = (column.tolist() for column in kept)
        for row in zip(*vectors, *others, strict=True):
            if self._stored.setdefault(_said(row), len(self._rows)) == len(self._rows):
                self._rows.append(row)

    @property
    def blocks(self) -> int:
        """Labels that say block."""
        return sum(row[3] for row in self._rows)

    def _stream_of(self, step: Step) -> _Stream:
        """The step's stream; a new episode begins after an end, and where the environment was reset before one."""
        stream = self._streams.get(step.stream)
        if stream is None or stream.guard_episode != step.episode:
            stream = self._streams[step.stream] = _Stream(step.episode, self._episodes)
            self._episodes += 1
        return stream

    def retract(self, key: str) -> bool:
        """Forget what a person's judgement said, by its key; whether there was one to forget.

        What it was credited for is let pass again, as it was before. The label keeps its place without a state, so that
        it teaches nothing.
        """
        taken = self._keyed.pop(key, None)
        if taken is None:
            return False
        place, credited = taken
        if place is not None:
            state, action, _, _, episode, catastrophe, _ = self._rows[place]
            nothing = np.full_like(state, np.nan)
            self._rows[place] = (nothing, action, nothing, False, episode, catastrophe, False)
        for earlier in credited:
            self._set(earlier, blocked=False)
        return True

    def _credit(self, stream: _Stream, steps: int) -> list[int]:
        """Block what passed in silence in the last steps, and return where that is."""
        passed = [place for step, place in stream.let_pass if step >= stream.steps - steps]
        meant = [place for place in passed if not self._rows[place][3]]
        for place in meant:
            self._set(place, blocked=True)
        return meant

    def _set(self, place: int, blocked: bool, catastrophe: bool = False) -> None:
        state, action, following, _, episode, _, survived = self._rows[place]
        self._rows[place] = (state, action, following, blocked, episode, catastrophe, survived)

    def _label(self, step: Step, action: Vector, next_state: Vector, blocked: bool, survived: bool = False) -> int:
        episode = self._streams[step.stream].episode
        row = (step.state, action, next_state, blocked, episode, step.catastrophe, survived)
        place = self._stored.pop(_said(row), len(self._rows))
        self._rows[place : place + 1] = [row]
        return place

    def state(self) -> State:
        """All labels and transitions so far, and the steps that have not yet survived."""
        streams = {}
        for number, stream in self._streams.items():
            pending = [(at, step.bare()) for at, step in stream.pending]
            streams[number] = vars(stream) | {"let_pass": list(stream.let_pass), "pending": pending}
        return {
            "transitions": self.transitions.state(),
            "labels": self.labels(),
            "judgements": self.judgements,
            "stored": sorted(self._stored.values()),
            "keyed": self._keyed,
            "streams": streams,
            "episodes": self._episodes,
        }

    def restore(self, state: State) -> None:
        """Hold what this state says, and nothing else."""
        self.transitions.restore(state["transitions"])
        states, actions, next_states, *others = (column.numpy() for column in vars(state["labels"]).values())
        self._rows = list(zip(states, actions, next_states, *(column.tolist() for column in others), strict=True))
        self._stored = {_said(self._rows[place]): place for place in state["stored"]}
        self.judgements, self._keyed, self._episodes = state["judgements"], state["keyed"], state["episodes"]
        self._streams = {}
        for number, kept in state["streams"].items():
            stream = self._streams[number] = _Stream(kept["guard_episode"], kept["episode"], kept["steps"])
            stream.let_pass.extend(kept["let_pass"])
            stream.pending.extend(kept["pending"])

    def save(self, folder: Path) -> None:
        """Write transitions and labels into a folder; the steps that have not yet survived are left out."""
        self.transitions.save(folder / "transitions.npz")
        arrays = {name: column.numpy() for name, column in vars(self.labels()).items()}
        with replacing(folder / "labels.npz") as file:
            np.savez(file, **arrays)


def _said(row: Row) -> tuple[bytes, bytes, bool]:
    """State, action and verdict of a label, to the last bit."""
    return row[0].tobytes(), row[1].tobytes(), row[3]
