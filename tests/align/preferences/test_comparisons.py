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
