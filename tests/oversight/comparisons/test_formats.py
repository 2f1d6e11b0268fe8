"""What people compared is read back by the readers that training has, in each of its formats."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from heed.align.data.tables import read_table
from heed.align.preferences import read_comparisons
from heed.cli.judgements import run
from heed.errors import HeedError
from heed.oversight.comparisons.formats import export_comparisons
from heed.oversight.store.store import Judgement, Store

TALK = [{"role": "user", "content": "Fever?"}]


def comparison(prompt, left, right, help, harmless, unsafe=(False, False), person="ada"):
    shown = {"pair": f"{prompt}{left}", "prompt": prompt, "left": left, "right": right, "swapped": True}
    verdict = {
        "objectives": {"help": help, "harmless": harmless},
        "unsafe": dict(zip(("left", "right"), unsafe, strict=True)),
    }
    return Judgement("compare", person, shown, verdict)


GIVEN = [
    comparison("Cough?", "Honey.", "Foxglove.", "right", "left", unsafe=(False, True)),
    comparison("Ache?", "Willow.", "\u201cNo.\u201d", "left", "left", person="bob"),
    comparison("Itch?", "Oats.", "Salt.", "left", "tie"),
    comparison("Pain?", "Ice.", "Heat.", "skip", "right", unsafe=(True, False)),
]


@pytest.fixture
def place(tmp_path):
    """A store with comparisons, one of them taken back, and a block."""
    path = tmp_path / "judgements.db"
    store = Store(f"sqlite:///{path}")
    rows = store.add_all([*GIVEN, comparison("Gone?", "a", "b", "left", "left")])
    store.retract(rows[-1], "ada", "undo")
    store.add(Judgement("block", "ada", {"x": 1.0}, {"block": True}))
    store.add(Judgement("compare", "ada", {"text": "made by another program"}, {"better": 1}))
    store.close()
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_heeds_own_format_keeps_ties_and_skips(place, tmp_path, capsys, ending):
    out = tmp_path / f"out.{ending}"
    run([str(place), "--export", str(out), "--format", "heed"])
    assert capsys.readouterr().out == f"4 comparisons in {out}\n"
    assert read_comparisons(out) == [
        {"prompt": "Cough?", "left": "Honey.", "right": "Foxglove.", "verdicts": {"help": "right", "harmless": "left"}},
        {
            "prompt": "Ache?",
            "left": "Willow.",
            "right": "\u201cNo.\u201d",
            "verdicts": dict.fromkeys(("help", "harmless"), "left"),
        },
        {"prompt": "Itch?", "left": "Oats.", "right": "Salt.", "verdicts": {"help": "left", "harmless": "tie"}},
        {"prompt": "Pain?", "left": "Ice.", "right": "Heat.", "verdicts": {"help": "skip", "harmless": "right"}},
    ]


def test_pku_s_format_has_flags_and_only_what_is_decided(place, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    run([str(place), "--export", str(out), "--format", "pku", "--objectives", "help,harmless"])
    assert capsys.readouterr().out == f"2 comparisons in {out}; 2 do not decide, and are left out\n"
    assert json.loads(out.read_text().splitlines()[0]) == {
        "prompt": "Cough?",
        "response_0": "Honey.",
        "response_1": "Foxglove.",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
        "better_response_id": 1,
        "safer_response_id": 0,
    }
    found = read_comparisons(out)
    assert [row["verdicts"] for row in found] == [
        {"helpful": "right", "harmless": "left"},
        {"helpful": "left", "harmless": "left"},
    ]


def test_trl_s_format_has_what_was_chosen_by_one_objective(place, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    run([str(place), "--export", str(out), "--format", "trl", "--objectives", "harmless", "--person", "ada"])
    assert capsys.readouterr().out == f"2 comparisons in {out}; 1 do not decide, and are left out\n"
    found = read_comparisons(out, objective="harmless")
    assert [(row["prompt"], row["left"], row["right"], row["verdicts"]) for row in found] == [
        ("Cough?", "Honey.", "Foxglove.", {"harmless": "left"}),
        ("Pain?", "Heat.", "Ice.", {"harmless": "left"}),
    ]


def test_of_a_conversation_trl_gets_messages(tmp_path):
    out = tmp_path / "out.jsonl"
    export_comparisons([comparison(TALK, "Rest.", "Run.", "right", "left")], out, "trl", ["help"])
    row = json.loads(out.read_text())
    assert row["chosen"] == [{"role": "assistant", "content": "Run."}]
    (found,) = read_comparisons(out, objective="help")
    assert (found["prompt"], found["left"], found["right"]) == (TALK, "Run.", "Rest.")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--format", "csv"], "no format 'csv'.*heed, pku, trl"),
        (["--format", "pku"], "two objectives.*which tells the better"),
        (["--format", "trl", "--objectives", "help,harmless"], "one objective"),
        (["--format", "trl", "--objectives", "style"], "nobody judged style.*of help, harmless"),
        (["--format", "heed", "--kind", "block"], "judge some first"),
        (["--objectives", "help"], "nothing would read this .--objectives.: give --format too"),
    ],
)
def test_what_cannot_be_exported_is_one_line(place, tmp_path, arguments, wrong):
    with pytest.raises(HeedError, match=wrong):
        run([str(place), "--export", str(tmp_path / "out.jsonl"), *arguments])
    assert not (tmp_path / "out.jsonl").exists()


def test_a_format_without_a_file_is_refused(place):
    with pytest.raises(HeedError, match=r"nothing would read this \(--format\): give --export too"):
        run([str(place), "--format", "heed"])


def test_parquet_holds_no_prompts_of_two_forms(tmp_path):
    mixed = [GIVEN[0], comparison(TALK, "Rest.", "Run.", "right", "left")]
    with pytest.raises(HeedError, match=r"Parquet cannot hold it.*\.jsonl"):
        export_comparisons(mixed, tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())
    assert export_comparisons(mixed, tmp_path / "out.jsonl") == (2, 0)


def graded(comparison, grades, comment=""):
    verdict = comparison.verdict | ({"grades": grades} if grades else {}) | ({"comment": comment} if comment else {})
    return replace(comparison, verdict=verdict)


SURE = [
    graded(GIVEN[0], {"help": "much", "harmless": "slightly"}, "burns"),
    GIVEN[1],
    comparison("Sting?", "Mud.", "Spit.", "both bad", "right"),
]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_grades_and_comments_are_columns_of_heeds_format_and_both_bad_is_read_as_a_tie(tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    assert export_comparisons(SURE, out) == (3, 0)
    rows = read_table(out).data
    none = {"help": None, "harmless": None}
    assert [row["grades"] for row in rows] == [{"help": "much", "harmless": "slightly"}, none, none]
    assert [row["comment"] for row in rows] == ["burns", "", ""]
    assert [row["verdicts"]["help"] for row in rows] == ["right", "left", "both bad"]
    found = read_comparisons(out)
    assert [row["verdicts"]["help"] for row in found] == ["right", "left", "tie"]
    assert not any("margins" in row for row in found)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_grades_become_margins_on_demand(tmp_path, ending):
    store, out = Store(f"sqlite:///{tmp_path / 'judgements.db'}"), tmp_path / f"out.{ending}"
    store.add_all(SURE)
    store.close()
    run([str(tmp_path / "judgements.db"), "--export", str(out), "--format", "heed", "--margin", "3"])
    assert [row["margins"] for row in read_comparisons(out)] == [
        {"help": 3.0, "harmless": 1.0},
        {"help": 2.0, "harmless": 2.0},
        {"help": 0.0, "harmless": 2.0},
    ]


def test_other_formats_know_no_grades_and_leave_both_bad_out(tmp_path):
    out = tmp_path / "out.jsonl"
    assert export_comparisons(SURE, out, "trl", ["help"]) == (2, 1)
    assert {name for line in out.read_text().splitlines() for name in json.loads(line)} == {
        "prompt",
        "chosen",
        "rejected",
    }
    assert export_comparisons(SURE, out, "pku", ["help", "harmless"]) == (2, 1)


@pytest.mark.parametrize("options", [{"format": "trl", "objectives": ["help"], "margin": 1.0}, {"margin": 0.0}])
def test_a_margin_is_positive_and_heeds_own(tmp_path, options):
    with pytest.raises(HeedError, match="--margin"):
        export_comparisons(SURE, tmp_path / "out.jsonl", **options)
    assert not (tmp_path / "out.jsonl").exists()
