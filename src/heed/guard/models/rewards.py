"""What steps earn, where that is known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.models.dynamics import Dynamics

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
"""States [..., S], action vectors [..., A] and next states [..., S] to rewards [...]."""


class WithReward:
    """A model of the world whose reward is given as a function; where actions lead is as the model says.

    Args:
        dynamics: the model.
        reward: what each step earns.

    >>> from heed.guard.models.dynamics import KnownDynamics
    >>> drift = KnownDynamics(lambda states, actions: (states + actions, torch.zeros(states.shape[:-1])))
    >>> paid = WithReward(drift, lambda states, actions, next_states: next_states[..., 0] - actions[..., 0].square())
    >>> paid.step(torch.ones(1, 2, 1), torch.full((1, 2, 1), 2.0))[1].tolist()
    [[-1.0, -1.0]]
    """

    def __init__(self, dynamics: Dynamics, reward: Reward) -> None:
        self.dynamics, self.reward, self.members = dynamics, reward, dynamics.members

    def step(self, states: Tensor, actions: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Next states [E, N, S] of the model and the function's rewards [E, N].

        Raises:
            HeedError: rewards of another shape.
        """
        next_states, _ = self.dynamics.step(states, actions, generator)
        rewards = self.reward(states, actions, next_states)
        if rewards.shape != states.shape[:-1]:
            raise HeedError(
                f"states {list(states.shape)} are given rewards {list(rewards.shape)}",
                "reward",
                f"give one number for each step, {list(states.shape[:-1])}",
            )
        return next_states, rewards

    def mean(self, states: Tensor, actions: Tensor) -> Tensor:
        """The model's expected next states [N, S]."""
        return self.dynamics.mean(states, actions)
