"""Imagined futures: looking ahead from a proposed action, and planning a safe one in its place."""

from heed.guard.planning.config import Controllers, PlanningConfig
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
