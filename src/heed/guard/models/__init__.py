"""What a guard learns: the dynamics, the blockers, their threshold, where both have seen data, how episodes end."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.guard.models.blockers import Blockers, DangerJudge, KnownBlockers
    from heed.guard.models.calibration import Threshold, accept_refit, conformal_threshold, hirl_threshold
    from heed.guard.models.config import BatchConfig, FitConfig, ModelsConfig
    from heed.guard.models.cross_conformal import CalibratedBlockers
    from heed.guard.models.dynamics import Dynamics, EnsembleDynamics, KnownDynamics
    from heed.guard.models.labels import Experience, Labels
    from heed.guard.models.models import Models, ModelsReport
    from heed.guard.models.relevance import relevant_columns
    from heed.guard.models.rewards import WithReward
    from heed.guard.models.safety_value import SafetyValue
    from heed.guard.models.support import Range
    from heed.guard.models.termination import LearntTermination
    from heed.guard.models.transitions import Transitions

__all__ = [
    "BatchConfig",
    "Blockers",
    "CalibratedBlockers",
    "DangerJudge",
    "Dynamics",
    "EnsembleDynamics",
    "Experience",
    "FitConfig",
    "KnownBlockers",
    "KnownDynamics",
    "Labels",
    "LearntTermination",
    "Models",
    "ModelsConfig",
    "ModelsReport",
    "Range",
    "SafetyValue",
    "Threshold",
    "Transitions",
    "WithReward",
    "accept_refit",
    "conformal_threshold",
    "hirl_threshold",
    "relevant_columns",
]

__getattr__ = on_demand(
    __name__,
    {
        "blockers": ["Blockers", "DangerJudge", "KnownBlockers"],
        "calibration": ["Threshold", "accept_refit", "conformal_threshold", "hirl_threshold"],
        "config": ["BatchConfig", "FitConfig", "ModelsConfig"],
        "cross_conformal": ["CalibratedBlockers"],
        "dynamics": ["Dynamics", "EnsembleDynamics", "KnownDynamics"],
        "labels": ["Experience", "Labels"],
        "models": ["Models", "ModelsReport"],
        "relevance": ["relevant_columns"],
        "rewards": ["WithReward"],
        "safety_value": ["SafetyValue"],
        "support": ["Range"],
        "termination": ["LearntTermination"],
        "transitions": ["Transitions"],
    },
)
