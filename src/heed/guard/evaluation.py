"""How well the learnt dynamics foretell what they have not learnt from."""

from __future__ import annotations

from typing import Any

from heed.guard.models.models import Models
from heed.guard.models.transitions import Transitions

LEAST = 50
"""Windows from which an error is told."""


def dynamics_error(models: Models, transitions: Transitions, horizon: int) -> dict[str, Any] | str:
    """How far the learnt dynamics drift from what happened, and how well they know it.

    Measured on the transitions that came after the last fit: nothing else is held out from it, early stopping included.

    Args:
        models: with the dynamics.
        transitions: all of the run; those that are not finite are left out.
        horizon: steps to follow; fewer where episodes are too short for `LEAST` windows of so many.

    Returns:
        ``error``, root mean square after 1, ..., k steps [k, S] in each state variable's own unit; ``spread``, the
        standard deviation of the states [S]; ``levels`` [L] and ``coverage`` [L, S + 1] of central intervals, the
        reward last; ``gap`` and ``nll`` of `Calibration`; and the ``steps`` k, ``windows`` and ``transitions`` that
        this stands on. Or, in words, why it cannot be told.
    """
    if models.known_dynamics is not None:
        return "the dynamics are known, not learnt"
    model = models.learnt
    if not model.fitted_to:
        return "they were never fitted"
    fresh = since(transitions, model.fitted_to)
    steps = next((k for k in range(horizon, 0, -1) if len(fresh.windows(k)[0]) >= LEAST), 0)
    if steps == 0:
        return f"{len(fresh)} steps came after the last fit, fewer than {LEAST}; the others it has seen"
    states, _ = fresh.windows(steps)
    calibration = model.calibration(fresh)
    return {
        "steps": steps,
        "windows": len(states),
        "transitions": len(fresh),
        "error": model.open_loop_error(fresh, steps).tolist(),
        "spread": states.flatten(0, 1).std(0).tolist(),
        "levels": calibration.levels.tolist(),
        "coverage": calibration.coverage.tolist(),
        "gap": calibration.gap,
        "nll": calibration.nll,
    }


def since(transitions: Transitions, start: int) -> Transitions:
    """The finite transitions from number ``start`` on, a copy.

    >>> seen = Transitions(state_size=1, action_size=1)
    >>> seen.add([[0.0], [1.0]], [[0.5], [0.5]], [[1.0], [2.0]], reward=[0.0, 1.0])
    >>> since(seen, 1).tensors().next_states.tolist(), len(since(seen, 2))
    ([[2.0]], 0)
    """
    late = [column[start:] for column in transitions.tensors()]
    states, actions, next_states, rewards = late[:4]
    finite = (states.isfinite() & next_states.isfinite()).all(1) & actions.isfinite().all(1) & rewards.isfinite()
    result = Transitions(transitions.state_size, transitions.action_size)
    result.add(*(column[finite].numpy() for column in late))
    return result
