"""The page of a run over real HTTP: whose token, what is new, what is thinned, and what may be wrong with the files."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import threading
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest

from heed.errors import HeedError
from heed.web import curves as curves_module
from heed.web.app import create_app
from heed.web.curves import Curves, thin
from heed.web.people import People
from heed.web.run import add_run
from heed.web.run_reports import Reports
from heed.web.run_view import QUIET_S, RunView
from heed.web.serving import serving

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Room:
    """A served folder, and who asks."""

    def __init__(self, opened, folder, report=lambda folder: f"<p>{folder.name}</p>"):
        self.folder, self.people = folder, People.named(["ada"], watchers=["eve"])
        app = create_app()
        add_run(app, folder, self.people, report)
        self.address = opened.enter_context(serving(app))

    def answer(self, path, token="eve", data=None, **parameters):
        headers = {} if token is None else {"Authorization": f"Bearer {self.people.token_of(token)}"}
        address = f"{self.address}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def ask(self, path, **parameters):
        status, _, body = self.answer(path, **parameters)
        assert status == 200, body
        return json.loads(body)

    def metrics(self, since="", name=""):
        return self.ask("/api/run/metrics", since=since, name=name)

    def told(self, name=""):
        return self.ask("/api/run", name=name)


def begin(folder, config="steps: 100\n", **summary):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"kind": "guard", "completed": False} | summary))
    (folder / "config.yaml").write_text(config)
    return folder


def log(folder, *lines, end="\n"):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end)


@pytest.fixture
def room(tmp_path):
    with contextlib.ExitStack() as opened:
        yield Room(opened, begin(tmp_path / "run"))


def test_nothing_is_told_without_a_token(room):
    for path in ("/api/run", "/api/run/metrics", "/api/run/report"):
        assert room.answer(path, token=None)[0] == 401
        assert room.answer(path, token=None, token_=room.people.token_of("eve"))[0] == 401  # an address is logged
        assert room.answer(path)[0] == 200
    assert room.answer("/run/report", token=None, data=b"token=guess")[0] == 401
    assert room.answer("/run/report", token="eve", data=b"name=")[0] == 401  # a form says it itself
    assert room.answer("/run", token=None)[0] == 200


def test_a_cursor_brings_only_what_came_since(room):
    log(room.folder, {"step": 1, "kl": 0.5}, {"step": 2, "kl": 0.25, "blocks": 3})
    first = room.metrics()
    assert first["fresh"] and first["curves"] == {
        "kl": {"steps": [1, 2], "values": [0.5, 0.25]},
        "blocks": {"steps": [2], "values": [3]},
    }
    nothing = room.metrics(first["cursor"])
    assert (nothing["fresh"], nothing["curves"], nothing["cursor"]) == (False, {}, first["cursor"])
    log(room.folder, {"step": 3, "blocks": 4})
    then = room.metrics(first["cursor"])
    assert (then["fresh"], then["curves"]) == (False, {"blocks": {"steps": [3], "values": [4]}})
    assert room.metrics()["curves"]["blocks"] == {"steps": [2, 3], "values": [3, 4]}  # another page begins at the start


def test_half_a_line_waits_for_its_other_half(room):
    log(room.folder, {"step": 1, "kl": 1.0})
    log(room.folder, '{"step": 2, "k', end="")
    first = room.metrics()
    assert first["curves"]["kl"]["steps"] == [1] and first["unread"] == 0
    log(room.folder, 'l": 2.0}')
    then = room.metrics(first["cursor"])
    assert then["curves"]["kl"] == {"steps": [2], "values": [2.0]} and then["unread"] == 0


def test_what_is_not_finite_is_a_gap_and_what_is_no_metric_is_counted(room):
    log(
        room.folder,
        {"step": 1, "kl": None, "who": "a text", "flag": True, "list": [1]},
        '{"step": 2, "kl": NaN}',
        '{"step": 3, "kl": Infinity}',
        '{"step": 4, "kl": 1' + "0" * 400 + "}",
        *("not JSON", "[1]", '{"kl": 1}', '{"step": null, "kl": 1}', "[" * 5000, '{"step": 1' + "0" * 5000 + "}", ""),
        {"step": 5, "kl": 0.5},
    )
    told = room.metrics()
    assert told["curves"] == {"kl": {"steps": [1, 2, 3, 4, 5], "values": [None, None, None, None, 0.5]}}
    assert told["unread"] == 7


def test_a_run_of_many_lines_is_thinned_to_its_shape(room, monkeypatch):
    monkeypatch.setattr(curves_module, "CHUNK", 100_000)
    values = np.random.default_rng(0).normal(size=40_000)
    values[[12_345, 30_001]] = 50.0, -50.0  # spikes of one step each
    log(room.folder, *({"step": step, "return": value} for step, value in enumerate(values)))
    told, answers = room.metrics(), 1
    while told["more"]:
        told, answers = room.metrics(told["cursor"]), answers + 1
    assert answers > 10  # each in bounded time
    whole = room.metrics()["curves"]["return"]
    steps, shown = whole["steps"], whole["values"]
    assert 100 < len(steps) <= curves_module.SHOWN
    assert steps == sorted(set(steps)) and (steps[0], steps[-1]) == (0, 39_999)
    assert all(values[step] == value for step, value in zip(map(int, steps), shown, strict=True))  # points, no means
    assert {12_345: 50.0, 30_001: -50.0}.items() <= dict(zip(steps, shown, strict=True)).items()
    assert len(room.answer("/api/run/metrics")[2]) < 40_000


@pytest.mark.parametrize("seed", range(5))
def test_thinning_keeps_first_last_least_and_greatest_of_every_stretch(seed):
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.integers(1, 9, 3000))
    values = rng.normal(size=3000)
    values[rng.integers(0, 3000, 100)] = np.nan
    kept = thin(places, values, 100)
    assert len(kept) <= 100 and (np.diff(kept) > 0).all()
    stretch = (places - places[0]) * 20 // (places[-1] - places[0] + 1)
    for which in range(20):
        inside, stays = np.flatnonzero(stretch == which), kept[stretch[kept] == which]
        assert {inside[0], inside[-1]} <= set(stays)
        assert np.nanmin(values[inside]) == np.nanmin(values[stays])
        assert np.nanmax(values[inside]) == np.nanmax(values[stays])
        assert np.isnan(values[inside]).any() == np.isnan(values[stays]).any()


def test_metrics_without_end_are_bounded_and_counted(room, monkeypatch):
    monkeypatch.setattr(curves_module, "CURVES", 5)
    log(room.folder, {"step": 1} | {f"m{index}": index for index in range(9)}, {"step": 2, "x" * 300: 1, "m0": 7})
    told = room.metrics()
    assert list(told["curves"]) == ["m0", "m1", "m2", "m3", "m4"] and told["left_out"] == 5
    assert told["curves"]["m0"]["values"] == [0, 7]


def test_a_resumed_run_that_was_cut_back_is_told_afresh(room):
    log(room.folder, *({"step": step, "kl": float(step)} for step in (1, 2, 3)))
    first = room.metrics()
    (room.folder / "metrics.jsonl").unlink()
    log(room.folder, {"step": 1, "kl": 1.0}, *({"step": step, "kl": step / 2} for step in range(2, 9)))  # longer by now
    then = room.metrics(first["cursor"])
    assert then["fresh"] and then["curves"]["kl"]["values"] == [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_a_folder_that_is_not_there_yet_and_one_that_goes_are_told(tmp_path):
    with contextlib.ExitStack() as opened:
        room = Room(opened, tmp_path / "later")
        assert (room.told()["state"], room.told()["step"], room.metrics()["curves"]) == ("absent", None, {})
        begin(room.folder)
        assert (room.told()["state"], room.told()["step"], room.told()["steps"]) == ("running", 0, 100)
        log(room.folder, {"step": 30, "kl": 1.0})
        first = room.metrics()
        assert room.told()["step"] == 30
        shutil.rmtree(room.folder)
        assert room.told()["state"] == "absent"
        gone = room.metrics(first["cursor"])
        assert gone["fresh"] and gone["curves"] == {}
        log(begin(room.folder), {"step": 7, "kl": 2.0})
        assert room.metrics(gone["cursor"])["curves"]["kl"]["steps"] == [7]


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
    told = at(1010, step=20, kl=1.0)
    assert (told["rate"], told["left_s"], told["step"]) == (2.0, 40.0, 20)  # since it began
    told = at(1020, step=60, kl=1.0)
    assert (told["rate"], told["left_s"], told["state"]) == (4.0, 10.0, "running")  # of late
    told = at(1021 + QUIET_S)
    assert (told["state"], told["quiet_s"]) == ("quiet", 1 + QUIET_S)
    begin(folder, completed=True, steps=80, seconds=160.0, kind="align")
    told = at(now[0] + 1)
    assert (told["state"], told["step"], told["rate"], told["left_s"], told["kind"]) == (
        *("completed", 80, 0.5),
        *(None, "align"),
    )


def test_config_and_summary_are_rows_of_text_whatever_is_in_them(room):
    begin(
        room.folder,
        f"{HOSTILE!r}: {{a: [1, {HOSTILE!r}], b: null}}\nlong: {'x' * 2000}\n",
        catastrophes={"oversight": 3},
    )
    told = room.told()
    rows = dict(told["config"])
    assert rows[f"{HOSTILE}.a"] == json.dumps([1, HOSTILE]) and rows[f"{HOSTILE}.b"] == "null"
    assert len(rows["long"]) < 600
    assert ["catastrophes.oversight", "3"] in told["summary"] and told["problems"] == []
    (room.folder / "config.yaml").write_text("{")
    (room.folder / "summary.json").write_text("[1]")
    told = room.told()
    assert told["problems"] == ["config.yaml: this is not YAML", "summary.json: this is not a JSON object"]
    assert told["config"] == [] and told["steps"] is None


def test_a_number_beyond_all_floats_is_not_known(room):
    begin(room.folder, f"steps: {10**400}\n", completed=True, steps=10**400, seconds=1.0)
    told = room.told()
    assert (told["state"], told["steps"], told["step"], told["rate"]) == ("completed", None, None, None)


def test_runs_within_a_comparison_are_told_by_name_and_no_other_path_is_read(tmp_path):
    with contextlib.ExitStack() as opened:
        room = Room(opened, begin(tmp_path / "table"))
        log(begin(tmp_path / "outside"), {"step": 1, "kl": 1.0})
        for seed in (0, 1):
            log(begin(room.folder / "runs" / f"mbhi-seed{seed}"), {"step": 10 + seed, "blocks": seed})
        assert room.told()["runs"] == ["runs/mbhi-seed0", "runs/mbhi-seed1"]
        assert room.metrics(name="runs/mbhi-seed1")["curves"]["blocks"] == {"steps": [11], "values": [1]}
        assert room.told("runs/mbhi-seed1")["step"] == 11
        assert room.answer("/api/run/report", name="runs/mbhi-seed0")[2] == "<p>mbhi-seed0</p>"
        for name in ("../outside", "runs", "runs/mbhi-seed1/", str(tmp_path / "outside"), "runs/../../outside"):
            assert room.answer("/api/run/metrics", name=name)[0] == 404


def test_a_report_has_a_policy_of_its_own_and_the_page_frames_nothing_else(room):
    _, headers, body = room.answer("/api/run/report")
    assert body == "<p>run</p>"
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "sandbox", "frame-ancestors 'self'"} <= set(policy)
    assert not any(rule.startswith("script-src") for rule in policy)  # none runs
    token = urllib.parse.urlencode({"token": room.people.token_of("eve"), "name": ""}).encode()
    status, framed, body = room.answer("/run/report", token=None, data=token)
    assert (status, body, framed["Content-Security-Policy"]) == (200, "<p>run</p>", headers["Content-Security-Policy"])
    page = room.answer("/run", token=None)[1]["Content-Security-Policy"]
    assert "frame-src 'self'" in page and "style-src 'self'" in page and "unsafe" not in page
    shared = room.answer("/common.js", token=None)[1]["Content-Security-Policy"]
    assert "frame-src" not in shared and "form-action 'none'" in shared


def test_what_is_wrong_with_a_report_is_told_not_raised(tmp_path):
    def report(folder):
        if (folder / "wrong").exists():
            raise HeedError(f"line 3 is {HOSTILE}", where="x", fix="mend it")
        raise KeyError("half written")

    with contextlib.ExitStack() as opened:
        room = Room(opened, begin(tmp_path / "run"), report)
        (room.folder / "wrong").touch()
        status, _, body = room.answer("/api/run/report")
        assert status == 503 and f"line 3 is {HOSTILE}" in json.loads(body)["detail"]
        form = urllib.parse.urlencode({"token": room.people.token_of("eve")}).encode()
        status, _, body = room.answer("/run/report", token=None, data=form)
        assert status == 503 and "line 3 is &lt;/script&gt;" in body and HOSTILE not in body
        other = Room(opened, begin(tmp_path / "other"), report)
        assert other.answer("/api/run/report")[0] == 503
        assert "cannot be read now (KeyError)" in json.loads(other.answer("/api/run/report")[2])["detail"]
        assert other.told()["state"] == "running"


def test_a_report_is_made_again_only_when_the_run_moved_and_not_too_often(tmp_path):
    now, made = [0.0], []

    def report(folder):
        made.append(now[0])
        return f"report {len(made)}"

    view = RunView(begin(tmp_path / "run"))
    reports = Reports(report, every=30.0, clock=lambda: now[0])
    assert reports.of(view).page == "report 1"
    now[0] = 100.0
    assert reports.of(view).page == "report 1"  # nothing has changed
    log(view.folder, {"step": 1, "kl": 1.0})
    assert reports.of(view).page == "report 2"
    log(view.folder, {"step": 2, "kl": 1.0})
    now[0] = 129.0
    assert reports.of(view).page == "report 2"  # too soon
    now[0] = 130.0
    assert reports.of(view).page == "report 3"
    assert made == [0.0, 100.0, 130.0]


def test_one_report_is_made_at_a_time(tmp_path):
    begun, going_on, count = threading.Event(), threading.Event(), []

    def report(folder):
        count.append(folder.name)
        begun.set()
        assert going_on.wait(10)
        return "the report"

    reports, view, found = Reports(report), RunView(begin(tmp_path / "run")), []
    threads = [threading.Thread(target=lambda: found.append(reports.of(view).page)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    going_on.set()
    for thread in threads:
        thread.join(10)
    assert found == ["the report"] * 3 and count == ["run"]


def test_many_lines_are_read_once(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}, "kl": {step % 997}}}\n' for step in range(100_000)))
    curves, cursor = Curves(path), ""
    while (told := curves.since(cursor))["more"]:
        cursor = told["cursor"]
    read, record = [], curves_module._record
    monkeypatch.setattr(curves_module, "_record", lambda line: read.append(line) or record(line))
    for _ in range(20):
        curves.since(told["cursor"])
    log(tmp_path, {"step": 100_000, "kl": 0})
    curves.since(told["cursor"])
    assert read == [b'{"step": 100000, "kl": 0}']
    whole = curves.since("")["curves"]["kl"]
    assert (max(whole["values"]), min(whole["values"]), len(whole["steps"]) <= curves_module.SHOWN) == (996, 0, True)
    assert not any(math.isnan(value) for value in whole["values"])
