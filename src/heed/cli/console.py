"""What the commands show: one console, progress bars, and a quiet way to stop."""

from __future__ import annotations

import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
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

console = Console(stderr=True, highlight=False)


LOOK_S = 0.2
"""Seconds between two looks at whether to stop."""


def say(text: str) -> None:
    """One line on standard error, never broken, so that paths in it can be copied."""
    console.print(text, soft_wrap=True, markup=False)


def say_revoked(asked: Iterable[str], there: Collection[str]) -> None:
    """Say whom a command was asked to let in, and who stays outside."""
    for name in asked:
        if name not in there:
            say(f"{name} has no login, as it was revoked: --rotate {name} gives a new one")


def quiet_libraries() -> None:
    """Say what heed has to say; keep the libraries' deprecations and progress bars to themselves."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    logging.getLogger("heed").setLevel(logging.INFO)


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
            disable=not console.is_terminal,
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
        if not console.is_terminal and tenth != self._said.get(name):
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


def wait_until_stopped(done: Callable[[], bool] = lambda: False) -> None:
    """Wait for Ctrl-C or SIGTERM, or until something is done."""
    with stopping_at_rounds("stopping") as wanted:
        while not wanted and not done():
            time.sleep(LOOK_S)
