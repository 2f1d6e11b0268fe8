"""Judgements of the blocking kind become an agent that looks before it leaps (MBHI).

`Guard` wraps an environment and has an `Intervention` decide on every action; `Phases` moves it from oversight to
autonomy; `train_guard` is the whole run that `heed guard` makes. What is learnt is in `heed.guard.models`, how futures
are imagined and plans are searched in `heed.guard.planning`, what Stable-Baselines3's learners need in
`heed.guard.learners`. A module is imported when one of its names is first asked for, so that a saved guard is loaded
without any of what training takes (`Guard.load`).
"""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.guard.agreement import Agreement
    from heed.guard.decision_log import DecisionLog
    from heed.guard.decisions import Decision, Step
    from heed.guard.guard import Guard
    from heed.guard.intervention import AskWhenUnsure, Beside, Intervention, Lookahead, Off, Overseen, Shadow
    from heed.guard.keeping.policy import PlainPolicy
    from heed.guard.learners.config import LearnerConfig
    from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3, controller
    from heed.guard.learners.vec_env import GuardedVecEnv
    from heed.guard.models.blockers import DangerJudge
    from heed.guard.models.config import ModelsConfig
    from heed.guard.models.models import Models
    from heed.guard.phases import Phases
    from heed.guard.phases_config import PhasesConfig
    from heed.guard.planning.building import Controllers
    from heed.guard.planning.config import PlanningConfig
    from heed.guard.planning.imagination import Controller
    from heed.guard.planning.optimizers import Search
    from heed.guard.planning.risk import RiskStrategy
    from heed.guard.run.config import GuardJob
    from heed.guard.run.train import resume_guard, train_guard
    from heed.guard.vector_guard import VectorGuard

__all__ = [
    "Agreement",
    "AskWhenUnsure",
    "Beside",
    "Controller",
    "Controllers",
    "DangerJudge",
    "Decision",
    "DecisionLog",
    "Guard",
    "GuardJob",
    "GuardedDQN",
    "GuardedSAC",
    "GuardedTD3",
    "GuardedVecEnv",
    "Intervention",
    "LearnerConfig",
    "Lookahead",
    "Models",
    "ModelsConfig",
    "Off",
    "Overseen",
    "Phases",
    "PhasesConfig",
    "PlainPolicy",
    "PlanningConfig",
    "RiskStrategy",
    "Search",
    "Shadow",
    "Step",
    "VectorGuard",
    "controller",
    "resume_guard",
    "train_guard",
]

__getattr__ = on_demand(
    __name__,
    {
        "agreement": ["Agreement"],
        "decision_log": ["DecisionLog"],
        "decisions": ["Decision", "Step"],
        "guard": ["Guard"],
        "intervention": ["AskWhenUnsure", "Beside", "Intervention", "Lookahead", "Off", "Overseen", "Shadow"],
        "learners.sb3": ["GuardedDQN", "GuardedSAC", "GuardedTD3", "controller"],
        "learners.vec_env": ["GuardedVecEnv"],
        "models.blockers": ["DangerJudge"],
        "models.config": ["ModelsConfig"],
        "models.models": ["Models"],
        "phases": ["Phases"],
        "phases_config": ["PhasesConfig"],
        "planning.building": ["Controllers"],
        "planning.config": ["PlanningConfig"],
        "planning.imagination": ["Controller"],
        "planning.optimizers": ["Search"],
        "planning.risk": ["RiskStrategy"],
        "keeping.policy": ["PlainPolicy"],
        "learners.config": ["LearnerConfig"],
        "run.config": ["GuardJob"],
        "run.train": ["resume_guard", "train_guard"],
        "vector_guard": ["VectorGuard"],
    },
)
