"""Comparisons become judgements that say what was seen on which side, and a stop loses none of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair
from heed.oversight.comparisons.session import Comparison, ComparisonSession
from heed.oversight.store.store import Judgement, Store

PAIRS = [Pair(f"p{number}", f"prompt {number}", (f"one {number}", f"two {number}")) for number in range(40)]
SAFE = {"left": False, "right": False}


def comparing(**options):
    return ComparisonSession(PAIRS, ["help", "harmless"], run="pairs.jsonl", **options)


def said(pair, key="k", **verdicts):
    return Comparison(pair, {"help": "left", "harmless": "tie"} | verdicts, {"left": False, "right": True}, key, 1200.0)


@pytest.fixture
def store():
    made = Store("sqlite://")
    yield made
    made.close()


def answer(asked, store, person, key):
    """As the server does it: say something of what is shown, write it, count it."""
    judgement = asked.judgement(person, said(asked.showing(person)["pair"], key))
    asked.judged(judgement, store.add(judgement))
    return judgement


def test_a_judgement_holds_what_was_seen_and_what_was_said():
    asked = comparing()
    seen = asked.showing("ada")
    assert (seen["pair"], seen["prompt"], seen["before"]) == ("p0", "prompt 0", None)
    found = asked.judgement("ada", said("p0"))
    assert found.shown["swapped"] == (seen["left"] == "two 0")
    assert {name: found.shown[name] for name in ("pair", "prompt", "left", "right")} == {
        name: seen[name] for name in ("pair", "prompt", "left", "right")
    }
    assert found.verdict == {
        "objectives": {"help": "left", "harmless": "tie"},
        "unsafe": {"left": False, "right": True},
    }
    assert (found.kind, found.person, found.run, found.latency_ms, found.key) == (
        *("compare", "ada", "pairs.jsonl", 1200.0),
        "k",
    )


def test_sides_are_shuffled_by_seed_pair_and_person_and_stay_after_a_restart():
    def swaps(person, **options):
        asked = comparing(**options)
        return [asked.judgement(person, said(pair.id)).shown["swapped"] for pair in PAIRS]

    assert swaps("ada") == swaps("ada")
    assert 10 < sum(swaps("ada")) < 30
    assert swaps("ada") != swaps("bob") and swaps("ada") != swaps("ada", seed=1)


def test_what_stands_in_the_store_counts_after_a_stop(store):
    asked = comparing()
    for number in range(3):
        answer(asked, store, "ada", f"k{number}")
    store.add(Judgement("block", "ada", {"x": 1.0}, {"block": True}))
    store.add(Judgement("compare", "ada", "something else", {"better": "a"}))
    other = ComparisonSession([Pair("p5", "another prompt", ("a", "b"))], ["help", "harmless"])
    answer(other, store, "ada", "another file's p5")
    again = comparing()
    assert again.resume(store.effective("compare")) == 3
    assert again.showing("ada")["pair"] == "p3"
    assert again.progress("ada") == {"mine": 3, "given": 3, "wanted": 40}
    retried = again.judgement("ada", said("p2", "k2"))  # the page did not hear that it is on disk
    assert store.add(retried) == 3
    again.judged(retried, 3)
    assert again.progress("ada")["mine"] == 3


def test_other_objectives_are_another_question(store):
    answer(comparing(), store, "ada", "k")
    assert ComparisonSession(PAIRS, ["help"]).resume(store.effective("compare")) == 0


def test_what_is_undone_is_seen_again_with_its_verdict(store):
    asked = comparing()
    first = answer(asked, store, "ada", "k0")
    answer(asked, store, "ada", "k1")
    assert asked.showing("ada")["pair"] == "p2"
    given = asked.last("ada")
    store.retract(given.row, "ada", "undo")
    asked.undone("ada", given)
    assert (given.pair, given.row) == ("p1", 2)
    seen = asked.showing("ada")
    assert (seen["pair"], seen["before"]) == ("p1", first.verdict)
    with pytest.raises(HeedError, match="was retracted"):
        asked.judgement("ada", said("p1", "k1"))  # a late retry of what no longer stands
    answer(asked, store, "ada", "k2")
    assert (asked.showing("ada")["pair"], asked.showing("ada")["before"]) == ("p2", None)
    assert [judgement.key for judgement in store.effective()] == ["k0", "k2"]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (said("p99"), "there is no pair 'p99'"),
        (said("p0", key="new"), "compared this pair already"),
        (said("p1", style="left"), "no comparison.*of help, harmless"),
        (said("p1", help="both"), "no comparison.*say left, right, tie, both bad, skip"),
        (Comparison("p1", {"help": "left"}, SAFE, "k", 0.0), "no comparison"),
    ],
)
def test_what_is_no_answer_is_refused(store, given, wrong):
    asked = comparing()
    answer(asked, store, "ada", "k")
    with pytest.raises(HeedError, match=wrong):
        asked.judgement("ada", given)


def test_several_are_undone_one_after_the_other_and_each_is_seen_again_with_its_own_verdict(store):
    asked = comparing()
    for number, verdict in enumerate(("left", "right", "skip")):
        given = asked.judgement("ada", said(f"p{number}", f"k{number}", help=verdict))
        asked.judged(given, store.add(given))
    for pair in ("p2", "p1", "p0"):
        asked.undone("ada", asked.last("ada"))
        assert asked.showing("ada")["pair"] == pair
    again = []
    for number in range(4):
        seen = asked.showing("ada")
        again.append((seen["pair"], seen["before"] and seen["before"]["objectives"]["help"]))
        answer(asked, store, "ada", f"again{number}")
    assert again == [("p0", "left"), ("p1", "right"), ("p2", "skip"), ("p3", None)]


def test_a_grade_and_a_comment_are_part_of_the_verdict_only_where_they_were_given():
    graded = replace(said("p0", harmless="right"), grades={"harmless": "much"}, comment=" so\n said ")
    verdict = comparing().judgement("ada", graded).verdict
    assert verdict == {
        "objectives": {"help": "left", "harmless": "right"},
        "unsafe": {"left": False, "right": True},
        "grades": {"harmless": "much"},
        "comment": "so said",
    }
    assert comparing().judgement("ada", said("p0")).verdict.keys() == {"objectives", "unsafe"}


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"grades": {"harmless": "much"}}, "no grade"),  # harmless is a tie
        ({"grades": {"style": "much"}}, "no grade"),
        ({"grades": {"help": "very"}}, "no grade.*slightly or much"),
        ({"comment": "x" * 501}, "a comment of 501 characters"),
    ],
)
def test_a_grade_is_of_what_is_better_and_a_comment_is_short(changed, wrong):
    with pytest.raises(HeedError, match=wrong):
        comparing().judgement("ada", replace(said("p0"), **changed))


def test_nothing_of_others_is_undone(store):
    asked = comparing()
    answer(asked, store, "ada", "k")
    with pytest.raises(HeedError, match="nothing of yours"):
        asked.last("bob")


@pytest.mark.parametrize("objectives", [[], ["help", "help"], [""], ["x" * 65], list("abcdefghij")])
def test_objectives_are_few_and_told_apart(objectives):
    with pytest.raises(HeedError, match="--objectives"):
        ComparisonSession(PAIRS, objectives)
