"""LunarLander: what a crash is, when a person would step in, and a controller that keeps the lander up.

Units: the observation scales heights by half the screen (6.67 m) and velocities accordingly; here they are turned back
into metres and metres per second. Gravity is 10 m/s^2, the main engine about twice that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.errors import HeedError

HALF_SCREEN = 400 / 30 / 2
"""Metres to which a height of 1 in the observation amounts."""
SPEED = 50 / HALF_SCREEN
"""Metres per second to which a vertical velocity of 1 amounts (50 frames a second)."""
CRASH_REWARD = -100.0

_STOPPING = 5.0
"""m/s^2 that upright braking is trusted with; the engine gives 7.6 on average beyond gravity."""
_SPARE = 0.8
_TILT, _TILT_AHEAD = 0.3, 0.2
_SIDE = 0.8
_SINKING = -1.0


def shares(observations: ArrayLike) -> NDArray[np.float64]:
    """Where in its picture the lander is: [..., 2], shares of width and height from the upper left corner.

    The pad lies at a quarter of the picture's height, and the observation's height begins a leg's length, 18 of 400
    pixels, above it.

    >>> shares([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).round(3).tolist()
    [0.5, 0.705]
    """
    x, y = np.moveaxis(np.asarray(observations, np.float64)[..., :2], -1, 0)
    return np.stack([(x + 1) / 2, 1 - (y / 2 + 1 / 4 + 18 / 400)], axis=-1)


def crashed(_observation: Any, info: Mapping[str, Any]) -> bool:
    """Whether the episode ended with the environment's own reward for a crash, -100.

    The observation does not show that the body has touched the ground, so the info must hold "reward" and "terminated",
    as `CatastropheInfo` adds them.

    Raises:
        HeedError: if it does not.

    >>> crashed(None, {"reward": -100.0, "terminated": True}), crashed(None, {"reward": 100.0, "terminated": True})
    (True, False)
    """
    if "reward" not in info or "terminated" not in info:
        raise HeedError("a crash shows in the reward only", where="LunarLander-v3", fix="wrap it in CatastropheInfo")
    return bool(info["terminated"]) and float(info["reward"]) == CRASH_REWARD


def dangerous(observation: ArrayLike) -> bool:
    """Whether a person would step in: sinking too fast to stop above the ground, tilted, or leaving the screen.

    >>> dangerous([0.0, 1.4, 0.0, -0.1, 0.0, 0.0, 0.0, 0.0]), dangerous([0.0, 0.2, 0.0, -0.8, 0.0, 0.0, 0.0, 0.0])
    (False, True)
    """
    x, y, sideways, rising, angle, turning = (float(value) for value in np.asarray(observation)[:6])
    height, speed = y * HALF_SCREEN, rising * SPEED
    sinking = speed < _SINKING and height < speed**2 / (2 * _STOPPING) + _SPARE
    return sinking or abs(angle + _TILT_AHEAD * turning) > _TILT or abs(x + sideways) > _SIDE


def applied(action: ArrayLike) -> NDArray[np.float64]:
    """The engines' shares of their strength: the main one has half of it at least, a side one too, or nothing.

    The main engine is off up to 0, and a side engine up to 50% of its axis, whatever is asked of it.

    >>> applied([0.2, -0.4]).tolist(), applied([-0.9, 0.6]).tolist()
    ([0.6, 0.0], [0.0, 0.6])
    """
    main, side = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
    return np.array([(main + 1) / 2 if main > 0 else 0.0, side if abs(side) > 0.5 else 0.0])


def steady(observations: ArrayLike) -> NDArray[np.float32]:
    """Actions [..., 2] of the continuous lander that slow its fall, right it and move it to the middle.

    >>> steady([0.0, 0.3, 0.0, -0.8, 0.0, 0.0, 0.0, 0.0]).tolist()  # sinking: all that the engine gives
    [1.0, 0.0]
    """
    x, y, sideways, rising, angle, turning, left, right = np.moveaxis(np.asarray(observations, np.float64), -1, 0)
    landed = (left > 0.5) | (right > 0.5)
    lean = np.clip(0.4 * x + 0.8 * sideways, -_TILT, _TILT)
    turn = np.where(landed, 0.0, (angle - lean) * 10.0 + turning * 10.0)
    wanted = np.where(landed, 0.0, -0.05 - 0.25 * np.maximum(y, 0.0))
    lift = np.where(np.abs(angle) < 1.2, (wanted - rising) * 10.0, -1.0)  # past that the engine pushes it down
    return np.clip(np.stack([lift, turn], -1), -1.0, 1.0).astype(np.float32)
