"""Judgements of the blocking kind become an agent that looks before it leaps (MBHI).

`Guard` wraps an environment; `Phases` moves it from oversight to autonomy; `train_guard` is the whole run that
`heed guard` makes.
"""

from heed.guard.agent import GuardedDQN, GuardedSAC, GuardedTD3, controller
from heed.guard.blockers import Blockers, KnownBlockers
from heed.guard.decisions import Decision, DecisionLog, Step
from heed.guard.dynamics import Dynamics, EnsembleDynamics, KnownDynamics, WithReward
from heed.guard.ensemble import FitConfig
from heed.guard.guard import Guard
from heed.guard.imagination import Futures, Imagination, Look, Lookout, Range
from heed.guard.job import train_guard
from heed.guard.judges import Judges, JudgesConfig
from heed.guard.memory import Memory
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.guard.planner import Plan, SafePlanner
from heed.guard.risk import CVaR, Mean, Worst
from heed.guard.searches import CEM, ICEM, MPPI, ChoiceCEM
from heed.guard.settings import GuardJob
from heed.guard.thresholds import Threshold, accept_refit, conformal_threshold, hirl_threshold
from heed.guard.transitions import Transitions

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
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
    "Judges",
    "JudgesConfig",
    "KnownBlockers",
    "KnownDynamics",
    "Look",
    "Lookout",
    "Mean",
    "Memory",
    "Phase",
    "Phases",
    "PhasesConfig",
    "Plan",
    "Range",
    "SafePlanner",
    "Step",
    "Threshold",
    "Transitions",
    "WithReward",
    "Worst",
    "accept_refit",
    "conformal_threshold",
    "controller",
    "hirl_threshold",
    "train_guard",
]
