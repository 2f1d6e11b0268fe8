"""What a lookahead is made of: settings, models, whose futures are imagined, and the chance of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from heed.guard.actions import ActionCoder
from heed.guard.models.models import Models
from heed.guard.planning.config import Controllers, PlanningConfig, lookout_of, planner_of
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.planner import SafePlanner

Replaces = Literal["plan", "declared"]
"""Whether the planner's action takes a blocked one's place, or the declared safe action does."""


@dataclass(frozen=True, eq=False)
class LookaheadParts:
    """All that a lookahead and its planner are made of.

    Args:
        planning: how far ahead it looks, and how it plans.
        models: what is imagined and judged by.
        controllers: whose futures are imagined.
        actions: between the environment's actions and vectors.
        generator: of imagination.
        replaces: what takes a blocked action's place.
    """

    planning: PlanningConfig
    models: Models
    controllers: Controllers
    actions: ActionCoder
    generator: torch.Generator
    replaces: Replaces = "plan"

    def lookout(self) -> Lookout:
        """Over the models as they are now."""
        return lookout_of(self.planning, self.models, self.controllers, self.actions, self.generator)

    def planner(self) -> SafePlanner | None:
        """Over the models as they are now; None where none is declared."""
        return planner_of(self.planning, self.models, self.controllers, self.actions, self.generator)
