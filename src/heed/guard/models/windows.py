"""Stretches of what really happened, against which what is imagined is calibrated."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.guard.models.transitions import Transitions

STEPS_AHEAD, WINDOWS = 20, 200
"""Length and about the number of the windows unless another is asked for."""


def real_windows(
    transitions: Transitions, length: int = STEPS_AHEAD, without: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Stretches of transitions that follow one another, evenly from all that happened, with finite numbers only.

    Args:
        transitions: what happened.
        length: H, transitions of each.
        without: states [B, S] from which no transition of them may start, such as those in which a person blocked.

    Returns:
        States [W, H + 1, S] and executed actions [W, H, A]; W is about `WINDOWS`, and may be 0.

    >>> seen = Transitions(state_size=1, action_size=1)
    >>> for x in range(5):
    ...     seen.add([x], [0.0], [x + 1], reward=0.0)
    >>> real_windows(seen, 2)[0].squeeze(-1).tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
    >>> real_windows(seen, 2, without=torch.tensor([[1.0]]))[0].squeeze(-1).tolist()
    [[2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
    """
    states, actions = transitions.windows(length)
    usable = states.isfinite().flatten(1).all(1) & actions.isfinite().flatten(1).all(1)
    if without is not None and len(without) and len(states):
        seen = states[:, :-1].reshape(-1, states.shape[-1])
        groups = torch.unique(torch.cat([without, seen]), dim=0, return_inverse=True)[1]
        usable &= ~torch.isin(groups[len(without) :], groups[: len(without)]).view(len(states), -1).any(1)
    chosen = usable.nonzero()[:, 0]
    chosen = chosen[:: max(1, len(chosen) // WINDOWS)]
    return states[chosen], actions[chosen]
