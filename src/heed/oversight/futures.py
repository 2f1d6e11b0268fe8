"""Imagined futures as a page draws them: over the frame where one knows where in it a state is, else beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.oversight.overseers import Moment
from heed.worlds.presets import preset

MOST = 20
"""Ways that are drawn."""


def drawn_futures(moment: Moment) -> dict[str, Any] | None:
    """The futures of a moment as lines, None where the guard imagined none.

    Returns:
        ``over``: whether the lines lie over the frame; ``axes``: the numbers of the two parts of the state that are
        drawn where they do not; ``ways``: [N][H + 1][2], shares of width and height from the upper left corner, with
        None for what is not finite; ``risks``: [N]. The riskiest come last, so that they lie on top.

    >>> ways = np.array([[[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [4.0, 1.0]]])
    >>> moment = Moment(np.zeros(2), 0, futures=ways, future_risks=np.array([0.9, 0.1]))
    >>> found = drawn_futures(moment)
    >>> found["over"], found["axes"], found["risks"], found["ways"][0]
    (False, [0, 1], [0.1, 0.9], [[0.0, 1.0], [1.0, 1.0]])
    """
    if moment.futures is None or moment.future_risks is None:
        return None
    order = np.argsort(moment.future_risks, kind="stable")[-MOST:]
    ways, risks = np.asarray(moment.futures, float)[order], np.asarray(moment.future_risks, float)[order]
    env = moment.env
    known = None if env is None or env.spec is None else preset(env.spec.id, **env.spec.kwargs)
    framed = env is not None and env.render_mode == "rgb_array"
    if known is not None and known.pixels is not None and framed:
        lines, axes = known.pixels(ways), None
    else:
        keys = (known.label_keys if known is not None else None) or ()
        axes = [*keys, *(axis for axis in range(ways.shape[-1]) if axis not in keys)][:2]
        lines = _in_box(ways[..., axes])
    told = [
        [[round(float(x), 4), round(float(y), 4)] if np.isfinite([x, y]).all() else None for x, y in line]
        for line in lines
    ]
    return {"over": axes is None, "axes": axes, "ways": told, "risks": [round(float(risk), 3) for risk in risks]}


def _in_box(points: NDArray[Any]) -> NDArray[Any]:
    """Points [..., 2], or numbers [..., 1] at even steps, in a box of width and height 1, the second upwards."""
    if points.shape[-1] == 1:
        steps = np.broadcast_to(np.arange(points.shape[-2], dtype=float)[:, None], points.shape)
        points = np.concatenate([steps, points], axis=-1)
    finite = np.where(np.isfinite(points), points, np.nan).reshape(-1, 2)
    low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    shares: NDArray[Any] = (points - low) / np.where(high > low, high - low, 1.0)
    shares[..., 1] = 1 - shares[..., 1]
    return shares
