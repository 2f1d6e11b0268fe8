"""The methods that `heed guard` and its comparisons name: the guard with parts taken away, or replaced by the truth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from heed.errors import HeedError
from heed.guard.models.models import ModelsConfig
from heed.guard.phases import PhasesConfig


@dataclass(frozen=True)
class Method:
    """A way of guarding.

    Args:
        about: one sentence for reports.
        guarded: whether there is a guard at all.
        phases: changes of `PhasesConfig`.
        judges: changes of `ModelsConfig`.
        true_dynamics: the world's own dynamics in place of learnt ones.
        true_danger: the world's own catastrophes in place of learnt blockers.
    """

    about: str
    guarded: bool = True
    phases: tuple[tuple[str, Any], ...] = ()
    judges: tuple[tuple[str, Any], ...] = ()
    true_dynamics: bool = False
    true_danger: bool = False

    def configure(self, config: PhasesConfig) -> PhasesConfig:
        """The phases' configuration with this method's changes."""
        judges: ModelsConfig = dataclasses.replace(config.judges, **dict(self.judges))
        return dataclasses.replace(config, judges=judges, **dict(self.phases))


_GLANCE = (("inputs", "state_action"), ("threshold", "hirl"), ("label_keys", None))
METHODS: dict[str, Method] = {
    "mbhi": Method("looks ahead in the learnt model, and plans where it blocks"),
    "none": Method("unguarded: every proposed action is executed", guarded=False),
    "hirl": Method(
        "blockers alone, of state and action; the safe action in place of a blocked one (HIRL)",
        phases=(("horizon", 0), ("planner", "none"), ("release", 1.0)),
        judges=_GLANCE,
    ),
    "hirl-plan": Method(
        "blockers alone decide, as in HIRL; our planner replaces, with the same blockers",
        phases=(("horizon", 0), ("plan_horizon", 20), ("release", 1.0)),
        judges=_GLANCE,
    ),
    "look-brake": Method("looks ahead; the safe action in place of a plan", phases=(("planner", "none"),)),
    "mbhi-true-dynamics": Method("as mbhi, with the world's own dynamics", true_dynamics=True),
    "mbhi-true-danger": Method("as mbhi, with the world's own catastrophes", true_danger=True),
    "mbhi-true": Method("as mbhi, with both the world's own", true_dynamics=True, true_danger=True),
}


def method_from_name(name: str) -> Method:
    """A method by its name.

    Raises:
        HeedError: no such method.

    >>> method_from_name("hirl").configure(PhasesConfig()).horizon
    0
    """
    if name not in METHODS:
        raise HeedError(f"there is no method '{name}'", "--method", f"take one of {', '.join(METHODS)}")
    return METHODS[name]
