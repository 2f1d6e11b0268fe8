"""Who is handed what: each item is judged by as many different people as asked, and lies in one person's hands only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from heed.errors import HeedError

LEASE_S = 600.0
"""Seconds after which what lies in somebody's hands may be handed to another as well."""


class Assignment:
    """Hands items to people, and remembers who judged what.

    An item is handed out as long as it lacks judgements and as long as fewer people hold it than it lacks. Nobody is
    handed what they have judged. It has no threads, no disk and no network, and can be tested by value.

    Args:
        items: their names, in the order in which they are to be judged.
        times: how many different people judge each.
        lease_s: for how long a person holds an item before another may have it too, in seconds.
        clock: seconds, from anywhere.

    Raises:
        HeedError: fewer than one judgement each.

    >>> assignment = Assignment(["x", "y"])
    >>> assignment.next("ada"), assignment.next("bob"), assignment.next("ada"), assignment.next("eve")
    ('x', 'y', 'x', None)
    >>> assignment.judged("x", "ada")
    >>> assignment.next("ada"), assignment.why_nothing("ada"), (assignment.given, assignment.wanted)
    (None, 'others', (1, 2))
    """

    def __init__(
        self,
        items: Sequence[str],
        times: int = 1,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if times < 1:
            raise HeedError(f"nothing can be judged {times} times", "--times", "give 1 or more")
        self._times, self._lease_s, self._clock = times, lease_s, clock
        self._by: dict[str, set[str]] = {item: set() for item in items}
        self._hands: dict[
            str, tuple[str, float]
        ] = {}  # of each person: what they hold, and until when it is theirs alone
        self.given, self.wanted = 0, times * len(self._by)

    def has(self, item: str) -> bool:
        """Whether there is such an item."""
        return item in self._by

    def has_judged(self, person: str, item: str) -> bool:
        """Whether a person has judged an item, and not retracted it."""
        return person in self._by[item]

    @property
    def finished(self) -> bool:
        """Whether all that was wanted is given."""
        return self.given == self.wanted

    def next(self, person: str) -> str | None:
        """What a person is to judge now: what they hold, else the first that is free; None if there is nothing."""
        held = self._hands.get(person)
        if held is not None:
            return held[0]
        for item in self._by:
            if person not in self._by[item] and self._lacks(item):
                self.take(person, item)
                return item
        return None

    def _lacks(self, item: str) -> bool:
        now = self._clock()
        held = sum(held == item and now < until for held, until in self._hands.values())
        return len(self._by[item]) + held < self._times

    def take(self, person: str, item: str) -> None:
        """Lay an item into a person's hands; what they held before is free again."""
        self._hands[person] = item, self._clock() + self._lease_s

    def leave(self, person: str) -> None:
        """A person is gone: what they held is free again."""
        self._hands.pop(person, None)

    def judged(self, item: str, person: str) -> None:
        """A person has judged an item."""
        if person not in self._by[item]:
            self._by[item].add(person)
            self.given += len(self._by[item]) <= self._times
        if self._hands.get(person, ("",))[0] == item:
            self.leave(person)

    def retracted(self, item: str, person: str) -> None:
        """A person's judgement of an item is retracted."""
        if person in self._by[item]:
            self.given -= len(self._by[item]) <= self._times
            self._by[item].remove(person)

    def why_nothing(self, person: str) -> Literal["all", "mine", "others"]:
        """Why a person is handed nothing: all is judged; they judged all that is not; others hold the rest."""
        if self.finished:
            return "all"
        lacking = (by for by in self._by.values() if len(by) < self._times)
        return "mine" if all(person in by for by in lacking) else "others"
