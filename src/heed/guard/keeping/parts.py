"""What a lookahead is made of: settings, models, whose futures are imagined, and the chance of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from heed.guard.actions import ActionCoder
from heed.guard.models.models import Models
from heed.guard.planning.building import Controllers, lookout_of, planner_of
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.lookahead import Look, Lookout
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


class Disagreement:
    """Whether a look is unsure: the blockers disagree about a step of it.

    Args:
        models: with the blockers.
        above: standard deviation of their probabilities from which a look is unsure; nothing is above .5, the largest.
        may_ask: whether there is anybody to ask; else nothing is unsure.
    """

    def __init__(self, models: Models, above: float, may_ask: Callable[[], bool] = lambda: True) -> None:
        self.models, self.above, self.may_ask = models, above, may_ask

    def __call__(self, look: Look) -> bool:
        """Of a look."""
        if self.above > 0.5:
            return False
        futures = look.futures
        disagreement = self.models.disagreement(futures.states[:-1], futures.actions, futures.states[1:])
        return self.may_ask() and float(disagreement.nan_to_num(1.0).max()) >= self.above
