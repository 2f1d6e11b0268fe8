"""What became of people's verdicts: on the way to the disk, on it, retracted; and which of them are learnt from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from heed.oversight.overseers.base import Verdict

KEPT = 10_000
"""Verdicts and keys that are remembered, so that retries are known and the latest can be retracted."""


@dataclass(frozen=True, eq=False)
class _Given:
    """A person's verdict.

    Args:
        key: of it.
        person: who gave it.
        label: key of the one that is learnt from, where several people judged.
        supporters: keys of those that say the same as that one, and are not retracted; shared by all of a proposal.
        row: its judgement's id; 0 until it is on disk.
    """

    key: str
    person: str
    label: str
    supporters: set[str]
    row: int = 0


class GivenVerdicts:
    """Remembers what people gave, and tells whose label a retraction takes away.

    Several people may judge one proposal, and one label is learnt from all of them. It goes only when nobody is left
    who supports it.

    >>> given, ada, bob = GivenVerdicts(), Verdict(True, person="ada", key="a"), Verdict(True, person="bob", key="b")
    >>> given.add(Verdict(True, person="ada", key="a", others=(bob,)))
    >>> given.written(ada, row=1); given.written(bob, row=2)
    >>> given.retracted(1), given.retracted(2)
    ([], ['a'])
    """

    def __init__(self) -> None:
        self._on_the_way: dict[str, _Given] = {}
        self._on_disk: deque[_Given] = deque(maxlen=KEPT)
        self._rows: dict[str, int] = {}
        self._glimpsed: dict[str, None] = {}

    def add(self, verdict: Verdict) -> None:
        """A verdict, with the others on the same proposal, is on its way to the disk."""
        same = [each for each in verdict.all if each.block == verdict.block]
        supporters = {each.key for each in same if each.is_label} or {verdict.key}
        for each in verdict.all:
            if each.key:
                self._on_the_way[each.key] = _Given(each.key, each.person, verdict.key, supporters)

    def written(self, verdict: Verdict, row: int) -> None:
        """It is on disk; what came without a key cannot be retracted by its person."""
        given = self._on_the_way.pop(verdict.key, None)
        if given is not None:
            self._rows[given.key] = row
            forget_oldest(self._rows)
            if verdict.glimpsed:
                self._glimpsed[given.key] = None
                forget_oldest(self._glimpsed)
            self._on_disk.append(_Given(given.key, given.person, given.label, given.supporters, row))

    def row_of(self, key: str) -> int | None:
        """The id of the judgement that an order became; None as long as it is not on disk."""
        return self._rows.get(key)

    def is_glimpsed(self, key: str) -> bool:
        """Whether it blocked what its person had hardly in view, so that nothing of that is learnt."""
        return key in self._glimpsed

    def awaits_disk(self, person: str) -> bool:
        """Whether something of a person's is not on disk yet."""
        return any(given.person == person for given in self._on_the_way.values())

    def last_row(self, person: str) -> int | None:
        """The id of a person's last judgement that is not retracted."""
        return next((given.row for given in reversed(self._on_disk) if given.person == person), None)

    def retracted(self, row: int) -> list[str]:
        """A judgement is retracted: the keys of the labels that nobody supports any more.

        What nobody gave in this run, or what passed in silence, changes nothing.
        """
        lost = []
        for given in [given for given in self._on_disk if given.row == row]:
            self._on_disk.remove(given)
            if given.key in given.supporters:
                given.supporters.remove(given.key)
                if not given.supporters:
                    lost.append(given.label)
        return lost


def forget_oldest(known: dict[str, object] | dict[str, int] | dict[str, None]) -> None:
    """Drop the oldest beyond what is kept."""
    while len(known) > KEPT:
        del known[next(iter(known))]
