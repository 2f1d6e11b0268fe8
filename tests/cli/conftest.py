"""A place to type commands in, with everything that an engineer brings."""

import logging
import shutil
import sys

import pytest
from engineer import REWARDS, CommandLine, bring


@pytest.fixture(scope="session")
def brought(tmp_path_factory):
    return bring(tmp_path_factory.mktemp("engineer"))


@pytest.fixture
def heed(capsys, monkeypatch):
    """Types a command; what it does to the process is undone."""
    level = logging.getLogger("heed").level
    yield CommandLine(capsys)
    logging.getLogger("heed").setLevel(level)


@pytest.fixture
def desk(brought, tmp_path, monkeypatch):
    """The current folder, with the engineer's files and a module of reward functions of its own name in it."""
    for item in brought.iterdir():
        (shutil.copytree if item.is_dir() else shutil.copy)(item, tmp_path / item.name)
    (tmp_path / "rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("rewards", None)
    yield tmp_path
    sys.modules.pop("rewards", None)
