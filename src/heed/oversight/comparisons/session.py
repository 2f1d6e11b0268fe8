"""A session of comparing: which pair each person sees in which order, and their comparisons as judgements."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from heed.errors import HeedError
from heed.oversight.comparisons.assignment import LEASE_S, Assignment
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.store.store import Judgement

Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
BOTH_BAD = "both bad"
"""A tie of two completions of which neither is acceptable."""
VERDICTS = (*SIDES, "tie", BOTH_BAD, "skip")
GRADES = ("slightly", "much")
"""By how much one is better, where that is said beside the verdict."""
MOST_COMMENT = 500
"""Characters of a comment."""
MOST_OBJECTIVES = 9
"""As many as there are digits to choose them by."""


@dataclass(frozen=True)
class Comparison:
    """A person's verdicts on a pair as they saw it.

    Args:
        pair: its id.
        objectives: for each objective one of `VERDICTS`.
        unsafe: whether the ``left`` and the ``right`` one is unsafe.
        key: made by the page; a retry has the same.
        latency_ms: from showing to submitting, in milliseconds.
        grades: one of `GRADES` for some of the objectives whose verdict is left or right.
        comment: a line of words, or "".
    """

    pair: str
    objectives: Mapping[str, str]
    unsafe: Mapping[Side, bool]
    key: str
    latency_ms: float
    grades: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""


@dataclass(frozen=True)
class ActiveComparison:
    """A comparison that is on disk and not retracted: its row in the store, its key, its pair, and its verdict."""

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
    """Whether a judgement is of two texts, by objectives, as a session makes them."""
    shown, verdict = judgement.shown, judgement.verdict
    return (
        judgement.kind == "compare"
        and isinstance(shown, dict)
        and shown.keys() >= {"pair", "prompt", "left", "right", "swapped"}
        and isinstance(verdict, dict)
        and verdict.keys() >= {"objectives", "unsafe"}
    )


class ComparisonSession:
    """Pairs, who compares them, and the active comparisons so far. It writes nothing itself: see `heed.web.compare`.

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

    >>> session = ComparisonSession([Pair("p", "Cough?", ("Honey.", "Foxglove."))], ["harmless"])
    >>> seen = session.showing("ada")
    >>> sorted([seen["left"], seen["right"]])
    ['Foxglove.', 'Honey.']
    >>> given = Comparison("p", {"harmless": "left"}, {"left": False, "right": True}, key="k", latency_ms=900.0)
    >>> judgement = session.judgement("ada", given)
    >>> session.judged(judgement, row=1)
    >>> session.showing("ada"), session.progress("ada")
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
        self._given: dict[str, list[ActiveComparison]] = {}  # of each person, the latest last
        self._undone: dict[tuple[str, str], dict[str, Any]] = {}  # by person and pair: the verdict that was undone
        self._retracted: set[str] = set()

    def among(self, judgements: Iterable[Judgement]) -> list[Judgement]:
        """Those that this session asks for: comparisons of these very texts, by these objectives."""
        return [judgement for judgement in judgements if is_comparison(judgement) and self._is_asked(judgement)]

    def _is_asked(self, judgement: Judgement) -> bool:
        shown, pair = judgement.shown, self._pairs.get(judgement.shown["pair"])
        asked = set(judgement.verdict["objectives"]) == set(self.objectives)
        return asked and pair is not None and shown == self._shown(pair, shown["swapped"])

    def resume(self, judgements: Iterable[Judgement]) -> int:
        """Go on from the active judgements of a store (`heed.oversight.store.store.Store.effective`).

        Returns:
            How many of them this session asks for.
        """
        found = self.among(judgements)
        for judgement in found:
            if judgement.id is not None:
                self.judged(judgement, judgement.id)
        return len(found)

    def showing(self, person: str) -> dict[str, Any] | None:
        """The pair that a person is to see now; None if there is none (see `why_nothing`).

        Returns:
            ``pair`` (its id), ``prompt``, ``left``, ``right``, and ``before``: the verdict that they undid, else None.
        """
        held = self._assignment.next(person)
        if held is None:
            return None
        shown = self._shown(self._pairs[held], self._swapped(held, person))
        before = self._undone.get((person, held))
        return {name: shown[name] for name in ("pair", "prompt", "left", "right")} | {"before": before}

    def why_nothing(self, person: str) -> str:
        """Why a person sees no pair: "all" is judged, "mine" is (others still judge), or "others" hold the rest."""
        return self._assignment.why_nothing(person)

    def _swapped(self, pair: str, person: str) -> bool:
        """Whether the second completion is shown on the left; after a restart too: retries stay retries."""
        return random.Random(f"{self._seed}\n{pair}\n{person}").random() < 0.5

    @staticmethod
    def _shown(pair: Pair, swapped: bool) -> dict[str, Any]:
        left, right = reversed(pair.completions) if swapped else pair.completions
        return {"pair": pair.id, "prompt": pair.prompt, "left": left, "right": right, "swapped": swapped}

    def judgement(self, person: str, comparison: Comparison) -> Judgement:
        """A person's comparison as a judgement that is yet to be written: the only place where one is made of it.

        Raises:
            HeedError: no such pair, one that they have judged already, other objectives, an unknown verdict or
                grade, or a comment that is too long.
        """
        if not self._assignment.has(comparison.pair):
            raise HeedError(f"there is no pair '{comparison.pair}'", "compare", "load the page again")
        if comparison.key in self._retracted:
            raise HeedError("this comparison was retracted", "compare", "compare the pair anew")
        again = comparison.key in {given.key for given in self._given.get(person, ())}
        if self._assignment.has_judged(person, comparison.pair) and not again:
            raise HeedError("you have compared this pair already", "compare", "undo that first, with U")
        asked = set(comparison.objectives) == set(self.objectives)
        if not asked or not set(comparison.objectives.values()) <= set(VERDICTS):
            fix = f"say {', '.join(VERDICTS)} of {', '.join(self.objectives)}"
            raise HeedError("this is no comparison", "compare", fix)
        graded = {name for name, verdict in comparison.objectives.items() if verdict in SIDES}
        if not comparison.grades.keys() <= graded or not set(comparison.grades.values()) <= set(GRADES):
            fix = f"say {' or '.join(GRADES)} where the left or the right one is better"
            raise HeedError("this is no grade", "compare", fix)
        comment = " ".join(comparison.comment.split())
        if len(comment) > MOST_COMMENT:
            fix = f"write {MOST_COMMENT} characters at most"
            raise HeedError(f"a comment of {len(comment)} characters", "compare", fix)
        verdict: dict[str, Any] = {
            "objectives": {name: comparison.objectives[name] for name in self.objectives},
            "unsafe": {side: comparison.unsafe[side] for side in SIDES},
        }
        if comparison.grades:
            verdict["grades"] = {name: comparison.grades[name] for name in self.objectives if name in comparison.grades}
        if comment:
            verdict["comment"] = comment
        shown = self._shown(self._pairs[comparison.pair], self._swapped(comparison.pair, person))
        return Judgement(
            "compare", person, shown, verdict, self.run, latency_ms=comparison.latency_ms, key=comparison.key
        )

    def judged(self, judgement: Judgement, row: int) -> None:
        """A judgement is written; a second time changes nothing."""
        person, pair = judgement.person, judgement.shown["pair"]
        if not self._assignment.has_judged(person, pair):
            self._given.setdefault(person, []).append(ActiveComparison(row, judgement.key, pair, judgement.verdict))
            self._assignment.judged(pair, person)
            self._undone.pop((person, pair), None)

    def last(self, person: str) -> ActiveComparison:
        """A person's last active comparison.

        Raises:
            HeedError: there is none.
        """
        if not self._given.get(person):
            raise HeedError("there is nothing of yours to take back", "undo", "compare first")
        return self._given[person][-1]

    def undone(self, person: str, given: ActiveComparison) -> None:
        """A person retracted this comparison of theirs; they see its pair again."""
        self._given[person].remove(given)
        self._retracted.add(given.key)
        self._assignment.retracted(given.pair, person)
        self._assignment.take(person, given.pair)
        self._undone[person, given.pair] = given.verdict

    def retracted(self, row: int, person: str) -> None:
        """A person's comparison was retracted by its row, at another page: its pair is free again.

        What is no comparison of these pairs, or is retracted already, changes nothing.
        """
        for given in [given for given in self._given.get(person, ()) if given.row == row]:
            self._given[person].remove(given)
            self._retracted.add(given.key)
            self._assignment.retracted(given.pair, person)

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
