"""What a completion is scored by: functions, reward models, services over HTTP, and their names as text."""

from heed.align.objectives.base import Objective, ObjectiveSet, ObjectiveSpec, RewardFunction

__all__ = ["Objective", "ObjectiveSet", "ObjectiveSpec", "RewardFunction"]
