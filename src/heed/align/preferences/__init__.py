"""From comparisons to reward models: readers of comparisons, supervised warm start, Bradley-Terry training."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.align.preferences.comparisons import Comparison, read_comparisons
    from heed.align.preferences.config import RewardTrainingConfig, TrainingConfig
    from heed.align.preferences.reward_training import RewardTrainingReport, train_reward_model
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

__getattr__ = on_demand(
    __name__,
    {
        "comparisons": ["Comparison", "read_comparisons"],
        "config": ["RewardTrainingConfig", "TrainingConfig"],
        "reward_training": ["RewardTrainingReport", "train_reward_model"],
        "warm_start": ["supervised_warm_start"],
    },
)
