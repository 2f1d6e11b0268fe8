"""Numbers that settings may be, as a table beside each dataclass of settings: what is beyond is refused in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heed.errors import HeedError, flag_of


@dataclass(frozen=True)
class Bounds:
    """From which number to which a setting may be.

    Args:
        least: the smallest.
        most: the largest.
        open_below: the smallest itself is not allowed.
        open_above: nor is the largest.

    >>> print(Bounds(0, 1, open_below=True)), print(Bounds(1)), print(Bounds(most=0))
    a number above 0 and at most 1
    at least 1
    at most 0
    (None, None, None)
    """

    least: float = -math.inf
    most: float = math.inf
    open_below: bool = False
    open_above: bool = False

    def allow(self, value: float) -> bool:
        """Whether a number is within; what is not finite never is."""
        above = value > self.least if self.open_below else value >= self.least
        below = value < self.most if self.open_above else value <= self.most
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        low = f"{'above' if self.open_below else 'at least'} {_text(self.least)}" if math.isfinite(self.least) else ""
        high = f"{'below' if self.open_above else 'at most'} {_text(self.most)}" if math.isfinite(self.most) else ""
        text = " and ".join(part for part in (low, high) if part) or "a finite number"
        return f"a number {text}" if self.open_below or (not low and self.open_above) else text


WHOLE, COUNT = Bounds(0), Bounds(1)
"""Of things that may be none, and of things of which there is one at least."""
SHARE, PART = Bounds(0, 1), Bounds(0, 1, open_below=True)
"""From nothing to all, and the same but for nothing."""
POSITIVE, PRICE, ANY = Bounds(0, open_below=True), Bounds(most=0), Bounds()
"""More than nothing; what is paid; any finite number."""


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def check_bounds(settings: Any, bounds: Mapping[str, Bounds]) -> None:
    """Refuse the first setting of a dataclass that is beyond its bounds; what is None is not set.

    Args:
        settings: the dataclass.
        bounds: by the names of its fields.

    Raises:
        HeedError: names the option and what it may be.

    >>> check_bounds(Bounds(most=-3), {"most": COUNT})
    Traceback (most recent call last):
    ...
    heed.errors.HeedError: most is -3 (--most): give at least 1
    """
    for name, allowed in bounds.items():
        value = getattr(settings, name)
        if value is not None and not allowed.allow(value):
            raise HeedError(f"{name} is {_text(value)}", flag_of(name), f"give {allowed}")
