"""Where Pong draws the player's paddle, and the move of an action there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heed.worlds.overlay import Shape, arrow
from heed.worlds.pong.rules import paddle_bottom

SIZE = 160.0, 210.0
"""Pixels of the picture."""
MIDDLE, HALF_PADDLE = 142.0, 8.0
"""Pixels: the column that is the paddle's middle, and half its height."""
LENGTH = 24.0
"""Pixels of the arrow: what the paddle moves in one step at most."""


def move_in_frame(env: Any, ram: ArrayLike, action: int) -> list[Shape]:
    """The move of a choice as an arrow above or below the paddle; none where it stays.

    The joystick's right lifts it, and its left lowers it.
    """
    meaning = env.get_action_meanings()[int(action)]
    way = ("LEFT" in meaning) - ("RIGHT" in meaning)
    middle = float(paddle_bottom(np.asarray(ram))) + 1.0 - HALF_PADDLE
    return arrow(SIZE, (MIDDLE, middle), (0.0, LENGTH * way), HALF_PADDLE)
