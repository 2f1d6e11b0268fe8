"""Judgements of the comparing kind become a policy: fine-tune a language model to several objectives at once."""

from heed.align.config import AlignConfig, from_preset
from heed.align.data.dataset import load_prompts
from heed.align.objectives.base import Objective, ObjectiveSet, ObjectiveSpec, RewardFunction
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
from heed.align.objectives.reward_service import RewardService
from heed.align.trainer import AlignTrainer

__all__ = [
    "AlignConfig",
    "AlignTrainer",
    "HeadSpec",
    "ManyHeadedRewardModel",
    "Objective",
    "ObjectiveSet",
    "ObjectiveSpec",
    "RewardFunction",
    "RewardModel",
    "RewardService",
    "from_preset",
    "load_prompts",
]
