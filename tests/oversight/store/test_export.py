"""Judgements come out of a store as they went in, and the command that takes them out says what it cannot do."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from heed.cli.judgements import run
from heed.errors import HeedError
from heed.oversight.store.export import by_person, export
from heed.oversight.store.store import Judgement, Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "judgements.db"


@pytest.fixture
def store(path):
    made = Store(f"sqlite:///{path}")
    for number in range(4):
        shown = {"observation": [number / 10], "words": "[bold]right[/bold] \u2192"}
        person = "ada" if number % 2 else "bob"
        made.add(Judgement("block", person, shown, {"block": number > 1}, run="walk-1", latency_ms=100.0 * number))
    made.retract(1, "bob", "by mistake")
    yield made
    made.close()


def test_json_lines_hold_every_column_of_what_stands(store, tmp_path):
    export(store.effective(), tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [2, 3, 4]
    assert rows[0]["shown"] == {"observation": [0.1], "words": "[bold]right[/bold] \u2192"}
    assert (rows[1]["person"], rows[1]["verdict"], rows[1]["latency_ms"]) == ("bob", {"block": True}, 200.0)
    assert rows[0]["at"] == store.effective()[0].at.isoformat()


def test_parquet_holds_the_same(store, tmp_path):
    export(store.effective(), tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["id"], json.loads(row["verdict"])["block"]) for row in rows] == [(2, False), (3, True), (4, True)]


def test_nothing_at_all_can_be_exported_too(tmp_path):
    export([], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_another_format_is_refused(store, tmp_path):
    with pytest.raises(HeedError, match=r"not written as '.csv'.*\.jsonl or \.parquet"):
        export(store.effective(), tmp_path / "out.csv")


def test_people_are_told_apart(store):
    assert by_person(store.effective()) == [
        {"person": "ada", "judgements": 2, "blocks": 0.5, "median_ms": 200.0},
        {"person": "bob", "judgements": 1, "blocks": 1.0, "median_ms": 200.0},
    ]


def test_speed_is_neither_of_silence_nor_of_acting():
    said = [{}, {"silent": True}, {"acted": True}]
    given = [Judgement("block", "ada", {}, {"block": True, **how}, latency_ms=10.0**n) for n, how in enumerate(said)]
    assert by_person(given) == [{"person": "ada", "judgements": 3, "blocks": 1.0, "median_ms": 1.0}]


def test_the_command_lists_takes_back_exports_and_verifies(store, path, tmp_path, capsys):
    run([str(path)])
    shown = capsys.readouterr().out
    assert "ada" in shown and "[bold]right" in shown.replace("\n", "")
    run([str(path), "--retract", "3", "--person", "bob", "--why", "again"])
    run([str(path), "--person", "ada", "--export", str(tmp_path / "ada.jsonl")])
    run([str(path), "--verify"])
    assert capsys.readouterr().out.splitlines() == [
        "row 6 takes 3 back",
        f"2 judgements in {tmp_path / 'ada.jsonl'}",
        "6 rows, each as it was written",
    ]
    assert [judgement.id for judgement in store.effective()] == [2, 4]


def test_the_command_tells_how_far_people_agree(store, path, capsys):
    for person, block in (("ada", True), ("bob", True), ("ada", False), ("bob", False), ("eve", True)):
        shown = {"episode": 0, "step": int(block)}
        store.add(Judgement("block", person, shown, {"block": block}, run="walk-2", latency_ms=300.0))
    run([str(path), "--agreement", "--of", "walk-2"])
    told = [line.replace("\u2502", "").split() for line in capsys.readouterr().out.splitlines()]
    assert ["block", "5", "2", "1.000"] in told
    assert ["block", "ada", "bob", "2", "100%", "1.000"] in told
    assert ["block", "ada", "eve", "1", "100%", "-"] in told
    assert ["ada", "2", "300", "300", "-", "100%", "of", "2"] in told


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--kind", "shout"], "there is no kind 'shout'.*block or compare"),
        (["--retract", "2"], "nobody takes it back.*--person"),
        (["--retract", "99", "--person", "ada"], "no judgement 99"),
        (["--last", "-1"], "-1 judgements cannot be shown"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(store, path, arguments, wrong):
    with pytest.raises(HeedError, match=wrong):
        run([str(path), *arguments])


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(HeedError, match="there is no store of judgements"):
        run([str(tmp_path / "none.db")])
    assert not list(tmp_path.iterdir())
