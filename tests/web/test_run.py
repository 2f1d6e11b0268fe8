"""The page of a run over real HTTP: whose token, and what policy a report has."""

from __future__ import annotations

import contextlib
import json
import urllib.parse

from run_room import RunRoom, begin

from heed.errors import HeedError

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_nothing_is_shown_without_a_token(run):
    for path in ("/api/run", "/api/run/metrics", "/api/run/report"):
        assert run.answer(path, token=None)[0] == 401
        assert run.answer(path, token=None, token_=run.people.token_of("eve"))[0] == 401  # an address is logged
        assert run.answer(path)[0] == 200
    assert run.answer("/run/report", token=None, data=b"token=guess")[0] == 401
    assert run.answer("/run/report", token="eve", data=b"name=")[0] == 401  # a form says it itself
    assert run.answer("/run", token=None)[0] == 200


def test_a_report_has_a_policy_of_its_own_and_the_page_frames_nothing_else(run):
    _, headers, body = run.answer("/api/run/report")
    assert body == "<p>run</p>"
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "sandbox", "frame-ancestors 'self'"} <= set(policy)
    assert not any(rule.startswith("script-src") for rule in policy)  # none runs
    token = urllib.parse.urlencode({"token": run.people.token_of("eve"), "name": ""}).encode()
    status, framed, body = run.answer("/run/report", token=None, data=token)
    assert (status, body, framed["Content-Security-Policy"]) == (200, "<p>run</p>", headers["Content-Security-Policy"])
    page = run.answer("/run", token=None)[1]["Content-Security-Policy"]
    assert "frame-src 'self'" in page and "style-src 'self'" in page and "unsafe" not in page
    shared = run.answer("/common.js", token=None)[1]["Content-Security-Policy"]
    assert "frame-src" not in shared and "form-action 'none'" in shared


def test_what_is_wrong_with_a_report_is_reported_not_raised(tmp_path):
    def report(folder):
        if (folder / "wrong").exists():
            raise HeedError(f"line 3 is {HOSTILE}", where="x", fix="mend it")
        raise KeyError("half written")

    with contextlib.ExitStack() as opened:
        run = RunRoom(opened, begin(tmp_path / "run"), report)
        (run.folder / "wrong").touch()
        status, _, body = run.answer("/api/run/report")
        assert status == 503 and f"line 3 is {HOSTILE}" in json.loads(body)["detail"]
        form = urllib.parse.urlencode({"token": run.people.token_of("eve")}).encode()
        status, _, body = run.answer("/run/report", token=None, data=form)
        assert status == 503 and "line 3 is &lt;/script&gt;" in body and HOSTILE not in body
        other = RunRoom(opened, begin(tmp_path / "other"), report)
        assert other.answer("/api/run/report")[0] == 503
        assert "cannot be read now (KeyError)" in json.loads(other.answer("/api/run/report")[2])["detail"]
        assert other.status()["state"] == "running"
