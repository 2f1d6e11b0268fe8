"""Cliff grid: a grid with momentum and cliffs; which states are doomed is known exactly (methods.md 5)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from heed.errors import HeedError

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
STEPS = 60
STEP_REWARD, GOAL_REWARD, CATASTROPHE_REWARD = -1.0, 20.0, -20.0
FASTEST = 2
PUSHES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""What each action adds to the velocity (rows, columns): coast, up, down, left, right."""
ACTIONS = ("coast", "up", "down", "left", "right")

State = tuple[int, int, int, int]
"""Row, column, and the velocity in each."""
_ROWS, _COLUMNS = len(LAYOUT), len(LAYOUT[0])


class CliffGridEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Walk along a cliff with momentum: each action changes the velocity by one, then the walker moves by it.

    It moves cell by cell along the straightest line, and the first cliff or goal on the way ends the episode. At the
    fastest, two cells a step, stopping takes one step and one cell more, so that a catastrophe can be settled before it
    happens.

    Observation: float32 [4], row and column scaled to [-1, 1] over the grid, and velocity over its largest. Action: 0
    to 4, see `ACTIONS`. Reward: -1 a step, 20 more at the goal, 20 less at a catastrophe; both end the episode, and so
    do 60 steps (truncated). ``info``: ``{"catastrophe": bool, "goal": bool}``.

    Args:
        render_mode: None or "rgb_array".

    Attributes:
        state: row, column, and the velocity in each, as integers; after a catastrophe the cliff's cell.

    Raises:
        HeedError: if the mode is unknown.

    >>> env = gym.make("heed/CliffGrid-v0")
    >>> _ = env.reset(options={"state": (6, 0, 0, 0)})
    >>> [env.step(4)[4]["catastrophe"] for _ in range(2)]  # right, and on
    [False, True]
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise HeedError(f"cannot render as {render_mode!r}", where="heed/CliffGrid-v0", fix="give rgb_array")
        self.render_mode = render_mode
        beyond = 1.0 + 2.0 / (np.array([_ROWS, _COLUMNS]) - 1)  # a catastrophe may end one cell beyond the edge
        bound = np.nextafter(np.array([*beyond, 1.0, 1.0], np.float32), np.float32(np.inf))
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = spaces.Discrete(len(PUSHES))
        self.state: State = (0, 0, 0, 0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start at rest on one of the starting cells, or in the state ``options["state"]``.

        Raises:
            HeedError: if the state asked for is none in which an episode can go on.
        """
        super().reset(seed=seed)
        self._steps = 0
        starts = [(row, column) for row in range(_ROWS) for column in range(_COLUMNS) if LAYOUT[row][column] == "S"]
        self.state = (*starts[int(self.np_random.integers(len(starts)))], 0, 0)
        if options and "state" in options:
            asked = tuple(options["state"])
            if asked not in _transitions():
                raise HeedError(f"no episode starts at {asked}", where='options["state"]', fix="give a free cell")
            self.state = asked
        return observation(self.state), {"catastrophe": False, "goal": False}

    def peek(self, action: SupportsInt) -> State:
        """The state to which an action would lead; nothing moves.

        Raises:
            HeedError: if there is no such action.
        """
        number = int(action)
        if number not in range(len(PUSHES)) or number != action:
            raise HeedError(f"there is no action {action}", where="heed/CliffGrid-v0", fix="give 0 to 4")
        return _move(self.state, number)

    def step(self, action: SupportsInt) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Change the velocity by one, and move by it.

        Raises:
            HeedError: if there is no such action.
        """
        self.state = self.peek(action)
        self._steps += 1
        catastrophe, goal = self.is_catastrophe(self.state), _cell(self.state) == "G"
        reward = STEP_REWARD + GOAL_REWARD * goal + CATASTROPHE_REWARD * catastrophe
        ended = catastrophe or goal
        info = {"catastrophe": catastrophe, "goal": goal}
        return observation(self.state), reward, ended, self._steps >= STEPS and not ended, info

    @staticmethod
    def is_catastrophe(state: State) -> bool:
        """Whether the walker has gone over a cliff or the edge."""
        return _cell(state) == "#"

    @staticmethod
    def is_doomed(state: State) -> bool:
        """Whether a catastrophe has happened, or every way on leads to one."""
        return _cell(state) == "#" or (_cell(state) != "G" and doomed_states()[state])

    def render(self) -> NDArray[np.uint8] | None:
        """The grid with the walker and its velocity, uint8 [rows x 32, columns x 32, 3], if the mode is "rgb_array"."""
        return draw(self.state) if self.render_mode == "rgb_array" else None


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
    return CliffGridEnv.is_doomed(_transitions()[state][0] if state in _transitions() else state)


def safest_action(state: State) -> int:
    """The action that leads out of doom if one does, and to the lowest speed among those.

    >>> ACTIONS[safest_action((5, 3, 0, 2))], ACTIONS[safest_action((5, 3, 1, 2))]
    ('left', 'up')
    """
    ends = _transitions().get(state, ((*state[:2], 0, 0),))
    return min(range(len(ends)), key=lambda action: (CliffGridEnv.is_doomed(ends[action]), _speed(ends[action])))


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
    return _over(observations, "G")


def ends(observations: ArrayLike) -> NDArray[np.bool_]:
    """Which observations [..., 4] are over a cliff, the edge or the goal, bool [...]; what is not finite is over too.

    >>> ends([observation((6, 2, 0, 1)), observation((6, 0, 0, 0)), [np.nan] * 4]).tolist()
    [True, False, True]
    """
    return _over(observations, "#G")


def _over(observations: ArrayLike, kinds: str) -> NDArray[np.bool_]:
    """Which observations [..., 4] are over cells of these kinds; beyond the edge is cliff, and so is no number."""
    seen = np.asarray(observations, np.float64)[..., :2]
    whole = np.where(np.isfinite(seen), np.clip(seen, -9.0, 9.0), 9.0)
    place = np.rint((whole + 1) * ((np.array([_ROWS, _COLUMNS]) - 1) / 2)).astype(np.int64)
    outside = ((place < 0) | (place >= (_ROWS, _COLUMNS))).any(-1)
    over = np.array([[cell in kinds for cell in row] for row in LAYOUT])
    inside = np.clip(place, 0, (_ROWS - 1, _COLUMNS - 1))
    found = over[inside[..., 0], inside[..., 1]]
    return np.asarray(outside | found if "#" in kinds else ~outside & found)


@lru_cache(maxsize=1)
def doomed_states() -> dict[State, bool]:
    """For each state in which an episode can go on, whether every way on ends in a catastrophe.

    By dynamic programming: a state is doomed if each action leads to a catastrophe or to a doomed state; repeated from
    none until nothing is added. Waiting at rest is always possible, so the step limit plays no part.

    >>> doomed = doomed_states()
    >>> doomed[5, 4, 0, 1], doomed[5, 4, 1, 0], doomed[5, 4, 2, 0], doomed[3, 4, 2, 0]
    (False, False, True, False)
    """
    ways = _transitions()
    doomed = dict.fromkeys(ways, False)
    while True:
        added = [
            state
            for state, ends in ways.items()
            if not doomed[state] and all(_cell(end) == "#" or doomed.get(end, False) for end in ends)
        ]
        if not added:
            return doomed
        doomed.update(dict.fromkeys(added, True))


@lru_cache(maxsize=1)
def _transitions() -> dict[State, tuple[State, ...]]:
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
    return {state: tuple(_move(state, action) for action in range(len(PUSHES))) for state in states}


def _move(state: State, action: int) -> State:
    row, column = state[:2]
    down = max(-FASTEST, min(FASTEST, state[2] + PUSHES[action][0]))
    right = max(-FASTEST, min(FASTEST, state[3] + PUSHES[action][1]))
    cells = max(abs(down), abs(right))
    end = state[0], state[1], down, right
    for cell in range(1, cells + 1):
        end = row + _share(down, cell, cells), column + _share(right, cell, cells), down, right
        if _cell(end) in "#G":
            break
    return end


def _share(way: int, cell: int, cells: int) -> int:
    """How far along one axis the walker is after ``cell`` of ``cells`` cells; halves away from zero."""
    return int(np.sign(way)) * ((2 * abs(way) * cell + cells) // (2 * cells))


def _speed(state: State) -> int:
    return abs(state[2]) + abs(state[3])


def _cell(state: State) -> str:
    row, column = state[:2]
    return LAYOUT[row][column] if 0 <= row < _ROWS and 0 <= column < _COLUMNS else "#"


_PIXELS = 32
_COLOURS = {".": (247, 246, 242), "S": (226, 230, 240), "#": (203, 75, 62), "G": (104, 168, 112)}
_WALKER = (38, 70, 120)


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
        radius = _PIXELS * (0.3 if share == 0 else 0.08)
        picture[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = _WALKER
    return picture
