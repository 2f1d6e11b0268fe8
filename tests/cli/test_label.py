"""heed label, whole: the command, its page's socket, a stop in the middle, and what comes out to be trained on."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest
from labelling import PATIENCE, compare, label

from heed.align.preferences import read_comparisons
from heed.cli.label import Told, progress_lines, run
from heed.errors import HeedError
from heed.oversight.store.store import Judgement, Store
from heed.web.tokens import Tokens


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
    assert "overseer: 2 compared, median 0.0 s\n" in said
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


def given(person, pair, verdict, seconds):
    shown = {"pair": pair, "prompt": "?", "left": f"a {pair}", "right": "b", "swapped": False}
    said = {"objectives": {"help": verdict}, "unsafe": {"left": False, "right": False}}
    return Judgement("compare", person, shown, said, latency_ms=1000 * seconds)


def test_who_runs_it_is_told_of_each_person_how_many_how_fast_and_how_far_they_agree():
    ada = [given("ada", "p0", "left", 2.0), given("ada", "p1", "tie", 4.0), given("ada", "p2", "left", 9.0)]
    assert progress_lines(ada) == ["ada: 3 compared, median 4.0 s"]
    bob = [given("bob", "p0", "left", 1.25), given("bob", "p1", "right", 1.25)]
    assert progress_lines([*ada, *bob]) == [
        "ada: 3 compared, median 4.0 s; as most others say in 50% of 2 answers",
        "bob: 2 compared, median 1.2 s; as most others say in 50% of 2 answers",
    ]


def test_it_is_told_once_a_minute_at_most_where_something_is_new_and_at_the_end(monkeypatch):
    said, now, found = [], [0.0], [given("ada", "p0", "left", 2.0)]
    monkeypatch.setattr("heed.cli.label.say", said.append)
    told = Told(lambda: found, lambda: len(found), lambda: now[0])
    counts = []
    for moment, more in ((1, 0), (59, 1), (61, 0), (62, 1), (200, 0), (300, 0)):
        now[0] = float(moment)
        found += [given("ada", f"p{moment}", "left", 2.0)] * more
        told.look()
        counts.append(len(said))
    assert counts == [0, 0, 1, 1, 2, 2]
    told.look(last=True)
    assert said == ["ada: 2 compared, median 2.0 s", "ada: 3 compared, median 2.0 s"]
    found.append(given("ada", "q", "tie", 2.0))
    told.look(last=True)
    assert said[2:] == ["ada: 4 compared, median 2.0 s"]


def test_an_address_outlasts_a_restart_until_its_login_is_ended(pairs, tmp_path):
    tokens = tmp_path / "tokens.json"
    command = ("--pairs", pairs, "--store", tmp_path / "judgements.db", "--people", "ada,bob", "--tokens", tokens)
    found = {}
    for turn, more in {"first": (), "again": ("--host", "0.0.0.0"), "revoked": ("--revoke", "ada")}.items():
        process, _, token, before = label(*command, *more)
        process.send_signal(signal.SIGINT)
        found[turn] = token, before + process.communicate(timeout=PATIENCE)[0]
    assert found["first"][0] == found["again"][0] != found["revoked"][0]  # the first one told is ada, then bob
    assert "bob compares at" in found["revoked"][1] and "ada compares at" not in found["revoked"][1]
    assert "ada has no login, as it was revoked: --rotate ada gives a new one" in found["revoked"][1]
    assert ["in the clear" in text for _, text in found.values()] == [False, True, False]


def test_addresses_are_told_once_they_answer(pairs, tmp_path):
    process, address, _, _ = label("--pairs", pairs, "--store", tmp_path / "judgements.db")
    with urllib.request.urlopen(f"{address}/health") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--revoke", "ada"], "each start gives everybody a fresh token.*--revoke"),
        (["--tls-cert", "cert.pem"], "a certificate and its key are needed.*--tls-cert, --tls-key"),
        (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "TLS cannot be served"),
        (["--guidelines", "none.md"], "the guidelines cannot be read"),
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


@pytest.mark.parametrize("more", [["--pairs", "none.jsonl"], ["--times", "2"], ["--host", "203.0.113.1"]])
@pytest.mark.parametrize("option", ["--rotate", "--revoke"])
def test_what_is_refused_leaves_everybodys_address_as_it_was(pairs, tmp_path, more, option):
    tokens = tmp_path / "tokens.json"
    command = ["--pairs", str(pairs), "--objectives", "help", "--store", str(tmp_path / "judgements.db")]
    with pytest.raises(HeedError):
        run([*command, "--people", "ada", "--tokens", str(tokens), *more])
    assert not tokens.exists()
    Tokens(tokens).people(["ada", "bob"])
    before = tokens.read_text()
    with pytest.raises(HeedError):
        run([*command, "--people", "ada", "--tokens", str(tokens), option, "bob", *more])
    assert tokens.read_text() == before
