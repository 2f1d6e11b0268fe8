"""Actions as vectors: what the environment takes, and what dynamics, imagination and planner compute with."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.guard.spaces import check_actions


class ActionCoder:
    """Between an environment's actions and vectors [A]: a box becomes [-1, 1]^A, a choice of n a one-hot vector.

    Args:
        space: a Box of floats of one dimension, bounded and of some width on every axis, or Discrete.

    Raises:
        HeedError: another space, with what to do about it.

    >>> coder = ActionCoder(gym.spaces.Box(np.array([0.0, -2.0]), np.array([1.0, 2.0]), dtype=np.float64))
    >>> coder.encode(np.array([0.25, 2.0])).tolist(), coder.decode(torch.tensor([0.0, -1.0])).tolist()
    ([-0.5, 1.0], [0.5, -2.0])
    >>> choice = ActionCoder(gym.spaces.Discrete(3))
    >>> choice.encode(2).tolist(), choice.decode(torch.tensor([0.1, 0.7, 0.2]))
    ([0.0, 0.0, 1.0], 1)
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        check_actions(space)
        self.space = space
        self.discrete = isinstance(space, gym.spaces.Discrete)
        if isinstance(space, gym.spaces.Discrete):
            self.size, self.start = int(space.n), int(space.start)
        elif isinstance(space, gym.spaces.Box):
            self.size = int(space.shape[0])
            self.low, self.high = space.low.astype(np.float64), space.high.astype(np.float64)

    def encode(self, action: Any) -> Tensor:
        """A vector, float32 [A]; an action outside the space keeps its place outside."""
        if self.discrete:
            vector = torch.zeros(self.size)
            vector[int(action) - self.start] = 1.0
            return vector
        scaled = 2 * (np.asarray(action, np.float64) - self.low) / (self.high - self.low) - 1
        return torch.from_numpy(scaled.astype(np.float32))

    def encode_all(self, actions: NDArray[Any]) -> Tensor:
        """Vectors [N, A] of actions [N, A], or of choices [N]."""
        if self.discrete:
            return torch.nn.functional.one_hot(torch.from_numpy(actions).long() - self.start, self.size).float()
        return torch.from_numpy(
            (2 * (actions.astype(np.float64) - self.low) / (self.high - self.low) - 1).astype(np.float32)
        )

    def decode_all(self, vectors: Tensor) -> NDArray[Any]:
        """The environment's actions of vectors [..., A]: float64 [..., A] within the box, or choices [...]."""
        if self.discrete:
            return vectors.argmax(-1).numpy() + self.start
        inside = vectors.detach().cpu().numpy().astype(np.float64).clip(-1, 1)
        return np.asarray(self.low + (inside + 1) / 2 * (self.high - self.low))

    def action(self, found: Any) -> Any:
        """What was found, as the environment takes it: of its own dtype, or a plain int."""
        return int(found) if self.discrete else np.asarray(found).astype(self.space.dtype)

    def decode(self, vector: Tensor) -> Any:
        """The environment's action of a vector [A]: clipped to the box, or the largest entry's choice."""
        if self.discrete:
            return int(vector.argmax()) + self.start
        inside = vector.detach().cpu().numpy().astype(np.float64).clip(-1, 1)
        action: NDArray[Any] = self.low + (inside + 1) / 2 * (self.high - self.low)
        return action.astype(self.space.dtype)

    def valid(self, action: Any) -> bool:
        """Whether an action is finite and within the space (a millionth of the box beyond it is forgiven)."""
        try:
            found = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError):
            return False
        if self.discrete:
            whole = found.ndim == 0 and np.isfinite(found) and float(found).is_integer()
            return bool(whole and 0 <= int(found) - self.start < self.size)
        if found.shape != self.low.shape or not np.isfinite(found).all():
            return False
        slack = 1e-6 * (self.high - self.low)
        return bool((found >= self.low - slack).all() and (found <= self.high + slack).all())

    def meant(self, action: Any) -> Any | None:
        """The action that somebody meant who wrote it in another form, as the environment takes it; None if it is none.

        A box takes a scalar for one axis, any shape of as many numbers, any dtype, and what lies beyond it clipped; a
        choice may be a whole float, or an array of one.

        >>> coder = ActionCoder(gym.spaces.Box(-2.0, 2.0, (1,)))
        >>> coder.meant(-1.0).tolist(), coder.meant([[2.00001]]).tolist(), coder.meant([np.nan])
        ([-1.0], [2.0], None)
        >>> ActionCoder(gym.spaces.Discrete(3)).meant(np.array([2.0]))
        2
        """
        try:
            found = np.asarray(action)
        except (TypeError, ValueError):
            return None
        if found.dtype.kind not in "biuf" or found.size != (1 if self.discrete else self.size):
            return None
        if self.discrete:
            choice = found.reshape(())
            return self.action(choice) if self.valid(choice) else None
        vector = found.reshape(self.low.shape).astype(np.float64)
        return self.action(vector.clip(self.low, self.high)) if np.isfinite(vector).all() else None

    def nothing(self) -> Tensor:
        """The box's centre, or the first choice: the vector that a controller idles at, [A]."""
        return self.encode(self.start) if self.discrete else torch.zeros(self.size)

    def swerves(self, most: int = 16) -> Tensor:
        """Extreme constant actions, [n, A]: each choice, or each axis and each pair of axes to its ends."""
        if self.discrete:
            return torch.eye(self.size)[:most]
        axes = torch.eye(self.size)
        ends = [sign * axis for axis in axes for sign in (1.0, -1.0)]
        pairs = [
            a * axes[i] + b * axes[j]
            for i in range(self.size)
            for j in range(i + 1, self.size)
            for a in (1.0, -1.0)
            for b in (1.0, -1.0)
        ]
        return torch.stack((ends + pairs)[:most])


def state_vector(observation: Any, space: gym.Space[Any]) -> NDArray[np.float32]:
    """An observation as the state that the guard reasons about, a copy, float32 [S].

    >>> state_vector([1, 2], gym.spaces.Box(-9, 9, (2,))).dtype
    dtype('float32')
    """
    return np.array(observation, dtype=np.float32).reshape(space.shape)
