"""heed label, whole: the command, its page's socket, a stop in the middle, and what comes out to be trained on."""

from __future__ import annotations

import json
import signal

import pytest
from labelling import PATIENCE, compare, label

from heed.align.preferences import read_comparisons
from heed.cli.label import run
from heed.errors import HeedError
from heed.oversight.store.store import Store


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"prompt {n}", "completions": [f"good {n}", f"bad {n}"]} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judged(pair):
    """The good one helps more, and both are as harmless."""
    return {"help": "left" if pair["left"].startswith("good") else "right", "harmless": "tie"}


def test_a_stop_loses_nothing_and_the_end_writes_what_training_reads(pairs, tmp_path):
    out = tmp_path / "out.jsonl"
    command = ("--pairs", pairs, "--store", tmp_path / "judgements.db", "--out", out)
    process, address, token, _ = label(*command)
    compare(address, token, judged, 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 130 and "go on with the same command" in said
    assert len(read_comparisons(out)) == 2
    process, address, token, before = label(*command)
    assert "2 comparisons stand" in before
    compare(address, token, judged, 1)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0 and "everything is compared" in said and f"3 comparisons in {out}" in said
    found = read_comparisons(out)
    assert sorted(row["prompt"] for row in found) == ["prompt 0", "prompt 1", "prompt 2"]
    for row in found:
        assert row[row["verdicts"]["help"]].startswith("good") and row["verdicts"]["harmless"] == "tie"
    store = Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    assert (store.count(), store.verify(), store.runs()) == (3, 3, ["pairs.jsonl"])
    store.close()


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--times", "2"], "1 cannot judge each pair 2 times.*--times"),
        (["--next", "uncertain"], "has no score of help"),
        (["--out", "out.csv"], "not written as '.csv'"),
        (["--people", "ada,ada"], "'ada' cannot be a person's name"),
        (["--objectives", "help,help"], "cannot be the objectives"),
    ],
)
def test_what_cannot_be_labelled_is_refused_before_anything_is_made(pairs, tmp_path, flags, wrong):
    with pytest.raises(HeedError, match=wrong):
        run(["--pairs", str(pairs), "--objectives", "help", "--store", str(tmp_path / "judgements.db"), *flags])
    assert not (tmp_path / "judgements.db").exists()
