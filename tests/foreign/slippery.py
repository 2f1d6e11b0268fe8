"""What floors have in common on which one slips: moves, slips, and an overseer who minds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from heed.oversight import Proposal, Scope, Verdict

MOVES = np.array([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)])
"""Of each choice, along (x, y): stay, up, down, right, left."""


def slipped(move: Any, chance: float, slips: float) -> Any:
    """The move [2] that is made: to one of its sides where chance, in [0, 1), is below ``slips``.

    >>> [slipped(MOVES[1], chance, 0.5).tolist() for chance in (0.2, 0.4, 0.6)]
    [[1, 0], [-1, 0], [0, 1]]
    """
    return move if chance >= slips else move[::-1] * (1 if chance < slips / 2 else -1)


def stay(observations: Any) -> Any:
    """Choices [...] that stay where one is."""
    return np.zeros(np.shape(observations)[:-1], np.int64)


class Careful:
    """Blocks each move that may end in a catastrophe if one slips.

    Args:
        env: whose moves are proposed; it has a ``place``.
        ends_badly: whether a move [2] from a place [2] does.
    """

    name = "in-time"
    scope = Scope(needs_env=True, scripted=True)

    def __init__(self, env: Any, ends_badly: Callable[[Any, Any], bool]) -> None:
        self._real, self._ends_badly = env.unwrapped, ends_badly

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the cell ahead or one to its sides is a catastrophe."""
        move = MOVES[proposal.action]
        ways = (move, move[::-1], -move[::-1]) if move.any() else ()
        return Verdict(any(self._ends_badly(self._real.place, way) for way in ways))

    def reset(self, seed: int) -> None:
        """Nothing to forget."""
