"""How long the combined gradient of a step may be."""

from __future__ import annotations

import math


class GradientBound:
    """A gradient's greatest length: a number, or so many times what is typical, whichever is less.

    The objectives' units and the weighting set the length of the combined gradient, so that an absolute bound says
    little. What is typical is a moving average over some twenty steps of the lengths as they were let pass: a rare
    outlier hardly moves it, a lasting change of scale is followed.

    Args:
        longest: the absolute bound; 0 for none.
        ratio: the bound in typical lengths; 0 for none.

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
        """The bound for a gradient of this length, which is then counted."""
        bound = self.longest or math.inf
        if self.ratio > 0 and self.typical > 0:
            bound = min(bound, self.ratio * self.typical)
        passed = min(length, bound)
        self.typical = 0.95 * self.typical + 0.05 * passed if self.typical > 0 else passed
        return bound
