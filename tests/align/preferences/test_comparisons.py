import json
import logging

import datasets
import pytest

from heed.align.preferences.comparisons import read_comparisons
from heed.errors import HeedError

HEED = [
    {"prompt": "cough", "left": "a", "right": "b", "verdicts": {"help": "right"}, "margins": {"help": 0.5}},
    {"prompt": "fever", "left": "tea", "right": "rest", "verdicts": {"help": "left", "price": "tie"}},
]
PKU = {
    "prompt": "How?",
    "response_0": "So.",
    "response_1": "No.",
    "better_response_id": 0,
    "safer_response_id": 1,
    "is_response_0_safe": False,
    "is_response_1_safe": True,
}
CHAT = [{"role": "user", "content": "fever"}]
BRIEF = {"role": "system", "content": "Be brief."}
TOOL = {"role": "tool", "content": "38.5", "name": "thermometer"}


def message(text):
    return {"role": "assistant", "content": text}


@pytest.fixture
def lines(tmp_path):
    def write(*rows):
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        return file

    return write


def test_own_records_come_back_as_they_were_from_every_kind_of_file(lines, tmp_path):
    assert read_comparisons(lines(*HEED)) == HEED
    datasets.Dataset.from_list(HEED).to_parquet(tmp_path / "rows.parquet")
    datasets.Dataset.from_list(HEED).save_to_disk(tmp_path / "folder")
    for name in ("rows.parquet", "folder"):  # columns are shared there, so what a row lacks is null
        assert read_comparisons(tmp_path / name) == HEED


def test_pku_gives_two_objectives(lines):
    assert read_comparisons(lines(PKU)) == [
        {
            "prompt": "How?",
            "left": "So.",
            "right": "No.",
            "verdicts": {"helpful": "left", "harmless": "right"},
        }
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c", "\n\nHuman: a\n\nAssistant:"),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: I d",
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: I e",
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
        ),
        (  # they part before the last turn
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: x\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant:",
        ),
    ],
)
def test_hh_transcripts_part_after_the_last_shared_assistant(lines, chosen, rejected, prompt):
    (comparison,) = read_comparisons(lines({"chosen": chosen, "rejected": rejected}), objective="harmless")
    assert comparison["prompt"] == prompt
    assert comparison["prompt"] + comparison["left"] == chosen
    assert comparison["prompt"] + comparison["right"] == rejected
    assert comparison["verdicts"] == {"harmless": "left"}


def test_hh_transcripts_that_share_no_turn_are_left_out_with_a_count(lines, caplog):
    good = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    bad = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: x\n\nAssistant: c"}
    with caplog.at_level(logging.WARNING):
        assert len(read_comparisons(lines(good, bad))) == 1
    assert "1 of 2 transcript pairs share no assistant's turn" in caplog.text
    with pytest.raises(HeedError, match="no transcript pair shares"):
        read_comparisons(lines(bad))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "fever", "chosen": "tea", "rejected": "rest"}, ("fever", "tea", "rest")),
        ({"chosen": "try tea", "rejected": "try rest"}, ("try", " tea", " rest")),
        ({"chosen": [*CHAT, message("tea")], "rejected": [*CHAT, message("rest")]}, (CHAT, "tea", "rest")),
        ({"prompt": CHAT, "chosen": [message("tea")], "rejected": [message("rest")]}, (CHAT, "tea", "rest")),
        ({"chosen": [*CHAT, message("tea")], "rejected": [*CHAT, message("tea")]}, (CHAT, "tea", "tea")),
        # UltraFeedback binarized: the prompt as a text beside whole conversations
        (
            {"prompt": "fever", "chosen": [*CHAT, message("tea")], "rejected": [*CHAT, message("rest")]},
            (CHAT, "tea", "rest"),
        ),
        (
            {"prompt": "fever", "chosen": [BRIEF, *CHAT, message("tea")], "rejected": [BRIEF, *CHAT, message("rest")]},
            ([BRIEF, *CHAT], "tea", "rest"),
        ),
        (
            {"prompt": CHAT, "chosen": [*CHAT, message("tea")], "rejected": [*CHAT, message("rest")]},
            (CHAT, "tea", "rest"),
        ),
        ({"prompt": "fever", "chosen": [message("tea")], "rejected": [message("rest")]}, (CHAT, "tea", "rest")),
        # several messages: a call of a tool, a later turn
        (
            {"prompt": CHAT, "chosen": [message("look"), TOOL, message("tea")], "rejected": [message("rest")]},
            (CHAT, [message("look"), TOOL, message("tea")], "rest"),
        ),
    ],
)
def test_trls_preferences_with_and_without_a_prompt(lines, row, expected):
    (comparison,) = read_comparisons(lines(row))
    assert (comparison["prompt"], comparison["left"], comparison["right"]) == expected
    assert comparison["verdicts"] == {"preference": "left"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "text": "b"}, "cannot tell the comparisons' format from the columns prompt, text"),
        ({**HEED[0], "verdicts": {"help": "best"}}, r"verdict 'best' on 'help' \(.*rows.jsonl:2\)"),
        ({**HEED[0], "verdicts": {}}, r"a comparison without a verdict \(.*rows.jsonl:2\)"),
        ({**HEED[0], "margins": {"help": -1.0}}, r"margin -1.0 on 'help' \(.*rows.jsonl:2\)"),
        ({**HEED[0], "left": None}, r"a completion is None \(.*rows.jsonl:2\)"),
        ({"verdicts": {"help": "left"}, "prompt": "a"}, "format 'heed' needs the columns left, right"),
        ({**PKU, "better_response_id": 2}, r"the better response is 2 \(.*rows.jsonl:2\)"),
        ({"chosen": "tea", "rejected": "rest"}, "chosen and rejected share no beginning"),
        (
            {"prompt": "gout", "chosen": [*CHAT, message("a")], "rejected": [*CHAT, message("c")]},
            "a completion begins with a message of the user: 'fever'",
        ),
    ],
)
def test_bad_records_are_named_by_line(lines, row, message):
    padding = lines(row).read_text()
    file = lines(row)
    file.write_text("\n" + padding)
    with pytest.raises(HeedError, match=message):
        read_comparisons(file)


def test_an_unknown_format_is_refused(lines):
    with pytest.raises(HeedError, match=r"format 'csv' is not known .*: give auto, heed, pku, hh, trl"):
        read_comparisons(lines(*HEED), format="csv")


STEER = {"prompt": "c#", "correctness": 4, "coherence": 4, "verbosity": 1}
SHP = {"post_id": "x", "history": "Why?", "human_ref_A": "So.", "human_ref_B": "No.", "labels": 1, "score_ratio": 2.0}
STRENGTH = {"prompt": "c#", "response_1": "a", "response_2": "b", "preference_strength": -2, "split": "train"}


def test_helpsteer2_rows_of_a_prompt_are_compared_by_every_score(lines, caplog):
    rows = lines(
        {**STEER, "response": "a", "helpfulness": 3},
        {**STEER, "response": "b", "helpfulness": 4, "verbosity": 0},
        {**STEER, "response": "alone", "helpfulness": 4, "prompt": "java"},
    )
    assert read_comparisons(rows) == [
        {
            "prompt": "c#",
            "left": "a",
            "right": "b",
            "verdicts": {"helpfulness": "right", "correctness": "tie", "coherence": "tie", "verbosity": "left"},
        }
    ]
    assert "1 of 3 rows have no partner of the same prompt and are left out" in caplog.text


def test_rated_rows_of_any_names_are_compared_each_with_each_wherever_they_stand(lines):
    rows = [
        {"prompt": prompt, "completion": text, "honest": honest, "source": "s"}
        for prompt, text, honest in (("p", "a", 1.5), ("q", "x", 0), ("p", "b", 2), ("q", "y", 1), ("p", "c", 1.5))
    ]
    found = read_comparisons(lines(*rows), "rated")
    assert [(one["left"], one["right"], one["verdicts"]) for one in found] == [
        ("a", "b", {"honest": "right"}),
        ("a", "c", {"honest": "tie"}),
        ("x", "y", {"honest": "right"}),
        ("b", "c", {"honest": "left"}),
    ]


@pytest.mark.parametrize(("label", "verdict"), [(1, "left"), (0, "right")])
def test_shp_prefers_a_where_the_label_is_one(lines, label, verdict):
    (found,) = read_comparisons(lines({**SHP, "labels": label}), objective="liked")
    assert found == {"prompt": "Why?", "left": "So.", "right": "No.", "verdicts": {"liked": verdict}}


@pytest.mark.parametrize(("strength", "verdict"), [(-2, "left"), (0, "tie"), (1, "right")])
def test_helpsteers_preferences_are_below_zero_where_the_first_is_better(lines, strength, verdict):
    third = {"domain": "code", "context": CHAT, "response1": "a", "response2": "b", "overall_preference": strength}
    for row, prompt in (({**STRENGTH, "preference_strength": strength}, "c#"), (third, CHAT)):
        (found,) = read_comparisons(lines(row))
        assert found == {"prompt": prompt, "left": "a", "right": "b", "verdicts": {"preference": verdict}}


def test_turns_within_a_text_are_said(lines, caplog):
    read_comparisons(lines({**STRENGTH, "prompt": "a\n\n<extra_id_1>Assistant\nb\n\n<extra_id_1>User\nc"}, STRENGTH))
    assert "1 prompts hold several turns, marked by <extra_id_1>" in caplog.text


def unpaired(prompt, completion, label):
    return {"prompt": prompt, "completion": completion, "label": label}


def test_unpaired_rows_compare_a_prompts_good_with_its_bad_completions(lines, caplog):
    rows = lines(
        unpaired("fever", "tea", True),
        unpaired("gout", "rest", True),
        unpaired("fever", "honey", False),
        unpaired("fever", "mint", True),
        unpaired("cough", "sage", False),
        unpaired("cough", "bark", False),
    )
    assert [(one["prompt"], one["left"], one["right"], one["verdicts"]) for one in read_comparisons(rows)] == [
        ("fever", "tea", "honey", {"preference": "left"}),
        ("fever", "honey", "mint", {"preference": "right"}),
    ]
    assert "3 of 6 rows have no partner of the same prompt" in caplog.text
    with pytest.raises(HeedError, match="none of 2 rows has a partner"):
        read_comparisons(lines(unpaired("a", "b", True), unpaired("c", "d", False)))


@pytest.mark.parametrize("prompt", ["fever", CHAT])
def test_unpaired_messages_are_read_as_trls_preferences_are(lines, prompt):
    rows = lines(*(unpaired(prompt, [message(text)], text == "tea") for text in ("rest", "tea")))
    assert read_comparisons(rows) == [
        {"prompt": CHAT, "left": "rest", "right": "tea", "verdicts": {"preference": "right"}}
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**SHP, "labels": 2}, r"the label is 2 \(.*rows.jsonl:3\): give true or false"),
        ({**SHP, "human_ref_B": None}, r"a completion is None \(.*rows.jsonl:3\)"),
        ({**STRENGTH, "preference_strength": None}, r"preference_strength is None \(.*rows.jsonl:3\): give a number"),
        ({**STEER, "response": "a", "helpfulness": None}, r"helpfulness is None \(.*rows.jsonl:3\)"),
        ({**STEER, "prompt": None, "response": "a", "helpfulness": 1}, r"the prompt is None \(.*rows.jsonl:3\)"),
        (unpaired("fever", None, True), r"a completion is None \(.*rows.jsonl:3\)"),
        (unpaired("fever", "tea", None), r"the label is None \(.*rows.jsonl:3\)"),
    ],
)
def test_half_a_row_among_whole_ones_is_named_by_line(lines, row, message):
    names = {"labels": 1, "preference_strength": 1, "helpfulness": 2, "label": True, "human_ref_B": "x"}
    whole = {**row, **{name: value for name, value in names.items() if name in row}, "completion": "x", "prompt": "p"}
    with pytest.raises(HeedError, match=message):
        read_comparisons(lines(whole, whole, row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"history": "a", "human_ref_A": "b", "labels": 1}, "format 'shp' needs the columns human_ref_B"),
        ({"prompt": "a", "response_1": "b", "preference_strength": 1}, "a row lacks response_2"),
        ({"prompt": "a", "helpfulness": 1}, "a row lacks response"),
        ({"prompt": "a", "response": "b", "helpfulness": "4"}, "no column of numbers rates"),
        (unpaired("a", "b", "good"), "the label is 'good'"),
    ],
)
def test_a_missing_column_and_a_label_of_another_kind_are_one_line(lines, row, message):
    with pytest.raises(HeedError, match=message):
        read_comparisons(lines(row))


def test_a_prompts_tools_come_with_it(lines):
    tea, rest = [{"name": "tea"}], [{"name": "rest"}]
    row = {"prompt": CHAT, "chosen": [message("a")], "rejected": [message("b")]}
    first, second = read_comparisons(lines({**row, "tools": tea}, {**row, "tools": []}))
    assert first["tools"] == tea and "tools" not in second
    with pytest.raises(HeedError, match=r"the tools are 'tea' \(.*rows.jsonl:2, column tools\)"):
        read_comparisons(lines({**row, "tools": json.dumps(tea)}, {**row, "tools": "tea"}))
    asked = [("a", True, tea), ("b", False, rest), ("c", False, tea)]
    (found,) = read_comparisons(lines(*({**unpaired("fever", text, good), "tools": own} for text, good, own in asked)))
    assert (found["left"], found["right"], found["tools"]) == ("a", "c", tea)


@pytest.mark.parametrize("column", ["verdicts", "margins"])
def test_verdicts_and_margins_of_another_form_are_one_line(lines, column):
    with pytest.raises(HeedError, match=rf"the {column} are 'left' \(.*rows.jsonl:1\): give {{"):
        read_comparisons(lines({**HEED[0], column: "left"}))


def test_a_prompts_message_without_content_is_named_by_line(lines):
    row = {"prompt": CHAT, "chosen": [message("a")], "rejected": [message("b")]}
    with pytest.raises(HeedError, match=r"the prompt is .*rows.jsonl:2\)"):
        read_comparisons(lines(row, {**row, "prompt": [{"role": "user", "content": None}]}))
