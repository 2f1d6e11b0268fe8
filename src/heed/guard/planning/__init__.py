"""Imagined futures: looking ahead from a proposed action, and planning a safe one in its place."""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.guard.planning.building import Controllers
    from heed.guard.planning.config import PlanningConfig
    from heed.guard.planning.imagination import Controller, Futures, Imagination
    from heed.guard.planning.lookahead import Look, Lookout
    from heed.guard.planning.optimizers import CEM, ICEM, MPPI, ChoiceCEM, Search
    from heed.guard.planning.planner import Plan, SafePlanner
    from heed.guard.planning.risk import CVaR, Mean, RiskStrategy, Worst

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "CVaR",
    "ChoiceCEM",
    "Controller",
    "Controllers",
    "Futures",
    "Imagination",
    "Look",
    "Lookout",
    "Mean",
    "Plan",
    "PlanningConfig",
    "RiskStrategy",
    "SafePlanner",
    "Search",
    "Worst",
]

__getattr__ = on_demand(
    __name__,
    {
        "building": ["Controllers"],
        "config": ["PlanningConfig"],
        "imagination": ["Controller", "Futures", "Imagination"],
        "lookahead": ["Look", "Lookout"],
        "optimizers": ["CEM", "ICEM", "MPPI", "ChoiceCEM", "Search"],
        "planner": ["Plan", "SafePlanner"],
        "risk": ["CVaR", "Mean", "RiskStrategy", "Worst"],
    },
)
