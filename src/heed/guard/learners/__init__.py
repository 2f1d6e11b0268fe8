"""Learners of Stable-Baselines3 that know the guard: replays, balanced SAC, rollouts of the learnt model."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
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

__getattr__ = on_demand(
    __name__,
    {
        "balanced_sac": ["BalancedSAC"],
        "lagrangian": ["LagrangianSAC", "Multiplier"],
        "mbpo": ["ImaginedRollouts", "MixedReplayBuffer", "Rollouts"],
        "recovery": ["Recovery", "RecoverySAC"],
        "replay": ["GuardAware"],
        "sb3": ["GuardedDQN", "GuardedSAC", "GuardedTD3", "controller"],
        "smbpo": ["AbsorbingReplayBuffer", "AbsorbingSAC", "absorbing_cost"],
    },
)
