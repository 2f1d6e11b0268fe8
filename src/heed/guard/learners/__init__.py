"""Learners of Stable-Baselines3 that know the guard: replays, balanced SAC, rollouts of the learnt model."""

from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.lagrangian import LagrangianSAC, Multiplier
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer, Rollouts
from heed.guard.learners.recovery import Recovery, RecoverySAC
from heed.guard.learners.replay import GuardAware
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3, controller
from heed.guard.learners.smbpo import AbsorbingReplayBuffer, AbsorbingSAC, absorbing_cost

__all__ = [
    "AbsorbingReplayBuffer",
    "AbsorbingSAC",
    "BalancedSAC",
    "GuardAware",
    "GuardedDQN",
    "GuardedSAC",
    "GuardedTD3",
    "ImaginedRollouts",
    "LagrangianSAC",
    "MixedReplayBuffer",
    "Multiplier",
    "Recovery",
    "RecoverySAC",
    "Rollouts",
    "absorbing_cost",
    "controller",
]
