"""Pairs are read from JSON lines with one clear error, and come in the order that was asked for."""

from __future__ import annotations

import json

import pytest

from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair, conflict, in_order, read_pairs

COUGH = {"prompt": "Cough?", "completions": ["Honey.", "Foxglove."]}


def written(tmp_path, *rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_a_pair_has_a_prompt_two_completions_and_what_the_file_says_of_it(tmp_path):
    talk = [{"role": "user", "content": "Cough?"}]
    named = {"id": "a", "prompt": talk, "completions": ["", "<b>Rest</b>"], "scores": {"help": 1, "harmless": -0.5}}
    first, second = read_pairs(written(tmp_path, COUGH, "", named, "  "))
    assert (first.prompt, first.completions, first.scores) == ("Cough?", ("Honey.", "Foxglove."), {})
    assert second == Pair("a", talk, ("", "<b>Rest</b>"), {"help": 1.0, "harmless": -0.5})


def test_a_pair_without_an_id_keeps_its_name_when_lines_move(tmp_path):
    other = {"prompt": "Fever?", "completions": ["Rest.", "Run."]}
    names = [pair.id for pair in read_pairs(written(tmp_path, COUGH, other))]
    assert [pair.id for pair in read_pairs(written(tmp_path, other, COUGH))] == names[::-1]
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("{", "no JSON.*pairs.jsonl:2"),
        ('{"prompt": "\\ud800", "completions": ["a", "b"]}', "no JSON.*:2"),
        ("[1]", "no object.*:2"),
        (COUGH | {"score": {}}, "unknown: score.*:2"),
        (COUGH | {"prompt": ""}, "the prompt is ''.*:2"),
        (COUGH | {"prompt": [{"role": "user"}]}, "the prompt is .*:2"),
        (COUGH | {"completions": ["a"]}, "the completions are .*:2.*two texts"),
        (COUGH | {"completions": ["a", 1]}, "the completions are .*:2"),
        (COUGH | {"completions": ["a", "a"]}, "both completions are the same.*:2"),
        (COUGH | {"id": 7}, "the id is 7.*:2"),
        (COUGH | {"id": "x" * 65}, "the id is .*:2"),
        (COUGH | {"id": "first"}, "'first' is there twice.*:2"),
        (COUGH | {"scores": [1]}, "the scores are .*:2"),
        (COUGH | {"scores": {"help": True}}, "the score of 'help' is True.*:2"),
        ('{"prompt": "?", "completions": ["a", "b"], "scores": {"help": NaN}}', "the score of 'help' is nan.*:2"),
    ],
)
def test_a_line_that_holds_no_pair_is_told_with_its_number(tmp_path, row, wrong):
    with pytest.raises(HeedError, match=wrong):
        read_pairs(written(tmp_path, COUGH | {"id": "first"}, row))


def test_a_file_without_pairs_is_refused(tmp_path):
    with pytest.raises(HeedError, match="cannot be read"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(HeedError, match="there are no pairs"):
        read_pairs(written(tmp_path, "", ""))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}')
    with pytest.raises(HeedError, match="no UTF-8"):
        read_pairs(tmp_path / "latin.jsonl")


def scored(name, help, harmless):
    return Pair(name, "?", ("a", "b"), {"help": help, "harmless": harmless})


SCORED = [scored("sure", 3, 4), scored("torn", 2, -3), scored("open", 0.1, 5), scored("half", -1, 1)]
BOTH = ["help", "harmless"]


def names(order, objectives=BOTH, seed=0):
    return [pair.id for pair in in_order(SCORED, order, objectives, seed)]


def test_what_is_least_certain_or_most_torn_comes_first():
    assert names("uncertain")[0] == "open" and names("uncertain")[-1] == "sure"
    assert names("uncertain") == ["open", "half", "torn", "sure"]
    assert names("conflicting") == ["torn", "half", "open", "sure"]  # 6, 1, -.5, -12
    assert names("uncertain", ["harmless"]) == ["half", "torn", "sure", "open"]


def test_of_three_objectives_the_two_that_differ_most_count():
    assert conflict([2.0, 3.0, -0.5]) == 1.5


def test_the_lot_is_drawn_from_the_seed():
    orders = {tuple(names("random", seed=seed)) for seed in range(20)}
    assert len(orders) > 5 and all(sorted(order) == ["half", "open", "sure", "torn"] for order in orders)
    assert names("random", seed=3) == names("random", seed=3)


@pytest.mark.parametrize(
    ("order", "objectives", "wrong"),
    [
        ("best", BOTH, "no order 'best'.*random, uncertain, conflicting"),
        ("uncertain", ["help", "style"], "'sure' has no score of style"),
        ("conflicting", ["help"], "one objective conflicts with nothing"),
    ],
)
def test_an_order_that_cannot_be_told_is_refused(order, objectives, wrong):
    with pytest.raises(HeedError, match=wrong):
        names(order, objectives)
