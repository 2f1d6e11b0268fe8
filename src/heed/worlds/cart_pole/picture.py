"""Where CartPole-v1 draws its cart, and the push of an action there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heed.worlds.overlay import Shape, arrow

SIZE = 600.0, 400.0
"""Pixels of the picture."""
TRACK = 4.8
"""Metres that its width shows."""
LEVEL, HALF_CART = 300.0, 25.0
"""Pixels: the middle of the cart below the upper edge, and half the cart's length."""
LENGTH = 60.0
"""Pixels of the arrow: both pushes are of 10 N."""


def push_in_frame(_env: Any, observation: ArrayLike, action: int) -> list[Shape]:
    """The push to the left (0) or to the right (1) as an arrow at that end of the cart.

    >>> push_in_frame(None, [0.0, 0.0, 0.0, 0.0], 0)
    [Arrow(start=(0.458333, 0.75), end=(0.358333, 0.75))]
    """
    middle = SIZE[0] * (float(np.asarray(observation)[0]) / TRACK + 0.5)
    return arrow(SIZE, (middle, LEVEL), (LENGTH if int(action) else -LENGTH, 0.0), HALF_CART)
