"""Judgements of the blocking kind become an agent that looks before it leaps.

What is named here is imported when it is first asked for, so that a part costs no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heed.guard.blockers import Blockers, KnownBlockers
    from heed.guard.dynamics import Dynamics, EnsembleDynamics, KnownDynamics, WithReward
    from heed.guard.ensemble import FitConfig
    from heed.guard.thresholds import (
        Judged,
        RefitDecision,
        Threshold,
        accept_refit,
        conformal_threshold,
        hirl_threshold,
        smallest_eps,
    )
    from heed.guard.transitions import Transitions

__all__ = [
    "Blockers",
    "Dynamics",
    "EnsembleDynamics",
    "FitConfig",
    "Judged",
    "KnownBlockers",
    "KnownDynamics",
    "RefitDecision",
    "Threshold",
    "Transitions",
    "WithReward",
    "accept_refit",
    "conformal_threshold",
    "hirl_threshold",
    "smallest_eps",
]

_HOMES = {
    "blockers": ("Blockers", "KnownBlockers"),
    "dynamics": ("Dynamics", "EnsembleDynamics", "KnownDynamics", "WithReward"),
    "ensemble": ("FitConfig",),
    "thresholds": (
        "Judged",
        "RefitDecision",
        "Threshold",
        "accept_refit",
        "conformal_threshold",
        "hirl_threshold",
        "smallest_eps",
    ),
    "transitions": ("Transitions",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
