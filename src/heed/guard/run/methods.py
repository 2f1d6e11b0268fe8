"""The methods that `heed guard` and its comparisons name: the guard with parts taken away, or replaced by the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from heed.errors import HeedError
from heed.guard.models.config import ModelsConfig
from heed.guard.planning.config import PlanningConfig
from heed.runs.sections import nested, replaced


@dataclass(frozen=True)
class Method:
    """A way of guarding.

    Args:
        about: one sentence for reports.
        guarded: whether there is a guard at all.
        changes: of the settings of planning and models, by full name.
        true_dynamics: the world's own dynamics in place of learnt ones.
        true_danger: the world's own catastrophes in place of learnt blockers.
        brings: what the method is made of in place of guard and models: a learner with a multiplier, a replay with
            absorbing states, a recovery policy; None for the guard's own.
    """

    about: str
    guarded: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)
    true_dynamics: bool = False
    true_danger: bool = False
    brings: Literal["multiplier", "absorbing", "recovery"] | None = None

    def configure(self, planning: PlanningConfig, models: ModelsConfig) -> tuple[PlanningConfig, ModelsConfig]:
        """The configurations with this method's changes."""
        sections = {"planning": {}, "models": {}} | nested(self.changes)
        return replaced(planning, sections["planning"]), replaced(models, sections["models"])


_HIRL = {
    "planning.horizon": 0,
    "planning.release": 1.0,
    "models.inputs": "state_action",
    "models.threshold": "hirl",
    "models.label_keys": None,
}
"""Blockers judge states and actions, without looking ahead, by their majority."""

METHODS: dict[str, Method] = {
    "mbhi": Method("looks ahead in the learnt model, and plans where it blocks"),
    "none": Method("unguarded: every proposed action is executed", guarded=False),
    "hirl": Method(
        "blockers alone, of state and action; the safe action in place of a blocked one (HIRL)",
        changes=_HIRL | {"planning.planner": "none"},
    ),
    "hirl-plan": Method(
        "blockers alone decide, as in HIRL; our planner replaces, with the same blockers",
        changes=_HIRL | {"planning.plan_horizon": 20},
    ),
    "look-brake": Method("looks ahead; the safe action in place of a plan", changes={"planning.planner": "none"}),
    "mbhi-true-dynamics": Method("as mbhi, with the world's own dynamics", true_dynamics=True),
    "mbhi-true-danger": Method("as mbhi, with the world's own catastrophes", true_danger=True),
    "mbhi-true": Method("as mbhi, with both the world's own", true_dynamics=True, true_danger=True),
    "sac-lagrangian": Method(
        "unguarded; a multiplier weighs catastrophes against return (Ha et al. 2020)",
        guarded=False,
        brings="multiplier",
    ),
    "smbpo": Method(
        "unguarded; learns from imagined rollouts, in which unsafe states absorb (Thomas et al. 2021)",
        guarded=False,
        brings="absorbing",
    ),
    "recovery-rl": Method(
        "a recovery policy acts where a risk critic finds a proposal too risky (Thananjeyan et al. 2021)",
        brings="recovery",
    ),
}

COMPARED = tuple(name for name, method in METHODS.items() if method.brings is None)
"""What `heed compare guard` compares unless told otherwise: published baselines are asked for by name."""


def guarded(name: str) -> bool:
    """Whether a method puts a guard in front of the agent; of a method of another version, or none at all, it is said.

    >>> guarded("hirl"), guarded("smbpo"), guarded("")
    (True, False, True)
    """
    return name not in METHODS or METHODS[name].guarded


def method_from_name(name: str) -> Method:
    """A method by its name.

    Raises:
        HeedError: no such method.

    >>> method_from_name("hirl").configure(PlanningConfig(), ModelsConfig())[0].horizon
    0
    """
    if name not in METHODS:
        raise HeedError(f"there is no method '{name}'", "--method", f"take one of {', '.join(METHODS)}")
    return METHODS[name]
