"""Comparing in progress: which pair each person sees in which order, and what they said of it, as judgements."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heed.errors import HeedError
from heed.oversight.comparisons.assignment import LEASE_S, Assignment
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.store.store import Judgement

VERDICTS = ("left", "right", "tie", "skip")
MOST_OBJECTIVES = 9
"""As many as there are digits to choose them by."""


@dataclass(frozen=True)
class Said:
    """What a person says of a pair as they saw it.

    Args:
        pair: its id.
        objectives: for each objective one of `VERDICTS`.
        unsafe: whether the ``left`` and the ``right`` one is unsafe.
        key: made by the page; a retry has the same.
        latency_ms: from seeing to saying, in milliseconds.
    """

    pair: str
    objectives: Mapping[str, str]
    unsafe: Mapping[str, bool]
    key: str
    latency_ms: float


@dataclass(frozen=True)
class Given:
    """A comparison that stands: its row in the store, its key, its pair, and what was said."""

    row: int
    key: str
    pair: str
    verdict: dict[str, Any]


def require_objectives(objectives: Sequence[str]) -> None:
    """Refuse objectives that a page cannot ask for.

    Raises:
        HeedError: none, too many, one twice, or one without a short name.
    """
    few = 0 < len(objectives) <= MOST_OBJECTIVES
    if not few or len(set(objectives)) < len(objectives) or not all(0 < len(name) <= 64 for name in objectives):
        fix = f"give 1 to {MOST_OBJECTIVES} different, short names with commas between"
        raise HeedError(f"'{','.join(objectives)}' cannot be the objectives"[:200], "--objectives", fix)


def is_comparison(judgement: Judgement) -> bool:
    """Whether a judgement was given as here: of two texts, by objectives."""
    shown, verdict = judgement.shown, judgement.verdict
    return (
        judgement.kind == "compare"
        and isinstance(shown, dict)
        and shown.keys() >= {"pair", "prompt", "left", "right", "swapped"}
        and isinstance(verdict, dict)
        and verdict.keys() >= {"objectives", "unsafe"}
    )


class Comparing:
    """Pairs, who compares them, and what stands so far. It writes nothing itself: see `heed.web.compare`.

    Args:
        pairs: in the order in which they are to be judged (`heed.oversight.comparisons.pairs.in_order`).
        objectives: what is asked of each pair.
        times: how many different people judge each.
        seed: of the sides on which the completions are shown. A person sees a pair the same way round each time.
        run: what judgements are filed under.
        lease_s: for how long a pair is in one person's hands only.
        clock: seconds, from anywhere.

    Raises:
        HeedError: as `require_objectives` says.

    >>> comparing = Comparing([Pair("p", "Cough?", ("Honey.", "Foxglove."))], ["harmless"])
    >>> seen = comparing.showing("ada")
    >>> sorted([seen["left"], seen["right"]])
    ['Foxglove.', 'Honey.']
    >>> said = Said("p", {"harmless": "left"}, {"left": False, "right": True}, key="k", latency_ms=900.0)
    >>> judgement = comparing.judgement("ada", said)
    >>> comparing.judged(judgement, row=1)
    >>> comparing.showing("ada"), comparing.progress("ada")
    (None, {'mine': 1, 'given': 1, 'wanted': 1})
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        objectives: Sequence[str],
        times: int = 1,
        seed: int = 0,
        run: str = "",
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_objectives(objectives)
        self.objectives, self.run = list(objectives), run
        self._pairs, self._seed = {pair.id: pair for pair in pairs}, seed
        self._assignment = Assignment(list(self._pairs), times, lease_s, clock)
        self._given: dict[str, list[Given]] = {}  # of each person, the latest last
        self._before: dict[str, Given] = {}  # of each person: what they took back and see again
        self._retracted: set[str] = set()

    def among(self, judgements: Iterable[Judgement]) -> list[Judgement]:
        """Those that answer what is asked here: comparisons of these very texts, by these objectives."""
        return [judgement for judgement in judgements if is_comparison(judgement) and self._answers(judgement)]

    def _answers(self, judgement: Judgement) -> bool:
        shown, pair = judgement.shown, self._pairs.get(judgement.shown["pair"])
        asked = set(judgement.verdict["objectives"]) == set(self.objectives)
        return asked and pair is not None and shown == self._shown(pair, shown["swapped"])

    def resume(self, judgements: Iterable[Judgement]) -> int:
        """Go on from what stands in a store (`heed.oversight.store.store.Store.effective`).

        Returns:
            How many of them answer what is asked here.
        """
        found = self.among(judgements)
        for judgement in found:
            if judgement.id is not None:
                self.judged(judgement, judgement.id)
        return len(found)

    def showing(self, person: str) -> dict[str, Any] | None:
        """The pair that a person is to see now; None if there is none (see `nothing`).

        Returns:
            ``pair`` (its id), ``prompt``, ``left``, ``right``, and ``before``: what they said and took back, else None.
        """
        held = self._assignment.next(person)
        if held is None:
            return None
        shown = self._shown(self._pairs[held], self._swapped(held, person))
        before = self._before.get(person)
        said = before.verdict if before is not None and before.pair == held else None
        return {name: shown[name] for name in ("pair", "prompt", "left", "right")} | {"before": said}

    def nothing(self, person: str) -> str:
        """Why a person sees no pair: "all" is judged, "mine" is (others still judge), or "others" hold the rest."""
        return self._assignment.why_nothing(person)

    def _swapped(self, pair: str, person: str) -> bool:
        """Whether the second completion is shown on the left; after a restart too: retries stay retries."""
        return random.Random(f"{self._seed}\n{pair}\n{person}").random() < 0.5

    @staticmethod
    def _shown(pair: Pair, swapped: bool) -> dict[str, Any]:
        left, right = reversed(pair.completions) if swapped else pair.completions
        return {"pair": pair.id, "prompt": pair.prompt, "left": left, "right": right, "swapped": swapped}

    def judgement(self, person: str, said: Said) -> Judgement:
        """What a person said, as a judgement that is yet to be written.

        Raises:
            HeedError: no such pair, one that they have judged already, other objectives, or an unknown verdict.
        """
        if not self._assignment.has(said.pair):
            raise HeedError(f"there is no pair '{said.pair}'", "compare", "load the page again")
        if said.key in self._retracted:
            raise HeedError("this comparison was taken back", "compare", "compare the pair anew")
        again = said.key in {given.key for given in self._given.get(person, ())}
        if self._assignment.has_judged(person, said.pair) and not again:
            raise HeedError("you have compared this pair already", "compare", "take that back first, with U")
        if set(said.objectives) != set(self.objectives) or not set(said.objectives.values()) <= set(VERDICTS):
            fix = f"say {', '.join(VERDICTS)} of {', '.join(self.objectives)}"
            raise HeedError("this is no comparison", "compare", fix)
        verdict = {
            "objectives": {name: said.objectives[name] for name in self.objectives},
            "unsafe": {side: said.unsafe[side] for side in ("left", "right")},
        }
        shown = self._shown(self._pairs[said.pair], self._swapped(said.pair, person))
        return Judgement("compare", person, shown, verdict, self.run, latency_ms=said.latency_ms, key=said.key)

    def judged(self, judgement: Judgement, row: int) -> None:
        """A judgement is written; a second time changes nothing."""
        person, pair = judgement.person, judgement.shown["pair"]
        if not self._assignment.has_judged(person, pair):
            self._given.setdefault(person, []).append(Given(row, judgement.key, pair, judgement.verdict))
            self._assignment.judged(pair, person)
            self._before.pop(person, None)

    def last(self, person: str) -> Given:
        """A person's last comparison that stands.

        Raises:
            HeedError: there is none.
        """
        if not self._given.get(person):
            raise HeedError("there is nothing of yours to take back", "undo", "compare first")
        return self._given[person][-1]

    def taken_back(self, person: str, given: Given) -> None:
        """A person's comparison stands no longer; they see its pair again."""
        self._given[person].remove(given)
        self._retracted.add(given.key)
        self._assignment.taken_back(given.pair, person)
        self._assignment.take(person, given.pair)
        self._before[person] = given

    def retracted(self, row: int, person: str) -> None:
        """A person's comparison was taken back by its row, at another page: its pair is free again.

        What is no comparison of these pairs, or stands no longer, changes nothing.
        """
        for given in [given for given in self._given.get(person, ()) if given.row == row]:
            self._given[person].remove(given)
            self._retracted.add(given.key)
            self._assignment.taken_back(given.pair, person)

    def leave(self, person: str) -> None:
        """A person is gone: the pair in their hands is free."""
        self._assignment.leave(person)

    def progress(self, person: str) -> dict[str, int]:
        """How many a person gave, how many all gave of those wanted, and how many are wanted."""
        mine = len(self._given.get(person, ()))
        return {"mine": mine, "given": self._assignment.given, "wanted": self._assignment.wanted}

    @property
    def finished(self) -> bool:
        """Whether each pair is judged as often as asked."""
        return self._assignment.finished
