"""CartPole-v1, of Gymnasium: a pole that falls is a catastrophe."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from foreign.episodes import Limited
from foreign.overseers import InTime, LastMoment
from heed.worlds import Oracle


def fallen(_observation: Any, info: Any) -> bool:
    """The catastrophe: the environment ends the episode."""
    return bool(info["terminated"])


def catch(observations: Any) -> Any:
    """Choices [...] that push the cart below the pole, and it back to the middle."""
    x, speed, angle, turns = np.moveaxis(np.asarray(observations, np.float64), -1, 0)
    return (angle + 0.25 * turns + 0.05 * x + 0.15 * speed > 0).astype(np.int64)


class Pole(Limited, CartPoleEnv):
    """A pole on a cart, for at most 200 steps."""

    limit = 200
    oracle = Oracle(about="a pole on a cart; a fall is a catastrophe", safe_action=catch)

    def twin(self) -> Self:
        """Another one."""
        twin = type(self)()
        twin.reset(seed=0)
        return twin

    def mirror(self, other: Self) -> None:
        """Stand where the other one does."""
        self.state, self.steps_beyond_terminated = other.state, None


last_moment = partial(LastMoment, catastrophe=fallen)
in_time = partial(InTime, catastrophe=fallen, recovery=catch, steps=60)
