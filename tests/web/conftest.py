"""What the tests of every page's server share."""

from __future__ import annotations

import contextlib

import pytest
from echo_room import EchoRoom
from run_room import RunRoom, begin


@pytest.fixture
def echo_room():
    """Makes servers that send back what they receive: ``echo_room(only_judges, **limits)``."""
    with contextlib.ExitStack() as opened:
        yield lambda *options, **limits: EchoRoom(opened, *options, **limits)


@pytest.fixture
def run(tmp_path):
    """A served run that has begun."""
    with contextlib.ExitStack() as opened:
        yield RunRoom(opened, begin(tmp_path / "run"))
