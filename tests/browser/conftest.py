"""What the browser tests share: one chromium for each module, and the served pages that they open."""

from __future__ import annotations

import contextlib
import shutil

import pytest
from compare_room import CompareRoom
from watched_agent import Watched

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",  # containers run it as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, headless, which asks nothing of the network."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        assert CHROMIUM is not None, "these tests need chromium: apt-get install chromium"
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def watching(browser):
    """Makes served overseers with their agents: ``watching(pace, **of_the_agent)``."""
    with contextlib.ExitStack() as opened:

        def make(pace=None, **agent):
            return opened.enter_context(Watched(browser, pace, **agent))

        yield make


@pytest.fixture
def comparing(browser, tmp_path):
    """Makes served pairs: ``comparing(pairs, objectives, **of_comparing)``."""
    with contextlib.ExitStack() as opened:

        def make(*asked, **options):
            return opened.enter_context(CompareRoom(browser, tmp_path / "judgements.db", *asked, **options))

        yield make
