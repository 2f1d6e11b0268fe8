"""CR-MOGM: another weighting's weights, smoothed over steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from heed.balance.registry import Objectives, WeightingConfig, build_weighting, config_class, register, settings_for
from heed.errors import HeedError

if TYPE_CHECKING:
    from torchjd.aggregation import Weighting
    from torchjd.linalg import PSDMatrix


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
        from heed.balance.observing import ObservesSpreads, ObservesValues
        from heed.balance.reward_combination import OneGradient
        from heed.balance.weightings.cr_mogm import CRMOGM

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
