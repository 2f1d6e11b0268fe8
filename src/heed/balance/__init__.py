"""K objectives' gradients become one update: weightings of the gradients from their Gram matrix."""

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
from heed.balance.minnorm import MinNorm, min_norm_weights
from heed.balance.registry import METHODS, PREFERENCE_METHODS, weighting_from_name
from heed.balance.tchebycheff import ObservesValues, SmoothTchebycheff
from heed.balance.weightings import GAPO, MGDA, PGAPO, Linear, Single, check_preference

__all__ = [
    "GAPO",
    "METHODS",
    "MGDA",
    "PGAPO",
    "PREFERENCE_METHODS",
    "Cotangents",
    "GramAverage",
    "JacobianAccumulator",
    "Linear",
    "MinNorm",
    "ObservesValues",
    "Single",
    "SmoothTchebycheff",
    "Term",
    "check_preference",
    "cosines",
    "min_norm_weights",
    "norms",
    "predicted_change",
    "project_psd",
    "signal_share",
    "unbiased_gram",
    "weighting_from_name",
]
