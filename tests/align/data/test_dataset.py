import gzip
import json

import datasets
import pytest

from heed.align.data import tables
from heed.align.data.dataset import load_prompts
from heed.errors import HeedError

ROWS = [{"prompt": "fever", "age": 30}, {"prompt": "cough", "age": None}]
CHAT = [{"prompt": [{"role": "user", "content": "fever"}]}]


def write_lines(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_json_lines_parquet_and_folders_hold_the_same_rows(tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    data.to_parquet(tmp_path / "rows.parquet")
    data.save_to_disk(tmp_path / "folder")
    write_lines(tmp_path / "rows.jsonl", "\ufeff" + json.dumps(ROWS[0]), "", ROWS[1], "")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    for name in ("rows.parquet", "folder", "rows.jsonl", "rows.jsonl.gz"):
        assert load_prompts(tmp_path / name).to_list() == ROWS, name


def test_conversations_keep_their_form(tmp_path):
    assert load_prompts(write_lines(tmp_path / "chat.jsonl", *CHAT)).to_list() == CHAT


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_split_of_a_file_is_refused(tmp_path, name):
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "rows.parquet")
    write_lines(tmp_path / "rows.jsonl", *ROWS)
    with pytest.raises(HeedError, match=rf"a file has no splits to take 'train' from .*{name}.: leave the split out"):
        load_prompts(tmp_path / name, split="train")


def test_a_row_may_lack_columns_that_others_have(tmp_path):
    file = write_lines(tmp_path / "rows.jsonl", {"prompt": "fever"}, {"prompt": "cough", "answer": "tea"})
    assert load_prompts(file)["answer"][:] == [None, "tea"]


def test_a_split_is_chosen_and_train_is_the_default(tmp_path):
    one, other = datasets.Dataset.from_list(ROWS[:1]), datasets.Dataset.from_list(ROWS[1:])
    datasets.DatasetDict({"test": other, "train": one}).save_to_disk(tmp_path / "both")
    datasets.DatasetDict({"test": other}).save_to_disk(tmp_path / "single")
    assert load_prompts(tmp_path / "both")["prompt"][:] == ["fever"]
    assert load_prompts(tmp_path / "both", split="test")["prompt"][:] == ["cough"]
    assert load_prompts(tmp_path / "single")["prompt"][:] == ["cough"]
    with pytest.raises(HeedError, match=r"there is no split 'dev' .*: choose one of test, train"):
        load_prompts(tmp_path / "both", split="dev")


def test_the_hub_is_asked_last(monkeypatch, tmp_path):
    asked = []

    def load(name):
        asked.append(name)
        if name == "owner/none":
            raise datasets.exceptions.DatasetNotFoundError("no such set")
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})

    monkeypatch.setattr(tables.datasets, "load_dataset", load)
    assert load_prompts("owner/prompts").to_list() == ROWS
    for name in ("owner/none", str(tmp_path / "gone"), "gone.jsonl"):
        with pytest.raises(
            HeedError, match=r"there is no such data .*: give a file or folder that exists, or a hub id"
        ):
            load_prompts(name)
    assert asked == ["owner/prompts", "owner/none"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"text": "fever", "age": 3}], r"no column 'prompt' .*the columns are text, age"),
        ([], "there are no rows"),
        (["", "  "], "there are no rows"),
        ([ROWS[0], "", '{"prompt": "x"'], r"not valid JSON: .*rows.jsonl:3\)"),
        (["[1, 2]"], r"a list, not a JSON object \(.*rows.jsonl:1\)"),
        ([ROWS[0], {"prompt": ""}], r"the prompt is '' \(.*rows.jsonl:2\)"),
        ([ROWS[0], {"age": 3}], r"the prompt is None \(.*rows.jsonl:2\)"),
        ([{"prompt": 3}], r"the prompt is 3 \(.*rows.jsonl:1\)"),
        ([{"prompt": []}], r"the prompt is \[\] \(.*rows.jsonl:1\)"),
        ([{"prompt": [{"role": "user"}]}], r"the prompt is \[\{'role': 'user'\}\] \(.*rows.jsonl:1\)"),
        (
            [ROWS[0], ROWS[1], {"prompt": "gout", "age": "old"}],
            r"column 'age' mixes values of different types \(.*rows.jsonl:3\)",
        ),
    ],
)
def test_bad_rows_are_named_by_file_and_line(tmp_path, lines, message):
    with pytest.raises(HeedError, match=message) as caught:
        load_prompts(write_lines(tmp_path / "rows.jsonl", *lines))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt\nfever\n")
    (tmp_path / "rows.parquet").write_text("no parquet")
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "fièvre"}'.encode("latin-1"))
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "fever"}')[:-9])
    (tmp_path / "plain.jsonl.gz").write_text('{"prompt": "fever"}')
    (tmp_path / "folder").mkdir()
    for name, message in {
        "rows.csv": "cannot tell the format of .csv files",
        "rows.parquet": "not a readable Parquet file",
        "latin.jsonl": r"not UTF-8 \(byte 14\)",
        "torn.jsonl.gz": "not a whole gzip file",
        "plain.jsonl.gz": "not a whole gzip file",
        "folder": "not written by datasets' save_to_disk",
    }.items():
        with pytest.raises(HeedError, match=message):
            load_prompts(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"prompt": "cough", "age": 99999999999999999999999}',
            "column 'age' holds what no table can: Python int too large",
        ),
        ('{"prompt": "cough \\ud800", "age": 3}', "column 'prompt' holds what no table can: 'utf-8' codec"),
        ('{"prompt": "cough", "age": ' + "[" * 100_000 + "}", "the JSON is nested too deep"),
    ],
)
def test_values_that_no_table_can_hold_are_named_by_line(tmp_path, line, said):
    with pytest.raises(HeedError, match=rf"{said}.*rows.jsonl:3\)"):
        load_prompts(write_lines(tmp_path / "rows.jsonl", *ROWS, line))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": 3},
        {"role": None, "content": "a"},
    ],
)
def test_half_a_message_is_named_by_line(tmp_path, message):
    rows = [CHAT[0], {"prompt": [message]}] if message.get("content") != 3 else [{"prompt": [message]}]
    with pytest.raises(HeedError, match=rf"the prompt is .*rows.jsonl:{len(rows)}\): give a text, or messages"):
        load_prompts(write_lines(tmp_path / "rows.jsonl", *rows))


def test_a_call_of_a_tool_needs_no_content(tmp_path):
    called = {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]}
    rows = [{"prompt": [called, {"role": "tool", "content": "38.5", "tool_calls": None}]}]
    assert load_prompts(write_lines(tmp_path / "rows.jsonl", *rows)).to_list() == rows
