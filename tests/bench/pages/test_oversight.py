"""What the watch page takes: the bench measures what it says, and says what it cannot measure."""

import json
import time

import pytest

from heed.bench.pages.oversight import OversightBench, run_oversight_bench
from heed.cli.bench import run
from heed.errors import HeedError, RunFailed
from heed.oversight.store.store import Store

SLOW_S = 0.15


def test_a_slow_disk_is_seen_in_the_keys_and_is_told(monkeypatch, capsys):
    add_all, added = Store.add_all, []

    def slow(self, judgements):
        time.sleep(SLOW_S if any(not judgement.verdict.get("silent") for judgement in judgements) else 0.0)
        added.extend(judgement.key for judgement in judgements if not judgement.verdict.get("silent"))
        return add_all(self, judgements)

    monkeypatch.setattr(Store, "add_all", slow)
    run(["oversight", "--pages", "2", "--seconds", "5", "--presses", "4", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    keys, frames = rows["key to stored"], rows["frame to screen"]
    assert 0 < keys["n"] < len(set(added)) == len(added)  # the first seconds are left out
    assert 1e3 * SLOW_S < keys["ms"] <= keys["p99"] <= keys["most"]
    assert frames["n"] > 0 and frames["pages"] == 2 and frames["ms"] > 0


def test_pages_that_fail_are_told(monkeypatch):
    with pytest.raises(RunFailed, match="the pages failed: "):
        run_oversight_bench(OversightBench(pages="1", seconds=4.0, chromium="/nowhere/chromium"))


@pytest.mark.parametrize("wrong", [{"pages": "one"}, {"pages": "0"}, {"presses": 0.0}, {"seconds": 1.0}])
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(HeedError, match=r"give pages and presses above 0|is no list of numbers"):
        run_oversight_bench(OversightBench(**wrong))
