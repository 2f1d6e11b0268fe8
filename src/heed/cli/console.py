"""What the commands show: one console, progress bars, and a quiet way to stop."""

from __future__ import annotations

import logging
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from heed import __version__

console = Console(stderr=True, highlight=False)

log = logging.getLogger("heed")
"""Its level is how much is told: `heed.cli.main` sets it."""

LOOK_S = 0.2
"""Seconds between two looks at whether to stop."""


def quiet() -> bool:
    """Whether ``--quiet`` asked for results and errors alone."""
    return log.level > logging.INFO


def say(text: str, needed: bool = False, style: str | None = None) -> None:
    """One line on standard error, never broken, so that paths in it can be copied.

    Args:
        text: the line.
        needed: without it nothing can be done, such as a page's address: said with ``--quiet`` too.
        style: rich's.
    """
    if needed or not quiet():
        console.print(text, soft_wrap=True, markup=False, style=style)


def say_revoked(asked: Iterable[str], there: Collection[str]) -> None:
    """Say whom a command was asked to let in, and who stays outside."""
    for name in asked:
        if name not in there:
            say(f"{name} has no login, as it was revoked: --rotate {name} gives a new one")


def quiet_libraries() -> None:
    """Say what heed has to say; keep the libraries' deprecations and progress bars to themselves.

    ``--verbose`` tells the deprecations too.
    """
    if log.level != logging.DEBUG:
        warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    log.debug("heed %s, Python %s, %s", __version__, platform.python_version(), platform.platform())


class Bar:
    """A progress bar with rate, time left and the numbers that matter; plain lines where there is no terminal.

    Args:
        title: what goes on.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            disable=quiet() or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def show(self, name: str, done: int, total: int, numbers: str = "") -> None:
        """Move the bar of one stage."""
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=total, rate="", numbers="")
        task = self._tasks[name]
        speed = self.progress.tasks[task].speed
        rate = f"{speed:.2f}/s" if speed else ""
        self.progress.update(task, completed=done, total=total, numbers=numbers, rate=rate)
        tenth = 10 * done // max(total, 1)
        if not quiet() and not console.is_terminal and tenth != self._said.get(name):
            self._said[name] = tenth
            print(f"{name}: {done}/{total} {numbers}".rstrip(), file=sys.stderr, flush=True)


@contextmanager
def stopping_at_rounds(
    words: str = "stopping after this round (Ctrl-C again stops at once)",
) -> Iterator[list[bool]]:
    """Within: Ctrl-C, or a scheduler's SIGTERM, only raises a flag, so that a round in progress ends whole.

    A second one stops at once. Whoever starts a job in the background may have its Ctrl-C ignored: not here.

    Args:
        words: said at the first.
    """
    wanted: list[bool] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal calls
        if wanted:
            raise KeyboardInterrupt
        wanted.append(True)
        say(words)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def wait_until_stopped(wanted: Sequence[bool], done: Callable[[], bool] = lambda: False) -> None:
    """Wait until a stop is wanted, as `stopping_at_rounds` notes it, or until something is done."""
    while not wanted and not done():
        time.sleep(LOOK_S)
