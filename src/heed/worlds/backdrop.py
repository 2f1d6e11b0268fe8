"""What stands still in a world, as plain shapes: reports draw it behind the states of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

Kind = Literal["hazard", "floor", "goal"]


@dataclass(frozen=True)
class Rectangle:
    """A rectangle with level sides.

    Args:
        kind: what it is, which gives its colour.
        left: x of its left side.
        top: y of its upper side.
        width: across.
        height: down.
    """

    kind: Kind
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Disc:
    """A disc.

    Args:
        kind: what it is, which gives its colour.
        x: of its centre.
        y: of its centre.
        radius: of it.
    """

    kind: Kind
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Backdrop:
    """A still picture of a world and where states lie in it; x goes right and y down, in any unit of length.

    Args:
        width: of the picture, which begins at (0, 0).
        height: of it.
        place: states [..., S] to their places [..., 2] in it.
        shapes: from the one at the back to the one in front.
        about: what one sees, for a caption; it ends in a full stop.
    """

    width: float
    height: float
    place: Callable[[NDArray[Any]], NDArray[Any]]
    shapes: tuple[Rectangle | Disc, ...]
    about: str
