"""What a world draws of a proposed action onto its picture: arrows and flames, in shares of the picture."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[float, float]
"""Shares of the picture's width and height, from its upper left corner; (0.5, 0.5) is its middle."""


@dataclass(frozen=True)
class Arrow:
    """A push, or a move: it begins at what is pushed, and points where that is pushed to.

    Args:
        start: at what is pushed, best at its edge, so that it is not hidden.
        end: the arrow's tip.

    >>> Arrow(start=(0.5, 0.75), end=(0.6, 0.75)).end
    (0.6, 0.75)
    """

    start: Place
    end: Place


@dataclass(frozen=True)
class Flame:
    """An engine that burns: it pushes the other way.

    Args:
        start: the nozzle.
        end: the flame's tip.

    >>> Flame(start=(0.5, 0.5), end=(0.5, 0.6)).start
    (0.5, 0.5)
    """

    start: Place
    end: Place


Shape = Arrow | Flame


def arrow(size: Place, start: Place, push: Place, rim: float = 0.0) -> list[Shape]:
    """An arrow along a push, from the rim of a disc on; none where nothing pushes.

    Args:
        size: the picture's width and height, in any unit of length; the others are in the same.
        start: the disc's centre, from the picture's upper left corner.
        push: how far the arrow goes, to the right and down.
        rim: the disc's radius.

    >>> arrow((8.0, 4.0), start=(4.0, 2.0), push=(0.0, 1.0), rim=0.5)
    [Arrow(start=(0.5, 0.625), end=(0.5, 0.875))]
    >>> arrow((8.0, 4.0), start=(4.0, 2.0), push=(0.0, 0.0))
    []
    """
    length = (push[0] ** 2 + push[1] ** 2) ** 0.5
    if not length > 0:
        return []
    x, y = (place + rim * way / length for place, way in zip(start, push, strict=True))
    return [Arrow(share(size, x, y), share(size, x + push[0], y + push[1]))]


def share(size: Place, x: float, y: float) -> Place:
    """A place in a picture of this size as shares of it.

    >>> share((600.0, 400.0), 300.0, 100.0)
    (0.5, 0.25)
    """
    return round(x / size[0], 6), round(y / size[1], 6)
