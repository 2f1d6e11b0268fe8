"""What is known of cliff grid: exactly which states are doomed, and the action that leads out where one does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.worlds.backdrop import Backdrop, Kind, Rectangle
from heed.worlds.cliff_grid.grid import (
    ACTIONS,
    LAYOUT,
    at_goal,
    doomed,
    headed_for_doom,
    observation,
    over_cliff,
    safest_actions,
    state_of,
)
from heed.worlds.cliff_grid.picture import move_in_frame
from heed.worlds.oracle import Oracle, reported

_ROWS, _COLUMNS = len(LAYOUT), len(LAYOUT[0])
_KINDS: dict[str, Kind] = {"#": "hazard", "G": "goal"}


def place(states: NDArray[Any]) -> NDArray[Any]:
    """Where observations [..., 4] are in the backdrop, [..., 2], in cells; cells are centred half a cell further in.

    >>> place(observation((0, 11, 0, 0))).tolist()
    [12.0, 1.0]
    """
    down, right = ((states[..., axis] + 1) / 2 * (count - 1) for axis, count in ((0, _ROWS), (1, _COLUMNS)))
    return np.stack([right + 1, down + 1], axis=-1)


ORACLE = Oracle(
    about="a walker with momentum on a grid; cliffs and the edge are catastrophes",
    catastrophe=reported,
    danger=lambda seen, _info: headed_for_doom(state_of(seen)),
    safe_action=safest_actions,
    is_catastrophe=over_cliff,
    is_doomed=doomed,
    at_goal=at_goal,
    peek=lambda env, action: observation(env.peek(action)),
    label_keys=(0, 1),
    variable_names=("row", "column", "row velocity", "column velocity"),
    action_names=ACTIONS,
    keys={f"arrow{name}": (name, number) for number, name in enumerate(ACTIONS) if name != "coast"},
    action_in_frame=move_in_frame,
    backdrop=Backdrop(
        width=_COLUMNS + 1,
        height=_ROWS + 1,
        place=place,
        shapes=(
            Rectangle("hazard", 0, 0, _COLUMNS + 1, _ROWS + 1),
            *(
                Rectangle(_KINDS.get(cell, "floor"), column + 0.5, row + 0.5, 1, 1)
                for row, cells in enumerate(LAYOUT)
                for column, cell in enumerate(cells)
            ),
        ),
        about="The grid from above: cliffs and the edge are red, the goal is green.",
    ),
)
