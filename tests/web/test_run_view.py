"""What a run is and how far it has come, whatever is in its folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil

from run_room import RunRoom, begin, log

from heed.web.run_view import QUIET_S, RunView

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_a_folder_that_is_not_there_yet_and_one_that_goes_are_reported(tmp_path):
    with contextlib.ExitStack() as opened:
        run = RunRoom(opened, tmp_path / "later")
        assert (run.status()["state"], run.status()["step"], run.metrics()["curves"]) == (
            "absent",
            None,
            {},
        )
        begin(run.folder)
        assert (run.status()["state"], run.status()["step"], run.status()["steps"]) == (
            "running",
            0,
            100,
        )
        log(run.folder, {"step": 30, "kl": 1.0})
        first = run.metrics()
        assert run.status()["step"] == 30
        shutil.rmtree(run.folder)
        assert run.status()["state"] == "absent"
        gone = run.metrics(first["cursor"])
        assert gone["fresh"] and gone["curves"] == {}
        log(begin(run.folder), {"step": 7, "kl": 2.0})
        assert run.metrics(gone["cursor"])["curves"]["kl"]["steps"] == [7]


def test_how_far_a_run_is_and_how_long_it_takes(tmp_path):
    now = [1000.0]
    folder = begin(tmp_path / "run", "steps: 100\nmethod: mbhi\n")
    view = RunView(folder, clock=lambda: now[0])

    def at(seconds, **line):
        if line:
            log(folder, line)
            os.utime(folder / "metrics.jsonl", (seconds, seconds))
        now[0] = seconds
        return view.status()

    for name in ("config.yaml", "summary.json"):
        os.utime(folder / name, (1000.0, 1000.0))
    assert (at(1001)["rate"], at(1001)["left_s"], at(1001)["step"]) == (None, None, 0)
    found = at(1010, step=20, kl=1.0)
    assert (found["rate"], found["left_s"], found["step"]) == (2.0, 40.0, 20)  # since it began
    found = at(1020, step=60, kl=1.0)
    assert (found["rate"], found["left_s"], found["state"]) == (4.0, 10.0, "running")  # of late
    found = at(1021 + QUIET_S)
    assert (found["state"], found["quiet_s"]) == ("quiet", 1 + QUIET_S)
    begin(folder, completed=True, steps=80, seconds=160.0, kind="align")
    found = at(now[0] + 1)
    assert (found["state"], found["step"], found["rate"], found["left_s"], found["kind"]) == (
        *("completed", 80, 0.5),
        *(None, "align"),
    )


def test_config_and_summary_are_rows_of_text_whatever_is_in_them(run):
    begin(
        run.folder,
        f"{HOSTILE!r}: {{a: [1, {HOSTILE!r}], b: null}}\nlong: {'x' * 2000}\n",
        catastrophes={"oversight": 3},
    )
    found = run.status()
    rows = dict(found["config"])
    assert rows[f"{HOSTILE}.a"] == json.dumps([1, HOSTILE]) and rows[f"{HOSTILE}.b"] == "null"
    assert len(rows["long"]) < 600
    assert ["catastrophes.oversight", "3"] in found["summary"] and found["problems"] == []
    (run.folder / "config.yaml").write_text("{")
    (run.folder / "summary.json").write_text("[1]")
    found = run.status()
    assert found["problems"] == ["config.yaml: this is not YAML", "summary.json: this is not a JSON object"]
    assert found["config"] == [] and found["steps"] is None


def test_a_number_beyond_all_floats_is_not_known(run):
    begin(run.folder, f"steps: {10**400}\n", completed=True, steps=10**400, seconds=1.0)
    found = run.status()
    assert (found["state"], found["steps"], found["step"], found["rate"]) == ("completed", None, None, None)


def test_runs_within_a_comparison_are_listed_by_name_and_no_other_path_is_read(tmp_path):
    with contextlib.ExitStack() as opened:
        run = RunRoom(opened, begin(tmp_path / "table"))
        log(begin(tmp_path / "outside"), {"step": 1, "kl": 1.0})
        for seed in (0, 1):
            log(begin(run.folder / "runs" / f"mbhi-seed{seed}"), {"step": 10 + seed, "blocks": seed})
        assert run.status()["runs"] == ["runs/mbhi-seed0", "runs/mbhi-seed1"]
        assert run.metrics(name="runs/mbhi-seed1")["curves"]["blocks"] == {"steps": [11], "values": [1]}
        assert run.status("runs/mbhi-seed1")["step"] == 11
        assert run.answer("/api/run/report", name="runs/mbhi-seed0")[2] == "<p>mbhi-seed0</p>"
        for name in ("../outside", "runs", "runs/mbhi-seed1/", str(tmp_path / "outside"), "runs/../../outside"):
            assert run.answer("/api/run/metrics", name=name)[0] == 404
