"""What is known of Pong on its RAM: where the paddle must not go, and the way up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.worlds.oracle import Oracle, on_states
from heed.worlds.pong.picture import move_in_frame
from heed.worlds.pong.rules import PADDLE, UP, dangerous, too_low


def lift(observations: Any) -> NDArray[np.int64]:
    """The choice, for each of observations [..., 128], that lifts the paddle, [...]."""
    return np.full(np.shape(observations)[:-1], UP)


ORACLE = Oracle(
    about="Pong on its RAM; a paddle that comes too close to the bottom is a catastrophe (HIRL's own task)",
    kwargs={"obs_type": "ram", "repeat_action_probability": 0.0},
    is_catastrophe=too_low,
    danger=on_states(dangerous),
    label_keys=(PADDLE,),
    safe_action=lift,
    action_names=("nothing", "serve", "up", "down", "up, serve", "down, serve"),
    action_in_frame=move_in_frame,
)
