"""What is said at the desk: how it stands, at what pace, what people order, and what becomes of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

LONGEST_REACTION = 2.0
"""Seconds: who takes longer has not reacted."""


class State(Enum):
    """What the desk does with the moment that lies on it."""

    WATCHING = "watching"
    """It passes when it has been in view for a while and nobody blocked it."""
    DECIDING = "deciding"
    """It waits for a verdict; where it was asked about and none comes in time, that is a block."""
    PAUSED = "paused"
    """It waits until the agent may go on."""
    TAKEN_OVER = "taken over"
    """A person acts in the agent's place."""
    DISCONNECTED = "disconnected"
    """Nobody sees it, so it waits."""


@dataclass(frozen=True)
class Pace:
    """How long things may take, in seconds.

    Args:
        rates: moments in a second, slowest first, among which a person chooses.
        rate: number of the one to begin with.
        patience: of an agent that asks; after it, silence is a block.
        heartbeat: silence of a page after which it counts as gone.
        idle: silence of all people while moments pass by themselves, after which the desk pauses.
        reaction: from a moment in view to the key that it made a person press, where nobody measured theirs.
    """

    rates: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    rate: int = 3
    patience: float = 10.0
    heartbeat: float = 2.0
    idle: float = 120.0
    reaction: float = 0.0


@dataclass(frozen=True)
class Order:
    """What a person's key or button says.

    Args:
        do: one of `heed.oversight.desk.ORDERS`.
        moment: number of the moment that was in view, where the order is about one.
        key: made by the page, so that a retry is the same order; "" where nothing is written down.
        action: for ``act``, in the environment's units; for ``react``, the person's reaction time in seconds.
    """

    do: str
    moment: int | None = None
    key: str = ""
    action: Any = None


@dataclass(frozen=True)
class Answer:
    """What became of a moment.

    Args:
        block: whether its action must not be executed.
        person: whose verdict it is; "" where nobody gave one, so that nothing is to be learnt.
        key: of the order that gave it; "" where it passed in silence.
        instead: what a person does in its place.
        since: number of the first moment that a block is about: one pressed by reaction was meant for what was in view
            before.
        seconds: from view to verdict.
        struck: what is in view is a catastrophe that the environment does not tell of.
        silent: nobody pressed a key for it.
        acted: the person did not judge the action, but acted in the agent's place.
        others: what other people said of the same moment.
    """

    block: bool
    person: str = ""
    key: str = ""
    instead: Any = None
    since: int | None = None
    seconds: float = 0.0
    struck: bool = False
    silent: bool = False
    acted: bool = False
    others: tuple[Answer, ...] = ()
