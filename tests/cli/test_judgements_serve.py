"""heed judgements --serve, whole: the command, its addresses, what is asked of them; Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

from heed.oversight.store.store import Judgement, Store

TOLD = re.compile(r"(\w+) looks at (http://\S+)/judgements#token=(\S+)")
PATIENCE = 60.0


def test_a_store_is_served_to_each_person_until_ctrl_c(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'judgements.db'}")
    store.add(Judgement("block", "ada", {"step": 1}, {"block": True}))
    command = [sys.executable, "-m", "heed", "judgements", str(tmp_path / "judgements.db"), "--serve", "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"}
    process = subprocess.Popen(
        [*command, "--people", "ada, bob"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    found = {}
    while len(found) < 2:
        line = process.stdout.readline()
        assert line, "it ended before it said where its page is"
        if told := TOLD.search(line):
            found[told[1]] = told.groups()[1:]
    address, token = found["bob"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        asked = urllib.request.Request(f"{address}/api/judgements/1/retract", b'{"why": "mistaken"}', headers)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            assert json.loads(answer.read())["retraction"]["person"] == "bob"
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and store.effective() == [] and store.verify() == 2
    store.close()
