"""What is known of CartPole-v1: when the pole has fallen, when it is about to, and what holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.worlds.cart_pole.picture import push_in_frame
from heed.worlds.oracle import Bools, Oracle, States, on_states


def fallen(states: States) -> Bools:
    """In which states [..., 4] the pole leans by more than 12 degrees or the cart is off its track, bool [...]."""
    return np.asarray((np.abs(states[..., 0]) > 2.4) | (np.abs(states[..., 2]) > np.deg2rad(12)))


def dangerous(states: States) -> Bools:
    """In which states [..., 4] either is about to happen, bool [...]."""
    falling = np.abs(states[..., 2] + 0.1 * states[..., 3]) > 0.1
    return np.asarray(falling | (np.abs(states[..., 0] + 0.3 * states[..., 1]) > 1.8))


def balance(observations: Any) -> NDArray[np.int64]:
    """Choices [...], left (0) or right (1), that hold the pole up.

    >>> balance([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, -0.1, 0.0]]).tolist()
    [1, 0]
    """
    return (np.asarray(observations) @ (0.03, 0.05, 1.0, 0.3) > 0).astype(np.int64)


ORACLE = Oracle(
    about="a pole on a cart; leaning by more than 12 degrees, or leaving the track, is a catastrophe",
    is_catastrophe=fallen,
    danger=on_states(dangerous),
    label_keys=(0, 2),
    safe_action=balance,
    variable_names=("position, m", "speed, m/s", "tilt, rad", "turning, rad/s"),
    action_names=("left", "right"),
    keys={"arrowleft": ("left", 0), "arrowright": ("right", 1)},
    action_in_frame=push_in_frame,
)
