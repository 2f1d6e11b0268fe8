"""What lies on the desk: a moment, who has drawn it, and what was said of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from heed.oversight.orders import Answer


@dataclass
class Laid:
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
class Passed:
    """When the latest moments came into view."""

    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=200))

    def in_view(self, when: float) -> int | None:
        """The moment that was in view then; None of none."""
        found = None
        for number, seen in self.times:
            if seen <= when:
                found = number
        return found
