"""Hopper-v5, Walker2d-v5 and HalfCheetah-v5, of MuJoCo: falls and flips are catastrophes.

An overseer sets the state of MuJoCo's own integrator in a twin, so that what they foresee is what happens.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import mujoco
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from foreign.episodes import Limited
from foreign.overseers import InTime, LastMoment
from heed.worlds import Oracle

ALL = mujoco.mjtState.mjSTATE_INTEGRATION


class Mirrored(Limited):
    """A twin of a MuJoCo environment can be put into its state."""

    limit = 250

    def twin(self) -> Self:
        """Another one."""
        twin = type(self)()
        twin.reset(seed=0)
        return twin

    def mirror(self, other: Self) -> None:
        """Stand where the other one does."""
        state = np.empty(mujoco.mj_stateSize(self.model, ALL))
        mujoco.mj_getState(other.model, other.data, state, ALL)
        mujoco.mj_setState(self.model, self.data, state, ALL)


def fallen(_observation: Any, info: Any) -> bool:
    """The catastrophe of those that stand: the environment calls it unhealthy, and ends the episode."""
    return bool(info["terminated"])


def flipped(observation: Any, _info: Any) -> bool:
    """The catastrophe of the cheetah: its torso is turned by more than a right angle."""
    return bool(abs(observation[1]) > np.pi / 2)


def stand(observations: Any, joints: slice, speeds: slice, stiff: float, damped: float) -> Any:
    """Actions [..., A] that hold the joints as they are in the pose that episodes begin with."""
    seen = np.asarray(observations, np.float64)
    return np.clip(-stiff * seen[..., joints] - damped * seen[..., speeds], -1.0, 1.0).astype(np.float32)


hop_still = partial(stand, joints=slice(2, 5), speeds=slice(8, 11), stiff=4.0, damped=0.2)
stand_still = partial(stand, joints=slice(2, 8), speeds=slice(11, 17), stiff=1.0, damped=0.1)


def limp(observations: Any) -> Any:
    """Actions [..., 6] that do nothing."""
    return np.zeros((*np.shape(observations)[:-1], 6), np.float32)


class Hopper(Mirrored, HopperEnv):
    """Hopper-v5, for at most 250 steps."""

    oracle = Oracle(about="a hopper; a fall is a catastrophe", safe_action=hop_still)


class Walker(Mirrored, Walker2dEnv):
    """Walker2d-v5, for at most 250 steps."""

    oracle = Oracle(about="a walker; a fall is a catastrophe", safe_action=stand_still)


class Cheetah(Mirrored, HalfCheetahEnv):
    """HalfCheetah-v5, for at most 250 steps."""

    oracle = Oracle(about="a cheetah; a flip is a catastrophe", safe_action=limp)


last_moment = partial(LastMoment, catastrophe=fallen)
flips_next = partial(LastMoment, catastrophe=flipped)
hopper_in_time = partial(InTime, catastrophe=fallen, recovery=hop_still, steps=60)
walker_in_time = partial(InTime, catastrophe=fallen, recovery=stand_still, steps=60)
flips_in_time = partial(InTime, catastrophe=flipped, recovery=limp, steps=30)
