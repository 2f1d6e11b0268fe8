"""What people showed by acting themselves, and the losses by which a learner's policy follows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor
from torch.nn import functional

from heed.runs.state import State

KEPT = 100_000
"""Demonstrations that are kept at most; the oldest make room, as they would in LeRobot."""
MARGIN = 0.8
"""Of values, by which what was shown is to be better than all else (Hester et al. 2018)."""


class Demonstrations:
    """Steps in which an overseer's own action was executed, beside the replay, where they lie among all others.

    Args:
        room: for so many; the oldest make room. A learner has room for no more than its replay has.

    >>> shown = Demonstrations()
    >>> shown.add(np.zeros(2), np.array([0.5]), key="a"); shown.add(np.ones(2), np.array([-0.5]), key="b")
    >>> shown.retract("a"), shown.retract("a"), len(shown)
    (True, False, 1)
    >>> shown.sample(3)[1].tolist()
    [[-0.5], [-0.5], [-0.5]]
    """

    def __init__(self, room: int = KEPT) -> None:
        self.room = room
        self._observations: list[NDArray[Any]] = []
        self._actions: list[NDArray[Any]] = []
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, observation: NDArray[Any], action: Any, key: str = "") -> None:
        """Keep a step.

        Args:
            observation: before it, as the environment gave it, [S].
            action: that was executed, as the replay holds it: a box's scaled to [-1, 1], [A], or a choice.
            key: of the judgement, by which it can be retracted; "" where it has none.
        """
        self._observations.append(np.array(observation))
        self._actions.append(np.ravel(action) if np.ndim(action) else np.array(action))
        self._keys.append(key)
        self._make_room()

    def retract(self, key: str) -> bool:
        """Forget what a person's judgement showed, by its key; whether there was anything to forget."""
        if not key or key not in self._keys:
            return False
        place = self._keys.index(key)
        self._drop(slice(place, place + 1))
        return True

    def sample(
        self, count: int, device: torch.device | str = "cpu", env: VecNormalize | None = None
    ) -> tuple[Tensor, Tensor]:
        """So many of them, drawn with replacement: observations [count, S], and actions [count, A] or choices [count].

        There is one at least.

        Args:
            count: to draw.
            device: of the tensors.
            env: normalises the observations, as it does a replay's, by its statistics of now; None leaves them.
        """
        chosen = torch.randint(len(self), (count,)).tolist()
        observations, actions = (
            np.stack([column[n] for n in chosen]) for column in (self._observations, self._actions)
        )
        seen = observations if env is None else env.normalize_obs(observations)
        return torch.as_tensor(seen).to(device), torch.as_tensor(actions).to(device)

    def state(self) -> State:
        """All of them."""
        columns = (np.array(self._observations), np.array(self._actions))
        return {"observations": columns[0], "actions": columns[1], "keys": list(self._keys)}

    def restore(self, state: State | None) -> None:
        """Hold those of this state, and no others; none of a checkpoint that is older than they are (None)."""
        held = state or {"observations": [], "actions": [], "keys": []}
        self._observations, self._actions = list(held["observations"]), list(held["actions"])
        self._keys = list(held["keys"])
        self._make_room()

    def _make_room(self) -> None:
        self._drop(slice(0, max(0, len(self) - self.room)))

    def _drop(self, which: slice) -> None:
        for column in (self._observations, self._actions, self._keys):
            del column[which]


def cloning_loss(chosen: Tensor, shown: Tensor, values: Tensor) -> Tensor:
    """How far a policy's actions are from those that were shown, in units of values: TD3+BC (Fujimoto and Gu 2021).

    ``mean |Q(s, a)| mean (pi(s) - a)^2``. They divide the values by their mean size and weigh them with alpha = 2.5;
    here the other term is multiplied, so that a weight of ``1 / alpha = 0.4`` is theirs.

    Args:
        chosen: by the policy, in [-1, 1], [N, A].
        shown: in its place, [N, A].
        values: what the critic thinks of what was shown, [N, 1]; no gradient goes through them.

    >>> cloning_loss(torch.tensor([[0.5]]), torch.tensor([[1.0]]), torch.tensor([[-2.0]]))
    tensor(0.5000)
    """
    return values.detach().abs().mean() * functional.mse_loss(chosen, shown.to(chosen))


def margin_loss(values: Tensor, shown: Tensor) -> Tensor:
    """How far the choices that were shown are from being the best by a margin: DQfD (Hester et al. 2018).

    ``mean max_a [Q(s, a) + MARGIN 1(a != a_shown)] - Q(s, a_shown)``.

    Args:
        values: of all choices, [N, K].
        shown: choices, [N].

    >>> margin_loss(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 1]))
    tensor(0.9000)
    """
    theirs = functional.one_hot(shown.long(), values.shape[1]).bool()
    return ((values + MARGIN * ~theirs).amax(1) - values[theirs]).mean()
