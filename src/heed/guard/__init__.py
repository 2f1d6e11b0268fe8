"""Judgements of the blocking kind become an agent that looks before it leaps (MBHI).

`Guard` wraps an environment; `Phases` moves it from oversight to autonomy; `train_guard` is the whole run that
`heed guard` makes.
"""

from typing import Any

from heed._moved import renamed
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Decision, Step
from heed.guard.guard import Guard
from heed.guard.labels import LabelCollector
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer, Rollouts
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3, controller
from heed.guard.models.blockers import Blockers, KnownBlockers
from heed.guard.models.calibration import Threshold, accept_refit, conformal_threshold, hirl_threshold
from heed.guard.models.dynamics import Dynamics, EnsembleDynamics, KnownDynamics
from heed.guard.models.ensemble import BatchConfig, FitConfig
from heed.guard.models.models import Models, ModelsConfig
from heed.guard.models.rewards import WithReward
from heed.guard.models.support import Range
from heed.guard.models.termination import LearntTermination
from heed.guard.models.transitions import Transitions
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Futures, Imagination
from heed.guard.planning.lookahead import Look, Lookout
from heed.guard.planning.optimizers import CEM, ICEM, MPPI, ChoiceCEM
from heed.guard.planning.planner import Plan, SafePlanner
from heed.guard.planning.risk import CVaR, Mean, Worst
from heed.guard.run.config import GuardJob
from heed.guard.run.env_checks import EnvironmentChecks
from heed.guard.run.snapshots import BlockSnapshots
from heed.guard.run.train import train_guard
from heed.guard.stored_labels import recalled
from heed.guard.vector_guard import VectorGuard

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "BalancedSAC",
    "BatchConfig",
    "BlockSnapshots",
    "Blockers",
    "CVaR",
    "ChoiceCEM",
    "Decision",
    "DecisionLog",
    "Dynamics",
    "EnsembleDynamics",
    "EnvironmentChecks",
    "FitConfig",
    "Futures",
    "Guard",
    "GuardJob",
    "GuardedDQN",
    "GuardedSAC",
    "GuardedTD3",
    "Imagination",
    "ImaginedRollouts",
    "KnownBlockers",
    "KnownDynamics",
    "LabelCollector",
    "LearntTermination",
    "Look",
    "Lookout",
    "Mean",
    "MixedReplayBuffer",
    "Models",
    "ModelsConfig",
    "Phase",
    "Phases",
    "PhasesConfig",
    "Plan",
    "PlanningConfig",
    "Range",
    "Rollouts",
    "SafePlanner",
    "Step",
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


def __getattr__(name: str) -> Any:
    return renamed(__name__, name)
