"""Where InvertedPendulum-v5 draws its cart, and the push of an action there."""

from __future__ import annotations

from math import radians, tan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heed.worlds.overlay import Shape, arrow

SIDE = 2 * 2.04 * tan(radians(45.0 / 2))
"""Metres of the rail that the square picture shows: its camera is 2.04 m away and sees 45 degrees."""
HALF_CART = 0.2
"""Metres."""
STRONGEST = 3.0
"""Of the action."""
LENGTH = 0.4
"""Metres of the arrow at its strongest."""


def push_in_frame(env: Any, observation: ArrayLike, action: ArrayLike) -> list[Shape]:
    """The push of an action [1] along the rail as an arrow at that end of the cart.

    The camera looks where the cart was when it was first drawn, and stays there.
    """
    looks_at = float(env.mujoco_renderer.viewer.cam.lookat[0])
    push = float(np.clip(np.asarray(action, np.float64).reshape(-1)[0] / STRONGEST, -1.0, 1.0))
    place = SIDE / 2 + float(np.asarray(observation)[0]) - looks_at
    return arrow((SIDE, SIDE), (place, SIDE / 2), (LENGTH * push, 0.0), HALF_CART)
