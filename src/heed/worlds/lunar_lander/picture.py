"""LunarLander's engines as flames in its picture, where and as strongly as the environment fires them."""

from __future__ import annotations

from math import cos, sin
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heed.worlds.lunar_lander.rules import applied, shares
from heed.worlds.overlay import Flame, Shape, share

SIZE = 600.0, 400.0
"""Pixels of the picture."""
BOTTOM, SIDE, SHOULDER = 10.0, 15.0, 14.0
"""Pixels from the body's middle: down to the main engine, across to a side engine, and how far that lies above it."""
MAIN_LENGTH, SIDE_LENGTH = 50.0, 35.0
"""Pixels of a flame at full strength."""
CHOICES = ((0.0, 0.0), (0.0, -1.0), (1.0, 0.0), (0.0, 1.0))
"""What the choices of the lander without continuous engines do."""


def flames(_env: Any, observation: ArrayLike, action: ArrayLike) -> list[Shape]:
    """The flames of an action, [2] or a choice: none up to an engine's threshold, and from half their length on.

    A side engine burns on the side that it pushes away from: the one that pushes left burns on the right.

    >>> level = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> flames(None, level, [1.0, 0.4])  # the side engine is below its threshold
    [Flame(start=(0.5, 0.73), end=(0.5, 0.855))]
    >>> flames(None, level, [0.0, -0.5]), len(flames(None, level, [0.5, -0.6]))
    ([], 2)
    """
    seen, asked = np.asarray(observation, np.float64), np.asarray(action)
    main, side = (float(each) for each in applied(CHOICES[int(asked)] if asked.ndim == 0 else asked))
    x, y = (float(part) * length for part, length in zip(shares(seen), SIZE, strict=True))
    across, up = (cos(seen[4]), -sin(seen[4])), (-sin(seen[4]), -cos(seen[4]))  # of the body, to the right and down

    def flame(right: float, above: float, way: tuple[float, float], length: float) -> Flame:
        start = tuple(at + right * a + above * b for at, a, b in zip((x, y), across, up, strict=True))
        end = tuple(at + length * towards for at, towards in zip(start, way, strict=True))
        return Flame(share(SIZE, *start), share(SIZE, *end))

    found: list[Shape] = []
    if main > 0:
        found.append(flame(0.0, -BOTTOM, (-up[0], -up[1]), MAIN_LENGTH * main))
    if side:
        burns = -1.0 if side > 0 else 1.0
        found.append(flame(burns * SIDE, SHOULDER, (burns * across[0], burns * across[1]), SIDE_LENGTH * abs(side)))
    return found
