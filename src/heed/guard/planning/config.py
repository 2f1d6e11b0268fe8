"""How far ahead a guard looks and how it plans, as one declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.errors import HeedError
from heed.runs.bounds import COUNT, PART, SHARE, WHOLE, Bounds, check_bounds

if TYPE_CHECKING:
    from heed.guard.models.cross_conformal import FirstSteps

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
        from heed.guard.planning.lookahead import check_block_when  # what computes is not for those who only declare
        from heed.guard.planning.optimizers import PLANNERS
        from heed.guard.planning.risk import risk_strategy

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
        from heed.guard.models.cross_conformal import FirstSteps

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
