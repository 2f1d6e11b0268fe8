"""heed report --serve, whole: the command, its addresses, a run that grows; Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

TOLD = re.compile(r"(\w+) watches .* at (http://\S+)/run#token=(\S+)")
PATIENCE = 60.0


def report(*flags):
    command = [sys.executable, "-m", "heed", "report", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def test_a_run_is_served_to_each_person_until_ctrl_c(tmp_path):
    run = tmp_path / "run"
    process = report(str(run), "--serve", "--port", "0", "--people", "eve, bob")
    found = {}
    while len(found) < 2:
        line = process.stdout.readline()
        assert line, "it ended before it said where its page is"
        if told := TOLD.search(line):
            found[told[1]] = told.groups()[1:]
    assert set(found) == {"eve", "bob"}
    address, token = found["bob"]

    def ask(path):
        request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    try:
        assert json.loads(ask("/api/run"))["state"] == "absent"
        run.mkdir()
        (run / "summary.json").write_text('{"kind": "align", "completed": false}')
        (run / "config.yaml").write_text("method: gapo\nsteps: 9\n")
        (run / "metrics.jsonl").write_text('{"step": 1, "rewards/help/mean": 0.25}\n')
        assert json.loads(ask("/api/run/metrics"))["curves"]["rewards/help/mean"]["values"] == [0.25]
        told = json.loads(ask("/api/run"))
        assert (told["step"], told["steps"], told["kind"]) == (1, 9, "align")
        page = ask("/api/run/report")
        assert "<title>" in page and "gapo" in page.lower() and "help" in page
        assert sorted(file.name for file in run.iterdir()) == ["config.yaml", "metrics.jsonl", "summary.json"]
    finally:
        process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0 and "the run itself goes on" in told
    with pytest.raises(urllib.error.URLError):
        ask("/api/run")


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--people", "ada,ada"], "'ada' cannot be a person's name"),
        (["--people", ","], "nobody could look"),
        (["--host", "203.0.113.1"], "nothing can listen at 203.0.113.1"),
    ],
)
def test_what_cannot_be_served_is_one_line(flags, wrong, heed, tmp_path):
    assert wrong in heed.refused("report", tmp_path, "--serve", *flags)
