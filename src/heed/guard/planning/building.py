"""The lookout and the planner that a configuration declares, and how far ahead what is imagined is believed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heed.guard.actions import ActionCoder
from heed.guard.models.labels import Experience
from heed.guard.models.models import Models
from heed.guard.models.transitions import real_windows
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.drift import ALPHA, MOST, belief_by_step
from heed.guard.planning.imagination import Controller, Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import search_from_name
from heed.guard.planning.planner import SafePlanner
from heed.guard.planning.risk import risk_strategy

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Controllers:
    """Whose futures are imagined.

    Args:
        policy: the learner's, batched: states [N, S] to action vectors [N, A].
        brake: the same for what slows the agent down; None where there is none.
        value: what states are worth beyond a plan's horizon: states [N, S] to [N]; None counts nothing.
    """

    policy: Controller
    brake: Controller | None = None
    value: Callable[[Tensor], Tensor] | None = None

    @property
    def seeds(self) -> list[Controller]:
        """Those that seed a planner."""
        return [controller for controller in (self.policy, self.brake) if controller is not None]


def lookout_of(
    config: PlanningConfig, models: Models, controllers: Controllers, actions: ActionCoder, generator: torch.Generator
) -> Lookout:
    """The lookout that a configuration declares, over models as they are now."""
    return Lookout(
        _imagination(config.particles, models, controllers.policy, generator),
        config.steps(models.late),
        models.threshold,
        config.rule(models.late),
        risk_strategy(config.risk),
        controllers.brake,
        actions.swerves(),
        config.release,
    )


def planner_of(
    config: PlanningConfig, models: Models, controllers: Controllers, actions: ActionCoder, generator: torch.Generator
) -> SafePlanner | None:
    """The planner that a configuration declares, over models as they are now; None where it declares none."""
    if config.planner == "none":
        return None
    horizon = config.plan_horizon or max(1, config.steps(models.late))
    search = search_from_name(config.planner, horizon, actions.size, config.plan_samples, actions.discrete)
    return SafePlanner(
        search,
        _imagination(config.plan_particles, models, controllers.policy, generator),
        models.threshold,
        risk_strategy(config.risk),
        config.plan_iterations,
        enough=max(1, config.plan_samples // 4),
        deadline=config.deadline or math.inf,
        gamma=config.plan_gamma,
        terminal_value=controllers.value,
        margin=config.plan_margin,
    )


def find_belief(config: PlanningConfig, models: Models, experience: Experience) -> None:
    """Find out how far ahead the models' imagination is to be believed, by what came to no harm.

    It is done after each fit, and is part of what was learnt (`Models.belief`).

    Args:
        config: how far ahead the guard looks.
        models: just fitted.
        experience: what they were fitted to.
    """
    models.belief = None
    steps = config.steps(models.late)
    if models.known_danger is not None or steps < 2:
        return
    labels = experience.labels()
    seen = experience.transitions.tensors()
    unsure = labels.blocked if models.late else labels.blocked | labels.survived  # who blocks in time judges, not luck
    wrong = torch.cat([labels.states[unsure], seen.states[seen.catastrophe]])
    states, actions = real_windows(experience.transitions, steps, without=wrong)
    # Where nothing is blocked but what every way out leads into danger from, a policy's own future may look dangerous.
    alpha = MOST if config.rule(models.late) == "no_way_out" else ALPHA
    bare = Imagination(models.dynamics, models, _nobody, config.particles, generator=models.generator)
    models.belief = belief_by_step(bare, states, actions, risk_strategy(config.risk), models.threshold, alpha)
    told = "all" if models.belief is None else " ".join(f"{share:.2f}" for share in models.belief.tolist())
    logger.info("of %d windows without a block; what is imagined is believed, by steps ahead: %s", len(states), told)


def _nobody(states: Tensor) -> Tensor:
    raise AssertionError(f"nobody acts in a window: {states.shape}")


def _imagination(particles: int, models: Models, policy: Controller, generator: torch.Generator) -> Imagination:
    return Imagination(
        models.dynamics,
        models,
        policy,
        particles,
        models.reach,
        models.termination,
        generator,
        beyond=models.danger_beyond if models.value is not None else None,
        wary=models.most_alarmed,
        belief=models.belief,
    )
