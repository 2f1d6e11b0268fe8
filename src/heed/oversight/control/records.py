"""Desk records: its states and its pace, what people order, and what is known of the proposal that lies on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from heed.oversight.overseers.base import Verdict

JUDGING = ("block", "allow", "catastrophe", "step", "hold", "take", "act")
"""Orders that are about what is in view: none of them is taken from a page that shows the past."""
STEPPED = "one step was taken"
"""Why a desk pauses that was to let one step pass."""
LONGEST_REACTION = 2.0
"""Seconds: who takes longer has not reacted."""


class State(Enum):
    """What the desk does with the proposal that lies on it."""

    WATCHING = "watching"
    """It passes when it has been in view for a while and nobody blocked it."""
    DECIDING = "deciding"
    """It waits for a verdict; where the agent asked and none comes in time, that is a block."""
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
        rates: proposals in a second, slowest first, among which a person chooses.
        rate: index of the one to begin with.
        patience: of an agent that asks; after it, silence is a block.
        heartbeat: silence of a page after which it counts as disconnected.
        idle: silence of all people while proposals pass by themselves, after which the desk pauses.
        reaction: from a proposal in view to the key that it made a person press, where nobody measured theirs.
        glance: in view, before which no key is about a proposal: people do not see, decide and press any faster. Such
            a block blocks, and is about what was in view before; such a leave is refused.
    """

    rates: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    rate: int = 3
    patience: float = 10.0
    heartbeat: float = 2.0
    idle: float = 120.0
    reaction: float = 0.0
    glance: float = 0.1


@dataclass(frozen=True)
class Order:
    """What a person's key or button orders.

    Args:
        do: one of `heed.oversight.control.desk.ORDERS`.
        proposal: number of the proposal that was in view, where the order is about one.
        key: made by the page, so that a retry is the same order; "" where nothing is written down.
        action: for ``act``, in the environment's units; for ``react``, the person's reaction time in seconds.
        reason: of a block, in the person's words.
        silent: of ``act``, that no key was down.
    """

    do: str
    proposal: int | None = None
    key: str = ""
    action: Any = None
    reason: str = ""
    silent: bool = False


@dataclass
class DeskRecord:
    """A proposal on the desk.

    Args:
        number: of it.
        asked: the agent is unsure and asks.
        since: when it came, in seconds.
        forced: the verdict on it, whatever people order.
        verdicts: by person, in the order in which they gave them.
        rendered: by the pages that still show it: for whom, and when.
        seen: when a page first showed it, whether any still does.
    """

    number: int
    asked: bool
    since: float
    forced: Verdict | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    rendered: dict[str, tuple[str, float]] = field(default_factory=dict)
    seen: float | None = None

    @property
    def in_view_since(self) -> float | None:
        """Since when it is in view; None where no page of somebody who may judge shows it."""
        return min((since for _, since in self.rendered.values()), default=None)

    def seen_by(self, person: str, now: float) -> float | None:
        """For how many seconds a person has had it in view; None where no page of theirs shows it."""
        return max((now - since for name, since in self.rendered.values() if name == person), default=None)

    def silent(self, now: float, after: float) -> dict[str, Verdict]:
        """By person, in the order in which they saw it, that they let it pass in silence for so many seconds."""
        found: dict[str, Verdict] = {}
        for person, since in sorted(self.rendered.values(), key=lambda seen: seen[1]):
            if person not in self.verdicts and now - since >= after:
                found.setdefault(person, Verdict(False, 1e3 * (now - since), person=person, silent=True))
        return found

    def left(self, now: float, patience: float) -> float | None:
        """Seconds until it is blocked by itself, where the agent asks; None where it does not."""
        return max(0.0, self.waits_since + patience - now) if self.asked else None

    @property
    def waits_since(self) -> float:
        """Since when whoever asks has waited for an answer: since it was first in view, or else since it came."""
        return self.since if self.seen is None else self.seen

    def times(self, passes: float, glance: float, patience: float) -> list[float]:
        """When time itself may change something, by seconds in view on each page and of waiting for an answer."""
        in_view = [since + seconds for _, since in self.rendered.values() for seconds in (passes, glance)]
        return [*in_view, self.waits_since + patience]

    def decided(self, votes: int) -> Verdict | None:
        """The verdict by what people gave so far, where so many judge; None if that is not enough."""
        return self.forced or agreed(self.verdicts, votes)


def agreed(verdicts: Mapping[str, Verdict], votes: int) -> Verdict | None:
    """The verdict on a proposal by each person's own, if they are enough: one block is a block.

    >>> verdicts = {"ada": Verdict(False, person="ada"), "bob": Verdict(True, person="bob")}
    >>> agreed(verdicts, votes=2).person, agreed(verdicts, votes=3)
    ('bob', None)
    """
    first = max(
        verdicts.values(),
        key=lambda given: given.rank,
        default=None,
    )
    if first is None or (len(verdicts) < votes and not first.acted):
        return None
    return replace(first, others=tuple(given for given in verdicts.values() if given is not first))


@dataclass
class Judging:
    """A page that is connected.

    Args:
        person: whose it is.
        judges: whether they may judge.
        heartbeat: when it was last heard of.
        holds: whether it blocks everything.
        looks_back: whether it shows the past, so that nothing that is proposed is in view on it.
        since: number of the first proposal that it showed after that: no block there is about an earlier one.
    """

    person: str
    judges: bool
    heartbeat: float
    holds: bool = False
    looks_back: bool = False
    since: int | None = 0

    @property
    def sees(self) -> bool:
        """Whether what it renders is in view of somebody who may judge."""
        return self.judges and not self.looks_back


@dataclass(frozen=True)
class Owed:
    """A block that came between two proposals, and the number of the first one that it is about."""

    verdict: Verdict
    since: int


@dataclass
class ViewTimes:
    """When the latest proposals came into view."""

    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=200))

    def in_view(self, when: float) -> int | None:
        """Number of the proposal that was in view then; None of none."""
        number = None
        for shown, since in self.times:
            if since <= when:
                number = shown
        return number
