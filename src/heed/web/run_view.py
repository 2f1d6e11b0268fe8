"""What a run is and how far it has come, from its folder; whoever writes the run knows nothing of it."""

from __future__ import annotations

import itertools
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from heed.errors import HeedError
from heed.runs.config import read_yaml
from heed.runs.folder import CONFIG, METRICS, SUMMARY
from heed.web.curves import Curves, as_number

QUIET_S = 120.0
"""Seconds without news after which a run that has not ended counts as quiet."""
SHORTEST_S = 1.0
"""Seconds from which on there is a rate."""
LARGEST_FILE = 1 << 20
"""Bytes of a config or summary that are read."""
ROWS = 400
"""Settings and results that are listed."""
LONGEST_TEXT = 500
RUNS = 200
"""Runs within a folder that are listed."""
GLANCES = 30
"""Of how many different states of a run its rate is taken."""
OWN = ("report.html", ".lock", "judgements.db", "judgements.db-wal", "judgements.db-shm", "judgements.db-journal")
"""Files of a run that a report of it does not show."""


class RunView:
    """One run, as somebody sees it who only looks.

    Args:
        folder: the run folder; need not exist yet, and may go at any time.
        clock: the time, as files have it.

    Attributes:
        curves: its metrics.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.curves = folder, Curves(folder / METRICS)
        self._clock, self._lock = clock, threading.Lock()
        self._glances: deque[tuple[float, float]] = deque(maxlen=GLANCES)
        self._config = _Cached(folder / CONFIG, read_yaml)
        self._summary = _Cached(folder / SUMMARY, _read_json)

    def status(self) -> dict[str, Any]:
        """What it is and how far it has come, as JSON.

        Returns:
            ``state``: absent, running, quiet or completed; ``kind``; ``step`` of ``steps``; ``rate`` in steps a second;
            ``left_s`` to go; ``quiet_s`` since something was written; ``config`` and ``summary`` as rows of name and
            text; ``problems`` with its files. What is not known is None.
        """
        self.curves.read()
        with self._lock:
            config, summary = self._config.content(), self._summary.content()
            written = [at for name in (CONFIG, METRICS, SUMMARY, "judgements.db-wal") if (at := self._at(name))]
            quiet = max(0.0, self._clock() - max(written)) if written else None
            completed = summary.get("completed") is True
            steps, rate = _count(config.get("steps")), self._rate(summary)
            going = quiet is not None and not completed
            step = _count(summary.get("steps") if completed else self.curves.step)
            step = step if step is not None or not going else 0
            left = (steps - step) / rate if going and rate and steps and step and step <= steps else None
            state = "absent" if quiet is None else "completed" if completed else "running"
            return {
                "state": "quiet" if going and quiet is not None and quiet > QUIET_S else state,
                "kind": str(summary.get("kind") or ""),
                "step": step,
                "steps": steps,
                "rate": rate,
                "left_s": left,
                "quiet_s": quiet,
                "config": list(_rows(config)),
                "summary": list(_rows(summary)),
                "problems": [file.problem for file in (self._config, self._summary) if file.problem],
            }

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """What changes when there is something new to report."""
        try:
            with os.scandir(self.folder) as found:
                files = [(file.name, file.stat()) for file in found if file.is_file() and file.name not in OWN]
        except OSError:
            return ()
        return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in files))

    def _at(self, name: str) -> float | None:
        try:
            return (self.folder / name).stat().st_mtime
        except OSError:
            return None

    def _rate(self, summary: Mapping[str, Any]) -> float | None:
        """Of the whole run once it has ended; of the latest glances before; at the first, since it began."""
        seconds, taken = _number(summary.get("seconds")), _number(summary.get("steps"))
        if summary.get("completed") is True:
            return taken / seconds if taken and seconds else None
        now, step, began = self._at(METRICS), self.curves.step, self._at(CONFIG)
        if now is None or step is None or began is None:
            self._glances.clear()
            return None
        if self._glances and step < self._glances[-1][1]:  # it was begun anew, or resumed from before
            self._glances.clear()
        if not self._glances or step > self._glances[-1][1]:
            self._glances.append((now, step))
        then, before = self._glances[0] if len(self._glances) > 1 else (began, 0.0)
        return (step - before) / (now - then) if now - then >= SHORTEST_S and step > before else None


class RunViews:
    """A run and those within it, by name: "" is the folder itself, ``runs/a`` one within.

    A name is looked up among those that were found; none reaches the file system.

    Args:
        folder: a run's, a comparison's or a front's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._views, self._lock = folder, {"": RunView(folder)}, threading.Lock()

    def names(self) -> list[str]:
        """Of the runs within; the first `RUNS` of them."""
        with self._lock:
            found = itertools.chain(self.folder.glob(f"*/{CONFIG}"), self.folder.glob(f"runs/*/{CONFIG}"))
            folders = {file.parent.relative_to(self.folder).as_posix(): file.parent for file in found}
            names = sorted(folders)[:RUNS]
            for name in names:
                self._views.setdefault(name, RunView(folders[name]))
            return names

    def view(self, name: str) -> RunView | None:
        """The run of that name; None if none was found."""
        if name not in self._views:
            self.names()
        return self._views.get(name)


class _Cached:
    """A small file, read again only once it has changed; and what is wrong with it."""

    def __init__(self, path: Path, read: Callable[[Path], dict[str, Any]]) -> None:
        self.path, self.problem = path, ""
        self._read, self._stamp, self._content = read, (0, 0, 0), dict[str, Any]()

    def content(self) -> dict[str, Any]:
        try:
            stat = self.path.stat()
        except OSError:
            self._stamp, self._content, self.problem = (0, 0, 0), {}, ""
            return {}
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            try:
                if stat.st_size > LARGEST_FILE:
                    raise HeedError("the file is too large to be shown", str(self.path), "open it yourself")
                self._content, self.problem = self._read(self.path), ""
            except HeedError as error:
                self._content, self.problem = {}, f"{self.path.name}: {error.what}"
            self._stamp = stamp
        return self._content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise HeedError("this is not JSON", str(path), "mend or delete it") from error
    if not isinstance(found, dict):
        raise HeedError("this is not a JSON object", str(path), "mend or delete it")
    return found


def _rows(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and texts, `ROWS` of them at most."""
    yield from itertools.islice(_leaves(content, prefix), ROWS)


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _leaves(value, f"{prefix}.{name}" if prefix else str(name))
        return
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    yield prefix[:LONGEST_TEXT], text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …"


def _number(value: Any) -> float | None:
    number = as_number(value)
    return None if number is None or math.isnan(number) else number


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
