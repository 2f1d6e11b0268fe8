"""How far people agree who judged the same thing, and how fast and how steady each of them is."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score

from heed.oversight.comparisons.session import BOTH_BAD, is_comparison
from heed.oversight.store.export import spoken
from heed.oversight.store.store import MARK, Judgement

MOST_PEOPLE = 20
"""People whose pairs are listed, those with the most answers: 190 pairs of each question at most."""
BLOCKS = "block"
"""What the question is called that blocks answer; the others are objectives."""
VALUES = ("first", "second", "tie", "let pass", "block")


@dataclass(frozen=True)
class Kappa:
    """Two people who answered one question of the same units.

    Args:
        one: a person.
        other: another.
        units: how many both judged.
        agree: the share of them with the same answer.
        kappa: Cohen's kappa (1960): 1 is agreement, 0 what chance would give. None where both always gave one and
            the same answer, as chance alone would then agree.
    """

    one: str
    other: str
    units: int
    agree: float
    kappa: float | None


@dataclass(frozen=True)
class Agreement:
    """All people's answers to one question.

    Args:
        question: an objective, or `BLOCKS`.
        kind: "compare" or "block".
        answers: how many there are, one of each person for each unit.
        units: how many were judged by at least two people.
        alpha: Krippendorff's alpha, nominal (2011): 1 is agreement, 0 what chance would give. None where no unit was
            judged twice, or where all answers are the same.
        pairs: of people with a unit in common, by name.
    """

    question: str
    kind: str
    answers: int
    units: int
    alpha: float | None
    pairs: list[Kappa]


@dataclass(frozen=True)
class Habits:
    """How fast and how steady a person is.

    Args:
        person: who.
        judgements: how many they gave.
        spoken: how many of them were given by a key: not in silence, nor acted in the agent's place. Each step of a
            held block counts as one.
        median_ms: of those, from showing to answering; None if there are none.
        p90_ms: nine of ten were faster; None if there are none.
        repeats: pairs of answers that they gave to the same question of the same unit.
        steady: the share of these pairs that say the same; None if there are none.
        majorities: answers of theirs where the others who judged the unit have one opinion that most of them share.
        with_majority: the share of these answers that say so too; None if there are none.
    """

    person: str
    judgements: int
    spoken: int
    median_ms: float | None
    p90_ms: float | None
    repeats: int
    steady: float | None
    majorities: int
    with_majority: float | None


@dataclass(frozen=True)
class Agreements:
    """Agreement and habits.

    Args:
        questions: objectives by name, then blocks.
        people: those with the most judgements first.
    """

    questions: list[Agreement]
    people: list[Habits]


def agreements(judgements: Iterable[Judgement]) -> Agreements:
    """How far people agree, question by question, and how each of them judges.

    A unit of a comparison is its prompt with its two completions, whichever was on the left; a skip is no answer, both
    bad is a tie, and by how much one is better is not asked. A unit of a block is a step of an episode of a run; what
    passed in silence, or was acted in the agent's place, is no answer. Where a person judged a unit again, the latest
    counts.

    Args:
        judgements: that stand, oldest first. They are passed over once, and not kept: 20 bytes an answer are.

    >>> shown = {"pair": "p", "prompt": "Cough?", "left": "Honey.", "right": "Foxglove.", "swapped": False}
    >>> turned = shown | {"left": "Foxglove.", "right": "Honey.", "swapped": True}
    >>> unsafe = {"left": False, "right": False}
    >>> given = [Judgement("compare", "ada", shown, {"objectives": {"help": "left"}, "unsafe": unsafe}),
    ...          Judgement("compare", "bob", turned, {"objectives": {"help": "right"}, "unsafe": unsafe})]
    >>> found = agreements(given)
    >>> found.questions[0].pairs  # both prefer honey, and never gave another answer
    [Kappa(one='ada', other='bob', units=1, agree=1.0, kappa=None)]
    >>> found.people[0].with_majority
    1.0
    """
    tables: dict[tuple[str, str], _Table] = {}
    people: dict[str, int] = {}
    counts: list[int] = []
    times: list[array[float]] = []
    for judgement in judgements:
        if judgement.kind == MARK:
            continue
        person = people.setdefault(judgement.person, len(people))
        if person == len(counts):
            counts.append(0)
            times.append(array("d"))
        counts[person] += 1
        if spoken(judgement):
            times[person].append(judgement.latency_ms)
        for question, unit, value in _answers(judgement):
            tables.setdefault((judgement.kind, question), _Table()).add(unit, person, VALUES.index(value))
    names = list(people)
    by_objective = sorted(tables.items(), key=lambda item: (item[0][0] == "block", item[0][1]))
    counted = [(kind, question, _Counted(table, len(names))) for (kind, question), table in by_objective]
    questions = [_agreement(kind, question, answers, names) for kind, question, answers in counted]
    steadiness = [_total(answers.repeats(person) for _, _, answers in counted) for person in range(len(names))]
    majorities = [_total(answers.majorities(person) for _, _, answers in counted) for person in range(len(names))]
    habits = [
        Habits(
            name,
            counts[person],
            len(times[person]),
            *_speed(times[person]),
            steadiness[person][0],
            _share(*steadiness[person]),
            majorities[person][0],
            _share(*majorities[person]),
        )
        for person, name in enumerate(names)
    ]
    return Agreements(questions, sorted(habits, key=lambda each: (-each.judgements, each.person)))


def _answers(judgement: Judgement) -> Iterator[tuple[str, int, str]]:
    """Question, unit and value of each answer in a judgement."""
    shown, verdict = judgement.shown, judgement.verdict
    if is_comparison(judgement):
        texts = (shown["left"], shown["right"])
        unit = _number([shown["prompt"], *(reversed(texts) if shown["swapped"] else texts)])
        sides = ("second", "first") if shown["swapped"] else ("first", "second")
        values = {"left": sides[0], "right": sides[1], "tie": "tie", BOTH_BAD: "tie"}
        for objective, answer in verdict["objectives"].items():
            if answer in values:
                yield objective, unit, values[answer]
    elif judgement.kind == "block" and isinstance(shown, dict) and isinstance(verdict, dict):
        place = [judgement.run, shown.get("episode"), shown.get("step")]
        if None not in place and spoken(judgement):
            yield BLOCKS, _number(place), "block" if verdict.get("block") else "let pass"


def _number(unit: Any) -> int:
    """A number for a unit: 64 bits of a digest; of a million units two share one with a probability below 1e-7."""
    digest = hashlib.blake2b(json.dumps(unit).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass
class _Table:
    """Answers to one question, as columns, in the order in which they were given."""

    units: array[int] = field(default_factory=lambda: array("q"))
    people: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("b"))

    def add(self, unit: int, person: int, value: int) -> None:
        self.units.append(unit)
        self.people.append(person)
        self.values.append(value)


class _Counted:
    """The same, counted: each person's latest answer about each unit, and how often each value was given.

    Args:
        table: all answers.
        people: how many there are.

    Attributes:
        units: the unit of each latest answer, by unit and then person, [A].
        people: the person of each, [A].
        values: their answers, [A].
        counts: of how many people each unit has each value, [N, V].
    """

    def __init__(self, table: _Table, people: int) -> None:
        units, by, values = (np.array(column, np.int64) for column in (table.units, table.people, table.values))
        places = np.unique(units, return_inverse=True)[1]
        seats = places * people + by  # a person before a unit
        taken, last = np.unique(seats[::-1], return_index=True)
        self.units, self.people, self.values = taken // people, taken % people, values[::-1][last]
        self.counts = np.zeros((places.max() + 1, len(VALUES)), np.int64)
        np.add.at(self.counts, (self.units, self.values), 1)
        self._again = np.zeros((len(taken), len(VALUES)), np.int64)
        np.add.at(self._again, (np.searchsorted(taken, seats), values), 1)

    def repeats(self, person: int) -> tuple[int, int]:
        """Of a person's pairs of answers about one unit: how many there are, and how many say the same."""
        given = self._again[self.people == person]
        total = given.sum(axis=1)
        return int((total * (total - 1) // 2).sum()), int((given * (given - 1) // 2).sum())

    def majorities(self, person: int) -> tuple[int, int]:
        """Of a person's answers: how many face a majority of the others, and how many are with it."""
        own = self.people == person
        values, others = self.values[own], self.counts[self.units[own]]
        others[np.arange(len(values)), values] -= 1
        most = others.max(axis=1, initial=0)
        one_opinion = 2 * most > others.sum(axis=1)
        return int(one_opinion.sum()), int((one_opinion & (others.argmax(axis=1) == values)).sum())

    def alpha(self) -> float | None:
        """Krippendorff's alpha; None where nothing overlaps or nothing differs."""
        shared = self.counts[self.counts.sum(axis=1) > 1]
        used = shared.any(axis=0)
        if used.sum() < 2:
            return None
        return float(krippendorff.alpha(value_counts=shared[:, used], level_of_measurement="nominal"))

    def kappa(self, one: int, other: int) -> tuple[int, float, float | None] | None:
        """Units that two people share, of how many they say the same, and Cohen's kappa; None if they share none."""
        first, second = self.people == one, self.people == other
        shared, here, there = np.intersect1d(
            self.units[first], self.units[second], assume_unique=True, return_indices=True
        )
        if len(shared) == 0:
            return None
        answers, others = self.values[first][here], self.values[second][there]
        differ = len(np.unique([answers, others])) > 1  # else chance agrees as well, and kappa is 0/0
        return len(shared), float((answers == others).mean()), cohen_kappa_score(answers, others) if differ else None


def _agreement(kind: str, question: str, counted: _Counted, names: list[str]) -> Agreement:
    answered = np.bincount(counted.people, minlength=len(names))
    busiest = sorted(np.argsort(-answered, kind="stable")[:MOST_PEOPLE], key=lambda person: names[person])
    pairs = [
        Kappa(names[one], names[other], *found)
        for one, other in combinations(busiest, 2)
        if (found := counted.kappa(one, other)) is not None
    ]
    shared = int((counted.counts.sum(axis=1) > 1).sum())
    return Agreement(question, kind, len(counted.values), shared, counted.alpha(), pairs)


def _total(each: Iterable[tuple[int, int]]) -> tuple[int, int]:
    columns = list(zip(*each, strict=True)) or [(0,), (0,)]
    return sum(columns[0]), sum(columns[1])


def _share(of: int, part: int) -> float | None:
    return part / of if of else None


def _speed(times: array[float]) -> tuple[float | None, float | None]:
    """Median and ninth decile, in milliseconds."""
    if not times:
        return None, None
    median, ninth = np.percentile(np.array(times), [50, 90])
    return float(median), float(ninth)
