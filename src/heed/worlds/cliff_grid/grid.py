"""Cliff grid's moves: where each action leads, and exactly from which states no action helps (docs/methods.md)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

LAYOUT = (
    "............",
    "............",
    ".....##.....",
    ".....##.....",
    "S...........",
    "S...........",
    "S.########.G",
)
"""``#`` is a cliff, ``G`` the goal, ``S`` where episodes start; beyond the edge is a cliff too."""
FASTEST = 2
PUSHES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""What each action adds to the velocity (rows, columns): coast, up, down, left, right."""
ACTIONS = ("coast", "up", "down", "left", "right")

State = tuple[int, int, int, int]
"""Row, column, and the velocity in each."""
_ROWS, _COLUMNS = len(LAYOUT), len(LAYOUT[0])


def is_catastrophe(state: State) -> bool:
    """Whether the walker has gone over a cliff or the edge."""
    return cell_at(state) == "#"


def is_doomed(state: State) -> bool:
    """Whether a catastrophe has happened, or every way on leads to one."""
    return cell_at(state) == "#" or (cell_at(state) != "G" and doomed_states()[state])


def observation(state: State) -> NDArray[np.float32]:
    """What the agent sees of a state, float32 [4].

    >>> observation((0, 11, -2, 1)).tolist()
    [-1.0, 1.0, -1.0, 0.5]
    """
    row, column, down, right = state
    place = (2 * row / (_ROWS - 1) - 1, 2 * column / (_COLUMNS - 1) - 1)
    return np.array([*place, down / FASTEST, right / FASTEST], np.float32)


def state_of(seen: ArrayLike) -> State:
    """The state behind an observation [4]; the inverse of `observation`.

    >>> state_of(observation((6, 0, 2, -1)))
    (6, 0, 2, -1)
    """
    row, column, down, right = (float(value) for value in np.asarray(seen))
    place = (round((row + 1) * (_ROWS - 1) / 2), round((column + 1) * (_COLUMNS - 1) / 2))
    return (*place, round(down * FASTEST), round(right * FASTEST))


def headed_for_doom(state: State) -> bool:
    """Whether going on as it does would take the walker over a cliff or into doom: where a person would step in.

    >>> headed_for_doom((4, 4, 1, 0)), headed_for_doom((4, 4, 0, 0))  # down to the cliff's edge at one cell a step
    (False, False)
    >>> headed_for_doom((5, 4, 1, 0)), headed_for_doom((5, 4, 0, 1))
    (True, False)
    """
    return is_doomed(transitions()[state][0] if state in transitions() else state)


def safest_action(state: State) -> int:
    """The action that leads out of doom if one does, and to the lowest speed among those.

    >>> ACTIONS[safest_action((5, 3, 0, 2))], ACTIONS[safest_action((5, 3, 1, 2))]
    ('left', 'up')
    """
    ends = transitions().get(state, ((*state[:2], 0, 0),))
    return min(range(len(ends)), key=lambda action: (is_doomed(ends[action]), _speed(ends[action])))


def safest_actions(observations: ArrayLike) -> NDArray[np.int64]:
    """The same of observations [..., 4]: whole numbers [...]. An observation between two states counts as the nearer.

    >>> ACTIONS[safest_actions(observation((5, 3, 0, 2)))]
    'left'
    """
    seen = np.asarray(observations, np.float64)
    rows = [safest_action(state_of(row)) for row in seen.reshape(-1, seen.shape[-1])]
    return np.array(rows, np.int64).reshape(seen.shape[:-1])


def at_goal(observations: ArrayLike) -> NDArray[np.bool_]:
    """Which observations [..., 4] are over the goal, bool [...].

    >>> at_goal([observation((6, 2, 0, 1)), [np.nan] * 4]).tolist(), at_goal(observation((6, 11, 0, 0))).item()
    ([False, False], True)
    """
    over, outside = _over(observations, "G")
    return np.asarray(over & ~outside)


def over_cliff(observations: ArrayLike) -> NDArray[np.bool_]:
    """Which observations [..., 4] are over a cliff or the edge, bool [...]; what is not finite is over too.

    >>> over_cliff([observation((6, 2, 0, 1)), observation((6, 11, 0, 0)), [np.nan] * 4]).tolist()
    [True, False, True]
    """
    over, outside = _over(observations, "#")
    return np.asarray(over | outside)


def doomed(observations: ArrayLike) -> NDArray[np.bool_]:
    """Which observations [..., 4] are of doomed states, bool [...].

    >>> doomed([observation((5, 4, 0, 1)), observation((5, 4, 2, 0))]).tolist()
    [False, True]
    """
    seen = np.asarray(observations, np.float64)
    rows = [is_doomed(state_of(row)) for row in seen.reshape(-1, seen.shape[-1])]
    return np.array(rows, bool).reshape(seen.shape[:-1])


def _over(observations: ArrayLike, kind: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which observations [..., 4] are over cells of a kind, and which beyond the edge, as what is no number is too."""
    seen = np.asarray(observations, np.float64)[..., :2]
    whole = np.where(np.isfinite(seen), np.clip(seen, -9.0, 9.0), 9.0)
    place = np.rint((whole + 1) * ((np.array([_ROWS, _COLUMNS]) - 1) / 2)).astype(np.int64)
    outside = ((place < 0) | (place >= (_ROWS, _COLUMNS))).any(-1)
    inside = np.clip(place, 0, (_ROWS - 1, _COLUMNS - 1))
    cells = np.array([[cell == kind for cell in row] for row in LAYOUT])
    return np.asarray(cells[inside[..., 0], inside[..., 1]]), np.asarray(outside)


@lru_cache(maxsize=1)
def doomed_states() -> dict[State, bool]:
    """For each state in which an episode can go on, whether every way on ends in a catastrophe.

    By dynamic programming: a state is doomed if each action leads to a catastrophe or to a doomed state; repeated from
    none until nothing is added. Waiting at rest is always possible, so the step limit plays no part.

    >>> doomed = doomed_states()
    >>> doomed[5, 4, 0, 1], doomed[5, 4, 1, 0], doomed[5, 4, 2, 0], doomed[3, 4, 2, 0]
    (False, False, True, False)
    """
    ways = transitions()
    doomed = dict.fromkeys(ways, False)
    while True:
        added = [
            state
            for state, ends in ways.items()
            if not doomed[state] and all(cell_at(end) == "#" or doomed.get(end, False) for end in ends)
        ]
        if not added:
            return doomed
        doomed.update(dict.fromkeys(added, True))


@lru_cache(maxsize=1)
def transitions() -> dict[State, tuple[State, ...]]:
    """For each state in which an episode can go on, where each action leads."""
    velocities = range(-FASTEST, FASTEST + 1)
    states = [
        (row, column, down, right)
        for row in range(_ROWS)
        for column in range(_COLUMNS)
        for down in velocities
        for right in velocities
        if LAYOUT[row][column] not in "#G"
    ]
    return {state: tuple(move(state, action) for action in range(len(PUSHES))) for state in states}


def move(state: State, action: int) -> State:
    """Where an action leads: the velocity changes, and the walker goes on until the first cliff or the goal.

    >>> move((4, 4, 1, 0), ACTIONS.index("down")), move((5, 4, 1, 0), ACTIONS.index("down"))  # the cliff is in row 6
    ((6, 4, 2, 0), (6, 4, 2, 0))
    """
    row, column = state[:2]
    down = max(-FASTEST, min(FASTEST, state[2] + PUSHES[action][0]))
    right = max(-FASTEST, min(FASTEST, state[3] + PUSHES[action][1]))
    cells = max(abs(down), abs(right))
    end = state[0], state[1], down, right
    for cell in range(1, cells + 1):
        end = row + _share(down, cell, cells), column + _share(right, cell, cells), down, right
        if cell_at(end) in "#G":
            break
    return end


def _share(way: int, cell: int, cells: int) -> int:
    """How far along one axis the walker is after ``cell`` of ``cells`` cells; halves away from zero."""
    return int(np.sign(way)) * ((2 * abs(way) * cell + cells) // (2 * cells))


def _speed(state: State) -> int:
    return abs(state[2]) + abs(state[3])


def cell_at(state: State) -> str:
    """The cell of `LAYOUT` that a state is over; beyond the edge it is a cliff."""
    row, column = state[:2]
    return LAYOUT[row][column] if 0 <= row < _ROWS and 0 <= column < _COLUMNS else "#"
