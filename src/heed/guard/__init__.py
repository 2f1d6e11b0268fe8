"""Judgements of the blocking kind become an agent that looks before it leaps (MBHI).

`Guard` wraps an environment; `Phases` moves it from oversight to autonomy; `train_guard` is the whole run that
`heed guard` makes.
"""

from heed.guard.agent import GuardedDQN, GuardedSAC, GuardedTD3, controller
from heed.guard.balanced import BalancedSAC
from heed.guard.blockers import Blockers, KnownBlockers
from heed.guard.decisions import Decision, DecisionLog, Step
from heed.guard.dynamics import Dynamics, EnsembleDynamics, KnownDynamics
from heed.guard.ensemble import BatchConfig, FitConfig
from heed.guard.faults import StopsOnFaults
from heed.guard.guard import Guard
from heed.guard.imagination import Futures, Imagination, Look, Lookout, Range
from heed.guard.imagined import Imagining, MixedReplayBuffer, Rollouts
from heed.guard.job import train_guard
from heed.guard.judges import Judges, JudgesConfig
from heed.guard.memory import Memory
from heed.guard.moments import BlockedMoments
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.guard.planner import Plan, SafePlanner
from heed.guard.recall import recalled
from heed.guard.rewards import WithReward
from heed.guard.risk import CVaR, Mean, Worst
from heed.guard.searches import CEM, ICEM, MPPI, ChoiceCEM
from heed.guard.settings import GuardJob
from heed.guard.termination import LearntTermination
from heed.guard.thresholds import Threshold, accept_refit, conformal_threshold, hirl_threshold
from heed.guard.transitions import Transitions
from heed.guard.vector_guard import VectorGuard

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "BalancedSAC",
    "BatchConfig",
    "BlockedMoments",
    "Blockers",
    "CVaR",
    "ChoiceCEM",
    "Decision",
    "DecisionLog",
    "Dynamics",
    "EnsembleDynamics",
    "FitConfig",
    "Futures",
    "Guard",
    "GuardJob",
    "GuardedDQN",
    "GuardedSAC",
    "GuardedTD3",
    "Imagination",
    "Imagining",
    "Judges",
    "JudgesConfig",
    "KnownBlockers",
    "KnownDynamics",
    "LearntTermination",
    "Look",
    "Lookout",
    "Mean",
    "Memory",
    "MixedReplayBuffer",
    "Phase",
    "Phases",
    "PhasesConfig",
    "Plan",
    "Range",
    "Rollouts",
    "SafePlanner",
    "Step",
    "StopsOnFaults",
    "Threshold",
    "Transitions",
    "VectorGuard",
    "WithReward",
    "Worst",
    "accept_refit",
    "conformal_threshold",
    "controller",
    "hirl_threshold",
    "recalled",
    "train_guard",
]
