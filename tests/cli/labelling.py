"""heed label as a user starts it, and a person who speaks its page's protocol."""

import json
import os
import re
import subprocess
import sys
import uuid

from websockets.sync.client import connect

TOLD = re.compile(r"(\w+) compares at (http://\S+)/#token=(\S+)")
PATIENCE = 120.0


def label(*flags):
    """Start the command with one person: the process, where and as whom they compare, and what was said before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "heed", "label", "--objectives", "help,harmless", "--port", "0", *map(str, flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    said = []
    while not (told := TOLD.search(said[-1] if said else "")):
        said.append(process.stdout.readline())
        assert said[-1], f"it ended before it said where its page is: {said}"
    return process, told[2], told[3], "".join(said)


def compare(address, token, judge, count):
    """Compare some pairs.

    Args:
        judge: a pair as the page shows it -> a verdict by each objective.

    Returns:
        The pairs, in the order in which they were shown.
    """
    shown = []
    with connect(address.replace("http", "ws") + "/compare", open_timeout=PATIENCE) as socket:
        socket.send(json.dumps({"token": token}))
        written = 0
        while written < count:
            message = json.loads(socket.recv(timeout=PATIENCE))
            written += "written" in message
            if message.get("pair") and written < count:
                pair = message["pair"]
                shown.append(pair)
                said = {"pair": pair["pair"], "objectives": judge(pair), "key": str(uuid.uuid4())}
                said |= {"unsafe": {"left": False, "right": False}, "latency_ms": 10.0}
                socket.send(json.dumps({"compared": said}))
    return shown
