"""What is said at the desk: how it stands, at what pace, what people order, and what becomes of a moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        do: one of `heed.oversight.control.desk.ORDERS`.
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


@dataclass
class DeskRecord:
    """A moment on the desk.

    Args:
        number: of it.
        asked: the agent is unsure and asks.
        since: when it was laid down, in seconds.
        forced: what becomes of it, whatever people say.
        said: by person, in the order in which they did.
        drawn: when, by the pages that are still there.
    """

    number: int
    asked: bool
    since: float
    forced: Answer | None = None
    said: dict[str, Answer] = field(default_factory=dict)
    drawn: dict[str, float] = field(default_factory=dict)

    @property
    def seen(self) -> float | None:
        """Since when it is in view; None where no page of somebody who may judge shows it."""
        return min(self.drawn.values(), default=None)

    def decided(self, votes: int) -> Answer | None:
        """What becomes of it by what was said so far, where so many people judge; None if that is not enough."""
        return self.forced or agreed(self.said, votes)


def agreed(said: Mapping[str, Answer], votes: int) -> Answer | None:
    """What becomes of a moment by what people said of it, if they are enough: one block is a block.

    >>> said = {"ada": Answer(False, "ada"), "bob": Answer(True, "bob")}
    >>> agreed(said, votes=2).person, agreed(said, votes=3)
    ('bob', None)
    """
    first = max(said.values(), key=lambda answer: (answer.acted, answer.block, bool(answer.key)), default=None)
    if first is None or (len(said) < votes and not first.acted):
        return None
    return replace(first, others=tuple(answer for answer in said.values() if answer is not first))


@dataclass
class ViewTimes:
    """When the latest moments came into view."""

    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=200))

    def in_view(self, when: float) -> int | None:
        """The moment that was in view then; None of none."""
        found = None
        for number, seen in self.times:
            if seen <= when:
                found = number
        return found
