"""Learners of Stable-Baselines3 that know the guard: replays, balanced SAC, rollouts of the learnt model."""

from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer, Rollouts
from heed.guard.learners.replay import GuardAware
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3, controller

__all__ = [
    "BalancedSAC",
    "GuardAware",
    "GuardedDQN",
    "GuardedSAC",
    "GuardedTD3",
    "ImaginedRollouts",
    "MixedReplayBuffer",
    "Rollouts",
    "controller",
]
