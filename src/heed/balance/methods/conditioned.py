"""One policy for all preferences: a weighting for each of several preferences, which take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from heed.balance.registry import (
    Objectives,
    WeightingConfig,
    build_weighting,
    config_class,
    methods_with,
    register,
    settings_for,
)
from heed.errors import HeedError

if TYPE_CHECKING:
    from heed.balance.weightings.conditioned import Conditioned


@register("conditioned")
@dataclass(frozen=True)
class ConditionedConfig(WeightingConfig):
    """What the one policy is trained by; ``conditioned:NAME`` names the weighting.

    Args:
        inner: a method that follows a preference.
        inner_settings: that method's own settings, by name, without the preference.
        preferences: how many preferences are trained, evenly spread.
        through: what tells the policy the preference: adapter (each objective has ranks of its own, which the
            preference weighs) or prompt (it stands before each).
        shared: of an adapter's ranks, the share that all preferences have in common.
    """

    argument: ClassVar[str | None] = "inner"

    inner: str = "tchebycheff"
    inner_settings: dict[str, Any] = field(default_factory=dict)
    preferences: int = 5
    through: Literal["adapter", "prompt"] = "adapter"
    shared: float = 0.5

    def build(self, objectives: Objectives) -> Conditioned:
        """A weighting for each preference."""
        from heed.balance.preferences import spread_preferences
        from heed.balance.reward_combination import OneGradient
        from heed.balance.weightings.conditioned import Conditioned

        if self.preferences < 2:
            raise HeedError(f"{self.preferences} preferences are no choice", "--preferences", "give at least 2")
        grid = spread_preferences(self.preferences, objectives.count)
        kind = config_class(self.inner)
        followers = [name for name in methods_with("preference") if name != "conditioned"]
        if self.inner.partition(":")[0] not in followers:
            raise HeedError(f"{self.inner} follows no preference", "--inner", f"take one of {', '.join(followers)}")
        if "preference" in self.inner_settings:
            raise HeedError("the preferences are spread evenly", "--inner-settings", "leave out preference")
        built = []
        for preference in grid:
            settings = settings_for(self.inner, kind, {**self.inner_settings, "preference": preference})
            built.append(build_weighting(kind(**settings), objectives))
        if isinstance(built[0], OneGradient):
            what = f"{self.inner} makes one gradient of the rewards, and has no weights to take turns"
            raise HeedError(what, "--inner", "take a weighting of gradients")
        return Conditioned(built, grid, self.through, self.shared)
