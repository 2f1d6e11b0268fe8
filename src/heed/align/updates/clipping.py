"""Clipping of the combined gradient: to a fixed norm, and to a multiple of its own typical norm."""

from __future__ import annotations

import math


class GradientBound:
    """The norm to which a gradient is clipped: a fixed one, or a multiple of the typical norm, whichever is less.

    The objectives' units and the weighting set the scale of the combined gradient, so that a fixed norm bounds little.
    The typical norm is a moving average over some twenty steps of the norms after clipping: a rare outlier hardly
    moves it, a lasting change of scale is followed.

    Args:
        longest: the fixed norm; 0 for none.
        ratio: the multiple of the typical norm; 0 for none.

    Attributes:
        typical: the moving average, 0 before the first step.

    >>> bound = GradientBound(longest=0.0, ratio=3.0)
    >>> [bound(length) for length in (1.0, 70.0)]
    [inf, 3.0]
    >>> bound.typical
    1.1
    """

    def __init__(self, longest: float, ratio: float) -> None:
        self.longest, self.ratio, self.typical = longest, ratio, 0.0

    def __call__(self, length: float) -> float:
        """The bound for a gradient of this norm, which then enters the average as clipped."""
        bound = self.longest or math.inf
        if self.ratio > 0 and self.typical > 0:
            bound = min(bound, self.ratio * self.typical)
        passed = min(length, bound)
        self.typical = 0.95 * self.typical + 0.05 * passed if self.typical > 0 else passed
        return bound
