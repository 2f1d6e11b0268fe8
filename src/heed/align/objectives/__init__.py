"""What a completion is scored by: functions, reward models, services over HTTP, and their names as text."""

from heed.align.objectives.base import Objective, ObjectiveSet, ObjectiveSpec
from heed.align.objectives.kinds import ObjectiveKind, ObjectiveText, register_objective_kind
from heed.align.objectives.reward_functions import RewardFunction

__all__ = [
    "Objective",
    "ObjectiveKind",
    "ObjectiveSet",
    "ObjectiveSpec",
    "ObjectiveText",
    "RewardFunction",
    "register_objective_kind",
]
