"""What happened: transitions of the environment, in arrays that grow."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from heed.errors import HeedError
from heed.runs.files import replacing
from heed.runs.state import State

STEPS_AHEAD, WINDOWS = 20, 200
"""Length and about the number of windows unless another is asked for."""


class TransitionTensors(NamedTuple):
    """N transitions as tensors.

    Attributes:
        states: float32 [N, S].
        actions: vectors, float32 [N, A].
        next_states: float32 [N, S].
        rewards: float32 [N].
        terminated: the episode ended there by the world's own rule, bool [N].
        catastrophe: bool [N].
        streams: number of the environment that each came from, int64 [N].
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    rewards: Tensor
    terminated: Tensor
    catastrophe: Tensor
    streams: Tensor


class Transitions:
    """Transitions (state, executed action, next state, reward, terminated, catastrophe) in the order they came.

    Those of several environments may be mixed: each transition keeps the number of its stream.

    Args:
        state_size: S.
        action_size: A, of action vectors (a choice of n is one-hot).

    >>> seen = Transitions(state_size=2, action_size=1)
    >>> seen.add([0.0, 0.0], [1.0], [0.0, 0.1], reward=-0.01)
    >>> seen.add([0.0, 0.1], [1.0], [0.01, 0.2], reward=-5.0, terminated=True, catastrophe=True)
    >>> len(seen), seen.tensors().catastrophe.tolist()
    (2, [False, True])
    """

    def __init__(self, state_size: int, action_size: int) -> None:
        if state_size < 1 or action_size < 1:
            raise HeedError(f"states of {state_size} and actions of {action_size} numbers", fix="give at least one")
        self.state_size, self.action_size = state_size, action_size
        self._count = 0
        self._columns: dict[str, NDArray[np.float32] | NDArray[np.bool_] | NDArray[np.int64]] = {
            "states": np.empty((256, state_size), np.float32),
            "actions": np.empty((256, action_size), np.float32),
            "next_states": np.empty((256, state_size), np.float32),
            "rewards": np.empty(256, np.float32),
            "terminated": np.empty(256, np.bool_),
            "catastrophe": np.empty(256, np.bool_),
            "streams": np.empty(256, np.int64),
        }

    def __len__(self) -> int:
        return self._count

    def add(
        self,
        state: ArrayLike,
        action: ArrayLike,
        next_state: ArrayLike,
        reward: ArrayLike,
        terminated: ArrayLike = False,
        catastrophe: ArrayLike = False,
        stream: ArrayLike = 0,
    ) -> None:
        """Add one transition, or n of them with a leading axis.

        Args:
            state: [S] or [n, S].
            action: vector, [A] or [n, A].
            next_state: [S] or [n, S].
            reward: a number or [n].
            terminated: a truth value (of all) or [n].
            catastrophe: a truth value (of all) or [n].
            stream: number of the environment (of all), or [n].

        Raises:
            HeedError: shapes that do not agree with the sizes or with one another.
        """
        columns = (state, action, next_state, reward, terminated, catastrophe, stream)
        given = dict(zip(self._columns, columns, strict=True))
        rows = {name: np.asarray(value, dtype=self._columns[name].dtype) for name, value in given.items()}
        if rows["states"].ndim == 1:
            rows = {name: value[None] for name, value in rows.items()}
        count = len(rows["states"])
        rows = {name: np.full(count, value) if value.ndim == 0 else value for name, value in rows.items()}
        for name, value in rows.items():
            expected = (count, *self._columns[name].shape[1:])
            if value.shape != expected:
                raise HeedError(f"{name} have the shape {value.shape}, not {expected}", "Transitions.add")
        self._reserve(self._count + count)
        for name, value in rows.items():
            self._columns[name][self._count : self._count + count] = value
        self._count += count

    def tensors(self) -> TransitionTensors:
        """All transitions so far; what is added later does not show in them."""
        columns = (torch.from_numpy(column[: self._count]) for column in self._columns.values())
        return TransitionTensors(*columns)

    def snapshot(self) -> Transitions:
        """The transitions so far, apart from what is added later; the rows, which never change, are shared."""
        result = copy.copy(self)
        result._columns = {name: column[: self._count] for name, column in self._columns.items()}  # no room to add
        return result

    def windows(self, length: int) -> tuple[Tensor, Tensor]:
        """Every stretch of so many transitions that follow one another.

        A transition follows the one before it of the same stream if it starts in the very state in which that one
        ended and that one did not terminate.

        Args:
            length: k.

        Returns:
            States [W, k + 1, S] and actions [W, k, A]; W may be 0.

        Raises:
            HeedError: a length below 1.
        """
        return self.of_windows(self.window_rows(length))

    def window_rows(self, length: int) -> Tensor:
        """The same as numbers of the transitions, in the order in which they came, int64 [W, k]."""
        if length < 1:
            raise HeedError(f"windows of {length} transitions", fix="give at least 1")
        seen = self.tensors()
        order = seen.streams.argsort(stable=True)
        states, _, next_states, _, terminated, _, streams = (column[order] for column in seen)
        follows = (next_states[:-1] == states[1:]).all(1) & ~terminated[:-1] & (streams[:-1] == streams[1:])
        broken = torch.cat([torch.zeros(1, dtype=torch.long), (~follows).long().cumsum(0)])  # stretches before each
        starts = torch.arange(max(0, self._count - length + 1))
        starts = starts[broken[starts] == broken[starts + length - 1]] if len(starts) else starts
        return order[starts[:, None] + torch.arange(length)]

    def of_windows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """States [W, k + 1, S] and actions [W, k, A] of windows, by the numbers of their transitions [W, k]."""
        seen = self.tensors()
        return torch.cat([seen.states[rows], seen.next_states[rows[:, -1:]]], dim=1), seen.actions[rows]

    def state(self) -> State:
        """All transitions so far."""
        return {name: column[: self._count] for name, column in self._columns.items()}

    def restore(self, state: State) -> None:
        """Hold the transitions of this state, and no others."""
        self._count = 0
        self.add(*(state[name] for name in self._columns))

    def survived(self, lost: Tensor, steps: int) -> Tensor:
        """From which transitions on nothing was lost for so many steps, or until an end that was no loss: bool [N].

        Args:
            lost: which transitions are a loss, [N].
            steps: how many, from the transition itself on.
        """
        seen = self.tensors()
        order = seen.streams.argsort(stable=True)
        states, _, next_states, _, terminated, _, streams = (column[order] for column in seen)
        follows = (next_states[:-1] == states[1:]).all(1) & ~terminated[:-1] & (streams[:-1] == streams[1:])
        goes_on = torch.cat([follows, torch.zeros(1, dtype=torch.bool)]).tolist() if len(states) else []
        survived = torch.zeros(len(states), dtype=torch.bool)
        good = 0  # steps without a loss from here on
        for row in range(len(states) - 1, -1, -1):
            after = good if goes_on[row] else (steps if terminated[row] else 0)
            good = 0 if lost[order[row]] else after + 1
            survived[order[row]] = good >= steps
        return survived

    def save(self, path: Path | str) -> None:
        """Write all to an .npz file; the file is replaced whole or not at all."""
        with replacing(Path(path)) as file:
            np.savez(file, allow_pickle=False, **self.state())

    @classmethod
    def load(cls, path: Path | str) -> Transitions:
        """Read what :meth:`save` wrote.

        Raises:
            HeedError: no such file, or not one of these.
        """
        path = Path(path)
        fix = "give a file written by Transitions.save"
        try:
            with np.load(path, allow_pickle=False) as stored:
                columns = {name: stored[name] for name in TransitionTensors._fields}
        except FileNotFoundError as error:
            raise HeedError("there are no transitions", str(path), fix) from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise HeedError("the transitions cannot be read", str(path), fix) from error
        if columns["states"].ndim != 2 or columns["actions"].ndim != 2:
            raise HeedError("the transitions cannot be read", str(path), fix)
        result = cls(columns["states"].shape[1], columns["actions"].shape[1])
        result.add(*columns.values())
        return result

    def _reserve(self, count: int) -> None:
        """Grow the arrays to twice their size, or to what is needed."""
        room = len(self._columns["states"])
        if count <= room:
            return
        for name, column in self._columns.items():
            grown = np.empty((max(count, 2 * room), *column.shape[1:]), column.dtype)
            grown[: self._count] = column[: self._count]
            self._columns[name] = grown


def real_windows(
    transitions: Transitions, length: int = STEPS_AHEAD, without: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Stretches of transitions that follow one another, evenly from all that happened, with finite numbers only.

    Args:
        transitions: what happened.
        length: H, transitions of each.
        without: states [B, S] from which no transition of them may start, such as those in which a person blocked.

    Returns:
        States [W, H + 1, S] and executed actions [W, H, A]; W is about `WINDOWS`, and may be 0.

    >>> seen = Transitions(state_size=1, action_size=1)
    >>> for x in range(5):
    ...     seen.add([x], [0.0], [x + 1], reward=0.0)
    >>> real_windows(seen, 2)[0].squeeze(-1).tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
    >>> real_windows(seen, 2, without=torch.tensor([[1.0]]))[0].squeeze(-1).tolist()
    [[2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
    """
    rows, seen = transitions.window_rows(length), transitions.tensors()
    usable = seen.states.isfinite().all(1) & seen.next_states.isfinite().all(1) & seen.actions.isfinite().all(1)
    if without is not None and len(without):
        groups = torch.unique(torch.cat([without, seen.states]), dim=0, return_inverse=True)[1]
        usable &= ~torch.isin(groups[len(without) :], groups[: len(without)])
    rows = rows[usable[rows].all(1)]
    return transitions.of_windows(rows[:: max(1, len(rows) // WINDOWS)])
