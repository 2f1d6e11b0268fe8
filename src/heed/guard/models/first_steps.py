"""Labels as a look sees the first step after them: in as many imagined futures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heed.guard.models.dynamics import Dynamics
from heed.guard.models.labels import Labels

ROWS = 1000
"""Labels that are imagined at a time."""
Telling = Callable[[Tensor, Tensor, Tensor, slice], Tensor]
"""What is told of steps from states [K, n, S] by actions [K, n, A] to next states [K, n, S]: [K, n]; and of which rows
they are."""


@dataclass(frozen=True)
class FirstSteps:
    """How a look judges its first step, so that what it is compared with can be judged by the same statistic.

    It tells the mean of all futures. Their worst is far more dangerous than any one, and a threshold that was
    calibrated on one would flag far more than it says. Nor is there a threshold for the worst that keeps its promise:
    what one member says at worst, by which held-out blocks are judged, is more than all say together of any future; of
    the mean it is the same.

    Args:
        particles: futures of each member of the dynamics.
    """

    particles: int

    @torch.no_grad()
    def told(self, labels: Labels, dynamics: Dynamics, telling: Telling, generator: torch.Generator) -> Tensor:
        """What is told of N labels, mean of K futures of each: [N].

        Args:
            labels: N of them.
            dynamics: that imagine.
            telling: what tells.
            generator: of the dynamics' noise.
        """
        result = []
        for first in range(0, len(labels.blocked), ROWS):
            rows = slice(first, first + ROWS)
            each = (labels.states[rows], labels.actions[rows])
            states, actions = (column.repeat(self.particles, 1).expand(dynamics.members, -1, -1) for column in each)
            following = dynamics.step(states, actions, generator)[0]
            count = (dynamics.members * self.particles, len(each[0]), -1)  # K, n
            told = telling(states.reshape(count), actions.reshape(count), following.reshape(count), rows)
            result.append(told.mean(0))
        return torch.cat(result) if result else torch.zeros(0)
