"""Which proposals a block is about: whoever blocks by reaction means what was in view a reaction ago."""

from __future__ import annotations

from heed.errors import HeedError
from heed.oversight.control.records import LONGEST_REACTION, Order, ViewTimes


class Credit:
    """Knows what came into view when, and how fast each person reacts.

    Args:
        reaction: seconds, of people who did not measure theirs.
        glance: seconds, that nobody is faster than.

    Attributes:
        reactions: measured, by person, in seconds.

    >>> credit = Credit(reaction=0.25)
    >>> for number, when in ((1, 0.0), (2, 0.1), (3, 0.2), (4, 0.3)):
    ...     credit.begin(number, episode_begins=number == 1)
    ...     credit.came_into_view(number, when)
    >>> credit.since("ada", shown=4, number=4, now=0.4)
    2
    >>> credit.steps(4, since=2)
    2
    """

    def __init__(self, reaction: float, glance: float = 0.0) -> None:
        self.reactions: dict[str, float] = {}
        self._reaction, self._glance = reaction, glance
        self._view_times = ViewTimes()
        self._episode_start: int | None = None  # number of its first proposal

    def begin(self, number: int, episode_begins: bool) -> None:
        """A proposal comes, and an episode with it or not."""
        if episode_begins or self._episode_start is None:
            self._episode_start = number

    def came_into_view(self, number: int, when: float) -> None:
        """A page has rendered a proposal for the first time."""
        self._view_times.times.append((number, when))

    def measured(self, person: str, order: Order) -> None:
        """A person's reaction time, which the order holds.

        Raises:
            HeedError: it holds none, or one that is no reaction.
        """
        seconds = order.action[0] if isinstance(order.action, list) and order.action else None
        if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_REACTION:
            raise HeedError(f"a reaction time of {seconds} s", order.do, f"send one up to {LONGEST_REACTION} s")
        self.reactions[person] = float(seconds)

    def since(self, person: str, shown: int | None, number: int, now: float) -> int:
        """The first proposal that a block pressed now is about.

        Args:
            person: who pressed.
            shown: what their page showed; None if it did not say.
            number: of the proposal that is to be judged next.
            now: seconds.
        """
        meant = number if shown is None else min(shown, number)
        reaction = max(self.reactions.get(person, self._reaction), self._glance)
        seen = self._view_times.in_view(now - reaction)
        earliest = self._view_times.in_view(now - LONGEST_REACTION)
        since = meant if seen is None else min(meant, seen)
        return since if earliest is None else max(since, earliest)

    def steps(self, number: int, since: int) -> int:
        """Steps before this proposal, in the same episode, that a block is about as well."""
        return number - max(since, number if self._episode_start is None else self._episode_start)
