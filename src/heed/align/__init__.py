"""Judgements of the comparing kind become a policy: fine-tune a language model to several objectives at once.

`AlignTrainer` is the algorithm, `AlignConfig` its settings; objectives score completions. A kind of objective of your
own extends `Objective`, and registers an `ObjectiveKind` if the command line is to name it.
"""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.align.config import AlignConfig, from_preset
    from heed.align.data.dataset import load_prompts
    from heed.align.evaluation import Evaluation, Gold
    from heed.align.objectives.base import Objective, ObjectiveSet, ObjectiveSpec
    from heed.align.objectives.ensembles import Ensemble
    from heed.align.objectives.kinds import ObjectiveKind, ObjectiveText, register_objective_kind
    from heed.align.objectives.reward_functions import RewardFunction
    from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel, RewardModel
    from heed.align.objectives.reward_service import RewardService
    from heed.align.objectives.score_models import ScoreModel
    from heed.align.objectives.spec import parse_objective
    from heed.align.trainer import AlignTrainer

__all__ = [
    "AlignConfig",
    "AlignTrainer",
    "Ensemble",
    "Evaluation",
    "Gold",
    "HeadSpec",
    "ManyHeadedRewardModel",
    "Objective",
    "ObjectiveKind",
    "ObjectiveSet",
    "ObjectiveSpec",
    "ObjectiveText",
    "RewardFunction",
    "RewardModel",
    "RewardService",
    "ScoreModel",
    "from_preset",
    "load_prompts",
    "parse_objective",
    "register_objective_kind",
]

__getattr__ = on_demand(
    __name__,
    {
        "config": ["AlignConfig", "from_preset"],
        "data.dataset": ["load_prompts"],
        "evaluation": ["Evaluation", "Gold"],
        "objectives.base": ["Objective", "ObjectiveSet", "ObjectiveSpec"],
        "objectives.ensembles": ["Ensemble"],
        "objectives.kinds": ["ObjectiveKind", "ObjectiveText", "register_objective_kind"],
        "objectives.reward_functions": ["RewardFunction"],
        "objectives.reward_models": ["HeadSpec", "ManyHeadedRewardModel", "RewardModel"],
        "objectives.reward_service": ["RewardService"],
        "objectives.score_models": ["ScoreModel"],
        "objectives.spec": ["parse_objective"],
        "trainer": ["AlignTrainer"],
    },
)
