"""How far the learnt models of a finished run can be trusted, on what they were not fitted to."""

from __future__ import annotations

from typing import Any

from heed.guard.evaluation import dynamics_error
from heed.guard.labels import LabelCollector
from heed.guard.models.blockers import reliability_curve
from heed.guard.models.models import Models
from heed.guard.phases import Phases
from heed.runs.files import to_json

BINS = 10
"""Of the reliability curve."""


def diagnosed(phases: Phases) -> dict[str, Any]:
    """What ``judges.json`` holds: the error of the dynamics and the reliability of the blockers, as plain data.

    The dynamics are tested on the steps after their last fit, or, where these are too few, on those between the last
    two fits, as predicted by the fit before the last.

    Returns:
        ``dynamics`` (see `dynamics_error`), ``blockers`` (see `blockers_reliability`), each None where it cannot be
        told, and ``missing`` with the reasons.
    """
    last = dynamics_error(phases.models, phases.labels.transitions, phases.planning.longest)
    result: dict[str, dict[str, Any] | str] = {
        "dynamics": phases.dynamics_error if isinstance(last, str) and phases.dynamics_error is not None else last,
        "blockers": blockers_reliability(phases.models, phases.labels) if phases.reports else "they were never fitted",
    }
    reported: dict[str, Any] = {name: None if isinstance(what, str) else to_json(what) for name, what in result.items()}
    return reported | {"missing": {name: why for name, why in result.items() if isinstance(why, str)}}


def blockers_reliability(models: Models, labels: LabelCollector) -> dict[str, Any] | str:
    """Whether what the blockers call dangerous with probability p is a block with probability p.

    Each label is judged by the blocker that has not learnt from its episode; the threshold was set on the blocks among
    them.

    Args:
        models: fitted.
        labels: all of the run.

    Returns:
        ``predicted``, ``observed`` and ``count`` of each bin, ``gap`` (see `Reliability`), and the ``labels`` and
        ``blocks`` that this stands on. Or, in words, why it cannot be told.
    """
    if models.known_danger is not None:
        return "what is dangerous is known, not learnt"
    blocked = labels.labels().blocked[: len(models.unseen)]
    known = models.unseen.isfinite()
    unseen, blocked = models.unseen[known], blocked[known]
    if blocked.all() or not blocked.any():
        return f"the {len(blocked)} labels are all alike"
    curve = reliability_curve(unseen, blocked, BINS, float(models.blockers.positive_weight))
    return {
        "predicted": curve.predicted.tolist(),
        "observed": curve.observed.tolist(),
        "count": curve.count.tolist(),
        "gap": curve.gap,
        "labels": len(blocked),
        "blocks": int(blocked.sum()),
    }
