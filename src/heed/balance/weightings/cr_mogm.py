"""CR-MOGM: another weighting's weights, smoothed over steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.observing import ObservesSpreads, ObservesValues
from heed.balance.registry import Objectives, WeightingConfig, build_weighting, config_class, register, settings_for
from heed.balance.reward_combination import OneGradient
from heed.errors import HeedError


class CRMOGM(Weighting[PSDMatrix]):
    """CR-MOGM (Zhou et al. 2022), "On the convergence of stochastic multi-objective gradient manipulation".

    ``w_t = alpha w_{t-1} + (1 - alpha) v_t`` where v_t are the inner weighting's weights, and w_0 = v_1. As torchjd's
    `CRMOGMWeighting`, with the average in buffers of a fixed shape, which `state_dict` carries.

    Args:
        inner: whose weights are smoothed.
        k: number of objectives.
        alpha: share of the past, in [0, 1]; 0 does not smooth.

    Shape: Gram matrix [K, K] -> weights [K], for the *raw* gradients.

    Raises:
        HeedError: alpha is out of its range.
    """

    average: Tensor
    steps: Tensor

    def __init__(self, inner: Weighting[PSDMatrix], k: int, alpha: float = 0.9) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise HeedError(f"CR-MOGM's alpha is {alpha}", "--alpha", "give a number in [0, 1]")
        self.inner, self.alpha = inner, alpha
        self.register_buffer("average", torch.zeros(k, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """Weights [K] of the raw gradients from their Gram matrix [K, K]; moves on the average."""
        now = self.inner(gramian).to(self.average)
        self.average.copy_(torch.lerp(now, self.average, self.alpha) if int(self.steps) else now)
        self.steps += 1
        return self.average.to(gramian, copy=True)


@register("cr-mogm")
@dataclass(frozen=True)
class CRMOGMConfig(WeightingConfig):
    """What is smoothed, and how much; ``cr-mogm:NAME`` names the inner weighting.

    Args:
        inner: the weighting that is smoothed.
        inner_settings: that weighting's own settings, by name.
        alpha: share of the past in the weights, in [0, 1]; 0 does not smooth.
    """

    argument: ClassVar[str | None] = "inner"

    inner: str = "upgrad"
    inner_settings: dict[str, Any] = field(default_factory=dict)
    alpha: float = 0.9

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        """The weighting around its inner one."""
        kind = config_class(self.inner)
        config = kind(**settings_for(self.inner, kind, self.inner_settings))
        inner = build_weighting(config, objectives)
        if isinstance(inner, OneGradient):
            fix = "take a weighting of gradients"
            raise HeedError(
                f"{self.inner} makes one gradient of the rewards, and has no weights to smooth", "--inner", fix
            )
        if isinstance(inner, ObservesValues | ObservesSpreads):
            fix = "take a method that looks at gradients alone"
            raise HeedError(f"{self.inner} follows the objectives' values, and smooths them by itself", "--inner", fix)
        return CRMOGM(inner, objectives.count, self.alpha)
