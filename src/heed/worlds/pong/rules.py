"""Pong's paddle in the Atari's memory: HIRL's task, which is to keep it off the bottom of the screen.

HIRL (Saunders et al. 2018) reads the paddle from the picture: the play area is the rows 34 to 193, and a paddle whose
lowest row is beyond 194 - 16 is a catastrophe. In the 128 bytes of RAM, byte 51 is the paddle's height; its lowest row
is that byte plus one, rounded up to an odd row, because the paddle is drawn two rows at a time (measured against the
picture with ale-py 0.12; beyond row 193 the picture cuts it off).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDLE = 51
"""The byte of RAM that holds the height of the player's paddle."""
BOTTOM = 194
CLEARANCE = 16
ONE_STEP = 24
"""Rows that the paddle moves at most in one step of four frames (measured)."""
UP = 2
"""The action called RIGHT, which lifts the paddle."""


def paddle_bottom(ram: NDArray[Any]) -> NDArray[np.int64]:
    """The picture's lowest row of the player's paddle, int [...], from RAM [..., 128].

    >>> paddle_bottom(np.full(128, 109, np.uint8)).item()
    111
    """
    return np.asarray((np.asarray(ram)[..., PADDLE].astype(np.int64) + 1) | 1)


def too_low(ram: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the paddle is within 16 rows of the bottom, bool [...]: the catastrophe."""
    return np.asarray(paddle_bottom(ram) > BOTTOM - CLEARANCE)


def dangerous(ram: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether one step down could be the catastrophe, bool [...]."""
    return np.asarray(paddle_bottom(ram) > BOTTOM - CLEARANCE - ONE_STEP)
