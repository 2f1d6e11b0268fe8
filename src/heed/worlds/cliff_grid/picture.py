"""A picture of cliff grid, drawn with numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heed.worlds.cliff_grid.grid import LAYOUT, PUSHES, State, state_of
from heed.worlds.overlay import Shape, arrow

_PIXELS = 32
_COLOURS = {".": (247, 246, 242), "S": (226, 230, 240), "#": (203, 75, 62), "G": (104, 168, 112)}
_WALKER = (38, 70, 120)
_RIM = 0.3  # of the walker, in cells


def draw(state: State) -> NDArray[np.uint8]:
    """The grid, the walker as a disc, and its velocity as a line to where coasting leads.

    >>> draw((6, 0, 0, 0))[16, 16].tolist(), draw((0, 0, 0, 0))[16, 16].tolist()
    ([247, 246, 242], [38, 70, 120])
    """
    cells = np.array([[_COLOURS[cell] for cell in row] for row in LAYOUT], np.uint8)
    picture = cells.repeat(_PIXELS, axis=0).repeat(_PIXELS, axis=1)
    picture[::_PIXELS] = picture[:, ::_PIXELS] = (215, 214, 208)
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    for share in np.linspace(0.0, 1.0, 1 + _PIXELS):
        row = (state[0] + share * state[2] + 0.5) * _PIXELS
        column = (state[1] + share * state[3] + 0.5) * _PIXELS
        radius = _PIXELS * (_RIM if share == 0 else 0.08)
        picture[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = _WALKER
    return picture


def move_in_frame(_env: Any, observation: ArrayLike, action: int) -> list[Shape]:
    """What an action adds to the velocity as an arrow at the walker, a cell long; coasting adds nothing.

    >>> from heed.worlds.cliff_grid.grid import ACTIONS, observation
    >>> move_in_frame(None, observation((0, 0, 0, 0)), ACTIONS.index("right"))  # of 12 cells from 0.8 to 1.8
    [Arrow(start=(0.066667, 0.071429), end=(0.15, 0.071429))]
    """
    row, column, _, _ = state_of(observation)
    down, right = PUSHES[int(action)]
    return arrow((len(LAYOUT[0]), len(LAYOUT)), (column + 0.5, row + 0.5), (right, down), _RIM)
