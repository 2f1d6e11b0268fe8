"""heed oversee, whole: the command, its page's socket, a person who blocks; what was acknowledged is in the store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from socket_person import LOOKS_S, TOO_SOON, SocketPerson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from heed.oversight.store.store import Store

TOLD = re.compile(r"(\w+) (judges|watches) at (http://\S+)/#token=(\S+)")
PATIENCE = 120.0


def oversee(*flags):
    """The command as a user starts it, and its addresses: {name: (does, address, token)}."""
    command = [sys.executable, "-m", "heed", "oversee", "--port", "0", *flags]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def addresses(process, people):
    found = {}
    while len(found) < people:
        line = process.stdout.readline()
        assert line, "it ended before it said where its page is"
        if told := TOLD.search(line):
            name, does, address, token = told.groups()
            found[name] = (does, address, token)
    return found


def test_a_person_at_the_socket_blocks_and_all_that_was_acknowledged_is_on_disk(tmp_path):
    flags = ("--steps", "40", "--oversight-steps", "30", "--learning-starts", "10", "--watchers", "eve")
    process = oversee(*flags, "--out", str(tmp_path / "run"))
    people = addresses(process, 2)
    assert {name: told[0] for name, told in people.items()} == {"overseer": "judges", "eve": "watches"}
    _, address, token = people["overseer"]
    written, framed = {}, 0
    with connect(address.replace("http", "ws") + "/watch", open_timeout=PATIENCE) as socket:
        socket.send(json.dumps({"token": token}))
        ends = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < ends:
                try:
                    message = socket.recv(timeout=0.5)
                except TimeoutError:
                    socket.send("{}")  # as the page does: it is alive
                    continue
                if isinstance(message, bytes):
                    framed += message[:2] == b"\xff\xd8"
                    continue
                message = json.loads(message)
                if "proposal" in message:
                    number = message["proposal"]["number"]
                    assert message["proposal"]["phase"] == "oversight" and message["proposal"]["framed"]
                    socket.send(json.dumps({"rendered": number}))
                    time.sleep(LOOKS_S)
                    do = "block" if number % 4 == 0 else "allow"
                    order = {"order": {"do": do, "proposal": number, "key": f"key-{number}"}}
                    socket.send(json.dumps(order))
                if TOO_SOON in message.get("refused", {}).get("why", ""):
                    time.sleep(LOOKS_S)
                    socket.send(json.dumps(order))
                if message.get("desk", {}).get("state") == "paused":
                    socket.send(json.dumps({"order": {"do": "each"}}))
                if "written" in message:
                    written[message["written"]["key"]] = message["written"]["id"]
        except ConnectionClosed:  # the run is done, and the server with it
            pass
    rest = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, rest
    assert "autonomy was never begun" in rest  # of 10 blocks no promise of 10% can be made
    assert framed == 40
    store = Store(f"sqlite:///{tmp_path / 'run' / 'judgements.db'}")
    kept = {judgement.key: judgement for judgement in store.effective()}
    assert len(kept) == 40 and store.verify() == 40
    assert {key: kept[key].id for key in written} == written and len(written) >= 39
    assert all(kept[f"key-{n}"].verdict["block"] == (n % 4 == 0) for n in range(1, 41))
    assert {judgement.person for judgement in kept.values()} == {"overseer"}


def test_a_killed_run_goes_on_with_its_person_and_keeps_what_they_said(tmp_path):
    run = str(tmp_path / "run")
    length = ("--steps", "60", "--oversight-steps", "50", "--learning-starts", "10", "--checkpoint-every", "10")
    first = oversee(*length, "--out", run)
    _, address, token = addresses(first, 1)["overseer"]

    def blocks_until_it_is_killed(shown):
        if shown["number"] == 26:
            first.kill()
        return shown["number"] % 4 == 0

    before = SocketPerson(f"{address}/#token={token}", blocks_until_it_is_killed, opened="first")
    first.communicate(timeout=PATIENCE)
    before.join(PATIENCE)
    assert first.returncode == -signal.SIGKILL and len(before.written) >= 24
    second = oversee("--resume", run)
    _, address, token = addresses(second, 1)["overseer"]
    after = SocketPerson(f"{address}/#token={token}", lambda shown: shown["number"] % 4 == 0, opened="second")
    rest = second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 0, rest
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["completed"] and summary["env_steps"] == 60
    store = Store(f"sqlite:///{tmp_path / 'run' / 'judgements.db'}")
    kept = {judgement.key: judgement for judgement in store.effective()}
    assert store.verify() == len(kept) and before.written.keys() | after.written.keys() <= kept.keys()
    assert 30 <= len(after.proposals) <= 40  # on from the last checkpoint, not from the beginning


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--overseer", "local"], "here people are the overseers"),
        (["--people", "ada,ada"], "'ada' cannot be a person's name"),
        (["--host", "203.0.113.1"], "nothing can listen at 203.0.113.1"),
    ],
)
def test_what_cannot_be_is_one_line(flags, wrong, tmp_path):
    process = oversee(*flags, "--out", str(tmp_path / "run"))
    told = process.communicate(timeout=PATIENCE)[0].strip().splitlines()
    assert process.returncode == 2
    assert wrong in told[-1] and told[-1].startswith("heed: error: ")


def test_no_scripts_overseer_is_called_browser(tmp_path):
    command = [sys.executable, "-m", "heed", "guard", "--overseer", "browser", "--out", str(tmp_path / "run")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert told.returncode == 2
    assert "people need a page to judge at (--overseer browser): run heed oversee" in told.stderr
