"""K objectives' gradients become one update: weightings of the gradients from their Gram matrix.

Methods and their settings are there at once; what computes is imported when one of its names is first asked for, and
torch with it.
"""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand
from heed.balance.methods import METHODS, PREFERENCE_METHODS
from heed.balance.registry import (
    WEIGHTINGS,
    Objectives,
    WeightingConfig,
    build_weighting,
    config_class,
    methods_with,
    register,
    settings_for,
    settings_of,
    weighting_from_name,
)

if TYPE_CHECKING:
    from heed.balance.checks import check_preference
    from heed.balance.cotangents import Cotangents, Term
    from heed.balance.gramian import (
        GramAverage,
        cosines,
        norms,
        predicted_change,
        project_psd,
        signal_share,
        unbiased_gram,
    )
    from heed.balance.jacobian import JacobianAccumulator
    from heed.balance.minnorm import MinNorm, batched_min_norm, min_norm_weights
    from heed.balance.observing import ObservesSpreads, ObservesValues, TellsFigures
    from heed.balance.reward_combination import OneGradient, PairLoss, RewardCombination
    from heed.balance.weightings.fixed import Linear, Single
    from heed.balance.weightings.gapo import GAPO, PGAPO
    from heed.balance.weightings.mgda import MGDA
    from heed.balance.weightings.running.lagrangian import Lagrangian
    from heed.balance.weightings.tchebycheff import SmoothTchebycheff

__all__ = [
    "GAPO",
    "METHODS",
    "MGDA",
    "PGAPO",
    "PREFERENCE_METHODS",
    "WEIGHTINGS",
    "Cotangents",
    "GramAverage",
    "JacobianAccumulator",
    "Lagrangian",
    "Linear",
    "MinNorm",
    "Objectives",
    "ObservesSpreads",
    "ObservesValues",
    "OneGradient",
    "PairLoss",
    "RewardCombination",
    "Single",
    "SmoothTchebycheff",
    "TellsFigures",
    "Term",
    "WeightingConfig",
    "batched_min_norm",
    "build_weighting",
    "check_preference",
    "config_class",
    "cosines",
    "methods_with",
    "min_norm_weights",
    "norms",
    "predicted_change",
    "project_psd",
    "register",
    "settings_for",
    "settings_of",
    "signal_share",
    "unbiased_gram",
    "weighting_from_name",
]

__getattr__ = on_demand(
    __name__,
    {
        "checks": ["check_preference"],
        "cotangents": ["Cotangents", "Term"],
        "gramian": [
            "GramAverage",
            "cosines",
            "norms",
            "predicted_change",
            "project_psd",
            "signal_share",
            "unbiased_gram",
        ],
        "jacobian": ["JacobianAccumulator"],
        "minnorm": ["MinNorm", "batched_min_norm", "min_norm_weights"],
        "observing": ["ObservesSpreads", "ObservesValues", "TellsFigures"],
        "reward_combination": ["OneGradient", "PairLoss", "RewardCombination"],
        "weightings.fixed": ["Linear", "Single"],
        "weightings.gapo": ["GAPO", "PGAPO"],
        "weightings.mgda": ["MGDA"],
        "weightings.running.lagrangian": ["Lagrangian"],
        "weightings.tchebycheff": ["SmoothTchebycheff"],
    },
)
