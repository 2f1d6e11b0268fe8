"""What is known of InvertedPendulum-v5: when the pole has fallen, when it is about to, and what holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.worlds.inverted_pendulum.picture import push_in_frame
from heed.worlds.oracle import Bools, Oracle, States, on_states


def fallen(states: States) -> Bools:
    """In which states [..., 4] the pole leans by more than 0.2 rad, bool [...]."""
    return np.asarray(np.abs(states[..., 1]) > 0.2)


def dangerous(states: States) -> Bools:
    """In which states [..., 4] it is about to fall, or the cart to leave the rail, bool [...]."""
    falling = np.abs(states[..., 1] + 0.1 * states[..., 3]) > 0.1
    return np.asarray(falling | (np.abs(states[..., 0] + 0.3 * states[..., 2]) > 0.5))


def balance(observations: Any) -> NDArray[np.float32]:
    """Actions [..., 1] that hold the pole up and the cart in the middle.

    >>> balance([0.0, 0.1, 0.0, 0.0]).tolist()
    [1.5]
    """
    return np.clip(np.asarray(observations) @ (1.0, 15.0, 1.5, 3.0), -3.0, 3.0)[..., None].astype(np.float32)


ORACLE = Oracle(
    about="a pole on a cart; leaning by more than 0.2 rad is a catastrophe",
    is_catastrophe=fallen,
    danger=on_states(dangerous),
    label_keys=(1,),
    safe_action=balance,
    variable_names=("position, m", "tilt, rad", "speed, m/s", "turning, rad/s"),
    action_names=(("left", "right"),),
    action_in_frame=push_in_frame,
)
