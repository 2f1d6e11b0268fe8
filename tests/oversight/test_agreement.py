"""Agreement between people: published examples, the definition itself as an oracle, and what nobody can say."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from heed.oversight.agreement import MOST_PEOPLE, agreements
from heed.oversight.store.store import Judgement

UNSAFE = {"left": False, "right": False}


def block(person, step, blocks, episode=0, run="walk", latency_ms=100.0, **said):
    shown = {"env": "Walk", "observation": [0.5], "action": 0, "step": step, "episode": episode}
    return Judgement("block", person, shown, {"block": blocks, **said}, run, latency_ms=latency_ms)


def compared(person, unit, prefers, swapped=False, objective="help", prompt="Cough?", pair="p"):
    """``prefers`` is "first", "second", "tie" or "skip", whichever side each completion is on."""
    texts = [f"the first of {unit}", f"the second of {unit}"]
    sides = ["first", "second"]
    if swapped:
        texts.reverse()
        sides.reverse()
    said = {sides[0]: "left", sides[1]: "right"}.get(prefers, prefers)
    shown = {"pair": pair, "prompt": prompt, "left": texts[0], "right": texts[1], "swapped": swapped}
    return Judgement("compare", person, shown, {"objectives": {objective: said}, "unsafe": UNSAFE})


def only(given):
    (question,) = agreements(given).questions
    return question


def habits(given, person):
    return {each.person: each for each in agreements(given).people}[person]


def test_krippendorffs_own_binary_example():
    # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), A: two observers, ten units, alpha = 0.095
    meg, owen = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    given = [
        block(person, step, bool(said))
        for person, answers in (("meg", meg), ("owen", owen))
        for step, said in enumerate(answers)
    ]
    found = only(given)
    assert found.alpha == pytest.approx(1 - (20 - 1) * 8 / (14 * 6 * 2), abs=1e-12) == pytest.approx(0.095, abs=5e-4)
    assert (found.kind, found.question, found.answers, found.units) == ("block", "block", 20, 10)
    (pair,) = found.pairs
    assert (pair.one, pair.other, pair.units, pair.agree) == ("meg", "owen", 10, 0.6)
    assert pair.kappa == pytest.approx((0.6 - (0.2 * 0.4 + 0.8 * 0.6)) / (1 - (0.2 * 0.4 + 0.8 * 0.6)))


def test_cohens_own_example():
    # J. Cohen, A coefficient of agreement for nominal scales (1960): 200 patients, three diagnoses, kappa = .492
    table, values = [[88, 10, 2], [14, 40, 6], [18, 10, 12]], ["first", "second", "tie"]
    given, unit = [], itertools.count()
    for one, row in zip(values, table, strict=True):
        for other, times in zip(values, row, strict=True):
            for _ in range(times):
                number = next(unit)
                given += [compared("ada", number, one), compared("bob", number, other, swapped=number % 2 == 1)]
    (pair,) = only(given).pairs
    assert (pair.units, pair.agree) == (200, 0.7)
    assert pair.kappa == pytest.approx((0.70 - 0.41) / (1 - 0.41)) == pytest.approx(0.492, abs=5e-4)


def alpha_by_definition(units):
    """One less observed over expected disagreement, over all ordered pairs of answers of different people."""
    units = [answers for answers in units if len(answers) > 1]
    said = [answer for answers in units for answer in answers]
    observed = sum(sum(a != b for a, b in itertools.permutations(each, 2)) / (len(each) - 1) for each in units)
    expected = sum(a != b for a, b in itertools.permutations(said, 2)) / (len(said) - 1)
    return 1 - observed / expected


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_its_definition_whoever_skips_and_on_whichever_side(seed):
    rng = random.Random(seed)
    given, units = [], []
    for unit in range(30):
        answers = [
            (person, rng.choices(["first", "second", "tie", "skip"], [5, 2, 1, 2])[0])
            for person in rng.sample(["ada", "bob", "eve", "kim"], rng.randint(0, 4))
        ]
        given += [compared(person, unit, said, swapped=rng.random() < 0.5) for person, said in answers]
        units.append([said for _, said in answers if said != "skip"])
    rng.shuffle(given)
    found = only(given)
    assert found.alpha == pytest.approx(alpha_by_definition(units))
    assert (found.answers, found.units) == (sum(map(len, units)), sum(len(each) > 1 for each in units))


def test_sides_are_mapped_to_the_completions_that_were_on_them():
    honest = [compared("ada", "u", "first"), compared("bob", "u", "first", swapped=True)]
    assert [each.verdict["objectives"]["help"] for each in honest] == ["left", "right"]
    assert only(honest).pairs[0].agree == 1.0
    assert only([compared("ada", "u", "first"), compared("bob", "u", "second", swapped=True)]).pairs[0].agree == 0.0


def test_both_bad_is_a_tie_and_a_grade_is_no_other_answer():
    much = replace(compared("bob", 0, "first"), verdict={"objectives": {"help": "left"}, "unsafe": UNSAFE})
    much.verdict["grades"] = {"help": "much"}
    given = [compared("ada", 0, "first"), much, compared("ada", 1, "tie"), compared("bob", 1, "both bad")]
    (pair,) = only(given).pairs
    assert (pair.units, pair.agree) == (2, 1.0)


def test_questions_and_units_are_kept_apart():
    given = [
        compared("ada", "u", "first"),
        compared("bob", "u", "second", objective="harmless"),
        compared("bob", "v", "first"),
        compared("bob", "u", "first", prompt="Fever?"),
        block("ada", 1, True),
        *(block("bob", **place, blocks=True) for place in ({"step": 2}, {"step": 1, "episode": 1})),
    ]
    given.append(block("bob", 1, True, run="another"))
    found = agreements(given).questions
    assert [(each.question, each.kind, each.units, each.alpha, each.pairs) for each in found] == [
        ("harmless", "compare", 0, None, []),
        ("help", "compare", 0, None, []),
        ("block", "block", 0, None, []),
    ]


def test_where_all_say_the_same_chance_would_too_and_nothing_is_claimed():
    found = only([block(person, step, True) for person in ("ada", "bob") for step in range(5)])
    assert (found.units, found.alpha) == (5, None)
    assert (found.pairs[0].agree, found.pairs[0].kappa) == (1.0, None)
    differing = only([block("ada", 0, True), block("bob", 0, False), block("ada", 1, True), block("bob", 1, False)])
    assert differing.alpha == pytest.approx(1 - 3 * 4 / 8)
    assert differing.pairs[0].kappa == 0.0  # each always said their one word


def test_nothing_at_all_is_no_agreement():
    assert agreements([]).questions == agreements([]).people == []


def test_silence_and_acting_are_no_answers():
    given = [block("ada", 0, False, silent=True), block("bob", 0, True), block("eve", 0, False, acted=True)]
    found = agreements(given)
    assert (found.questions[0].answers, found.questions[0].units) == (1, 0)
    assert [(each.person, each.judgements, each.spoken) for each in found.people] == [
        ("ada", 1, 0),
        ("bob", 1, 1),
        ("eve", 1, 0),
    ]


def test_what_another_program_wrote_is_counted_and_not_understood():
    odd = [Judgement("block", "ada", "text", {"block": True}), Judgement("compare", "ada", {"a": 1}, {"prefers": "a"})]
    found = agreements(odd)
    assert (found.questions, found.people[0].judgements) == ([], 2)


def test_the_latest_answer_of_a_person_counts_and_repeats_tell_how_steady_they_are():
    given = [
        block("ada", 0, True),
        block("ada", 0, False),
        block("ada", 0, False),
        block("ada", 1, True),
        block("bob", 0, False),
        block("bob", 1, False),
    ]
    found = only(given)
    assert (found.answers, found.pairs[0].agree) == (4, 0.5)
    assert (habits(given, "ada").repeats, habits(given, "ada").steady) == (3, pytest.approx(1 / 3))
    assert (habits(given, "bob").repeats, habits(given, "bob").steady) == (0, None)


def test_with_the_majority_of_the_others():
    votes = {  # of each unit: who said what
        "all but ada": {"ada": "first", "bob": "second", "eve": "second"},
        "no majority faces ada": {"ada": "tie", "bob": "first", "eve": "second"},
        "with bob alone": {"ada": "tie", "bob": "tie"},
        "alone": {"ada": "first"},
    }
    given = [compared(person, unit, said) for unit, each in votes.items() for person, said in each.items()]
    ada, bob, eve = (habits(given, person) for person in ("ada", "bob", "eve"))
    assert (ada.majorities, ada.with_majority) == (2, 0.5)
    assert (bob.majorities, bob.with_majority) == (1, 1.0)  # first and second, tie and first: no majority there
    assert (eve.majorities, eve.with_majority) == (0, None)


def test_speed_is_of_what_was_said():
    given = [block("ada", step, True, latency_ms=100.0 * (step + 1)) for step in range(11)]
    given += [block("ada", 20 + step, False, silent=True, latency_ms=9e9) for step in range(4)]
    given += [block("ada", 24, False, acted=True, latency_ms=9e9)]
    found = habits(given, "ada")
    assert (found.judgements, found.spoken, found.median_ms, found.p90_ms) == (16, 11, 600.0, pytest.approx(1000.0))
    silent = habits(given[11:], "ada")
    assert (silent.median_ms, silent.p90_ms) == (None, None)


def test_a_crowds_pairs_are_bounded_and_its_alpha_is_of_all():
    rng = np.random.default_rng(0)
    crowd = [f"p{number:02}" for number in range(MOST_PEOPLE + 5)]
    given = [block(name, step, bool(rng.random() < 0.5)) for name in crowd for step in range(6)]
    given += [block(crowd[-1], 9, True)]  # one answer more than all others
    found = only(given)
    named = {name for pair in found.pairs for name in (pair.one, pair.other)}
    assert len(found.pairs) == MOST_PEOPLE * (MOST_PEOPLE - 1) // 2 and crowd[-1] in named
    units = [[each.verdict["block"] for each in given if each.shown["step"] == step] for step in range(6)]
    assert found.alpha == pytest.approx(alpha_by_definition(units))
