"""How far ahead a guard looks and how it plans, as one declares it; and the lookout and planner that follow."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.models.cross_conformal import FirstSteps
from heed.guard.models.labels import Experience
from heed.guard.models.models import Models
from heed.guard.models.transitions import real_windows
from heed.guard.planning.drift import ALPHA, MOST, belief_by_step
from heed.guard.planning.imagination import Controller, Imagination
from heed.guard.planning.lookahead import Lookout, check_block_when
from heed.guard.planning.optimizers import SEARCHES, search_from_name
from heed.guard.planning.planner import SafePlanner
from heed.guard.planning.risk import risk_strategy
from heed.runs.bounds import COUNT, PART, SHARE, WHOLE, Bounds, check_bounds

logger = logging.getLogger(__name__)

PLANNERS = (*SEARCHES, "none")
"""Names of planners."""
AT_THE_LAST_MOMENT, IN_TIME = 20, 10
"""Steps to look ahead where nothing else is asked for: an overseer who blocks in time has looked ahead already."""
STEPS = Bounds(0, 1000)
"""Steps that are imagined: what is further is out of memory's reach."""
BOUNDS = {
    "horizon": STEPS, "particles": COUNT, "release": PART, "plan_samples": Bounds(2), "plan_iterations": COUNT,
    "plan_particles": COUNT, "plan_horizon": STEPS, "deadline": WHOLE, "plan_margin": SHARE, "plan_gamma": SHARE,
}  # fmt: skip


@dataclass(frozen=True)
class PlanningConfig:
    """How far ahead the guard looks, and how it plans.

    Args:
        horizon: steps to look ahead; 0 is HIRL, without a model; None is 20, or 10 where the labels tell that the
            overseer blocks in time (`Models.late`).
        particles: of each member of the dynamics.
        block_when: policy_fails, no_way_out or no_plan (as no_way_out, and the planner, if any, finds none either);
            auto is no_plan where the labels tell that the overseer blocks in time, and no_way_out elsewhere: a plan is
            a way out that only the models vouch for, and blocks at the last moment leave no room for their mistakes.
        release: share of the threshold below which the risk must be for an action to be let pass after a block.
        risk: how the futures' risks beyond the first step are combined: max, mean, cvar:SHARE; of the first it is the
            mean, by which the threshold is calibrated.
        planner: icem, cem or mppi; none takes the declared safe action.
        plan_samples: plans of the first iteration.
        plan_iterations: at most.
        plan_particles: of each member, for each plan.
        plan_horizon: steps; 0 takes the look's.
        deadline: seconds of a plan, for acting in real time: how far a search gets then depends on the machine; 0 sets
            none.
        plan_margin: share of the threshold below which plans compete by what they are worth; above it by their risk.
        plan_gamma: discount of what a plan is worth.
    """

    horizon: int | None = None
    particles: int = 4
    block_when: str = "auto"
    release: float = 0.8
    risk: str = "max"
    planner: str = "icem"
    plan_samples: int = 64
    plan_iterations: int = 3
    plan_particles: int = 1
    plan_horizon: int = 0
    deadline: float = 0.0
    plan_margin: float = 0.5
    plan_gamma: float = 0.98

    def check(self) -> None:
        """Refuse what nothing could follow: a planner, rule of blocking or risk that is none, a number out of bounds.

        Raises:
            HeedError: names the option.
        """
        check_bounds(self, BOUNDS)
        risk_strategy(self.risk)
        if self.planner not in PLANNERS:
            raise HeedError(f"'{self.planner}' is no planner", "--planner", f"take {', '.join(PLANNERS)}")
        if self.block_when != "auto":
            check_block_when(self.block_when)

    @property
    def longest(self) -> int:
        """Steps of the longest future that may be imagined, at least 1."""
        return self.steps() or self.plan_horizon or 1

    @property
    def first_steps(self) -> FirstSteps | None:
        """How a look judges its first step; None where it does not look ahead."""
        return FirstSteps(self.particles) if self.steps() else None

    def steps(self, late: bool | None = None) -> int:
        """Steps to look ahead.

        Args:
            late: whether the overseer blocks at the last moment; None where that is not known.

        >>> PlanningConfig().steps(), PlanningConfig().steps(late=False), PlanningConfig(horizon=15).steps(late=False)
        (20, 10, 15)
        """
        if self.horizon is not None:
            return self.horizon
        return IN_TIME if late is False else AT_THE_LAST_MOMENT

    def rule(self, late: bool | None = None) -> str:
        """When to block, as `Lookout` is told.

        Args:
            late: as in `steps`.

        >>> PlanningConfig().rule(), PlanningConfig().rule(late=False)
        ('no_way_out', 'no_plan')
        """
        if self.block_when != "auto":
            return self.block_when
        return "no_plan" if late is False else "no_way_out"


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
