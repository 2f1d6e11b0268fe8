"""From comparisons to reward models: readers of comparisons, supervised warm start, Bradley-Terry training."""

from heed.align.preferences.comparisons import Comparison, read_comparisons
from heed.align.preferences.reward_training import RewardTrainingConfig, RewardTrainingReport, train_reward_model
from heed.align.preferences.training import TrainingConfig
from heed.align.preferences.warm_start import supervised_warm_start

__all__ = [
    "Comparison",
    "RewardTrainingConfig",
    "RewardTrainingReport",
    "TrainingConfig",
    "read_comparisons",
    "supervised_warm_start",
    "train_reward_model",
]
