"""What stands under a guard, tried: environments and their pictures, the learner, the store, the port, a guard."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

from heed.cli.doctor.draw import STEPS
from heed.errors import HeedError
from heed.oversight.store.store import Judgement, Store

LONGEST_S = 120
"""Seconds after which a trial is given up."""
PORT = 8000
"""Where pages are served unless told otherwise."""


@dataclass(frozen=True)
class Simulator:
    """A package that environments of Gymnasium stand on.

    Args:
        package: as Python imports it.
        env: one of these environments.
        extra: of Gymnasium, that brings it.
        undrawn: what to do where it steps and draws nothing.
    """

    package: str
    env: str
    extra: str
    undrawn: str = "install it anew"

    @property
    def install(self) -> str:
        """How it is installed."""
        return f"pip install 'gymnasium[{self.extra}]'"


SIMULATORS = (
    Simulator("pygame", "CartPole-v1", "classic-control"),
    Simulator("Box2D", "LunarLander-v3", "box2d", "it is drawn by pygame: pip install 'gymnasium[classic-control]'"),
    Simulator("mujoco", "InvertedPendulum-v5", "mujoco", "set MUJOCO_GL=egl (it needs libegl1)"),
)


def works() -> bool:
    """Try all and say a line of each; whether what is installed works."""
    found = [*map(simulates, SIMULATORS), learns(), keeps_judgements(Path.cwd())]
    tell_port(PORT)
    return all([*found, looks()])


def simulates(simulator: Simulator) -> bool:
    """Whether an environment steps, if it is there at all; a picture it can do without."""
    name = f"  {simulator.env} ({simulator.package})"
    if find_spec(simulator.package) is None:
        print(f"{name}: not installed: {simulator.install}")
        return True
    told, wrong = tried("draw", simulator.env)
    if STEPS not in told:
        print(f"{name}: does not step ({wrong}): {simulator.install}")
        return False
    picture = f"but is not drawn ({wrong}): {simulator.undrawn}" if wrong else f"drawn {told[-1]}"
    print(f"{name}: steps, {picture}")
    return True


def learns() -> bool:
    """Whether Stable-Baselines3 trains with the Gymnasium that is there."""
    asked = [each.split(";")[0].strip() for each in requires("stable-baselines3") or () if each.startswith("gymnasium")]
    pair = f"  stable-baselines3 {version('stable-baselines3')} with gymnasium {version('gymnasium')}"
    _, wrong = tried("learn")
    print(f"{pair}: does not learn ({wrong}): pip install '{asked[0]}'" if wrong else f"{pair}: learns ({asked[0]})")
    return not wrong


def keeps_judgements(folder: Path) -> bool:
    """Whether a store can be made in a folder, written and read."""
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            store = Store(f"sqlite:///{place}/judgements.db")
            store.add(Judgement("block", "doctor", shown={}, verdict={"block": True}))
            rows = store.verify()
            store.close()
    except (OSError, HeedError) as error:
        print(f"  judgements cannot be kept in {folder} ({error}): go where files can be written, or give --store")
        return False
    print(f"  judgements can be kept in {folder} (SQLite {sqlite3.sqlite_version}, {rows} row written and verified)")
    return True


def tell_port(port: int) -> None:
    """Say whether pages can be served at their usual port; another will do."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            bound.bind(("127.0.0.1", port))
        except OSError as error:
            print(f"  port {port} cannot be had ({error.strerror}): give pages another by --port, or 0 for a free one")
        else:
            print(f"  port {port} is free for pages")


def looks() -> bool:
    """Whether a guard learns from a few judgements and looks ahead."""
    told, wrong = tried("look")
    print(f"  a guard's trial fails: {wrong}" if wrong else f"  a guard's trial: {told[-1]}")
    return not wrong


def tried(trial: str, *arguments: str) -> tuple[list[str], str]:
    """What a trial prints, line by line, and what it failed of; "" where it did not.

    Args:
        trial: a module beside this one, run in a process of its own: what it tries may end the process.
        arguments: its.
    """
    line = [sys.executable, "-m", f"heed.cli.doctor.{trial}", *arguments]
    try:
        ran = subprocess.run(line, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return [], f"nothing in {LONGEST_S} s"
    if ran.returncode == 0:
        return ran.stdout.splitlines(), ""
    reasons = ran.stderr.strip().splitlines()
    ended = signal.Signals(-ran.returncode).name if ran.returncode < 0 else f"exit code {ran.returncode}"
    wrong = reasons[-1] if reasons and ran.returncode > 0 else ended
    return ran.stdout.splitlines(), textwrap.shorten(wrong, 120)
