"""The metrics of a run as curves: read on as the file grows, each kept to a bounded number of points."""

from __future__ import annotations

import json
import math
import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.runs.files import to_json

SHOWN = 400
"""Points of a curve in an answer, at most."""
KEPT = 4000
"""Points of a curve in memory, after it was thinned; before, at most twice as many."""
CURVES = 300
"""Metrics that are plotted; what a run logs beyond them is left out, and counted."""
LONGEST_NAME = 200
CHUNK = 2 << 20
"""Bytes read at once."""
TAIL = 256
"""Bytes before the place where reading goes on; if they are others by then, the file is another."""


def thin(places: NDArray[np.int64], values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Choose the points of a curve that show its shape.

    Of each of several equal stretches: the first, the last, the least, the greatest, and the first that is not finite.
    So the first, the last, the least and the greatest of all are kept, and no spike is lost.

    Args:
        places: [n] increasing; by them the stretches are equal.
        values: [n], NaN where there is a gap.
        most: points that may be kept, 5 at least.

    Returns:
        Their indices, increasing; all [n] if there are no more than ``most``.

    >>> thin(np.arange(8), np.array([0.0, 2.0, 9.0, 1.0, 1.0, -4.0, 1.0, 3.0]), most=5).tolist()
    [0, 2, 5, 7]
    """
    if len(places) <= most:
        return np.arange(len(places))
    stretches = max(1, most // 5)
    which = (places - places[0]) * stretches // (places[-1] - places[0] + 1)
    kept: set[int] = set()
    for part in np.split(np.arange(len(places)), np.flatnonzero(np.diff(which)) + 1):
        finite = np.isfinite(values[part])
        kept |= {int(part[0]), int(part[-1])}
        if finite.any():
            known = part[finite]
            kept |= {int(known[values[known].argmin()]), int(known[values[known].argmax()])}
        if not finite.all():
            kept.add(int(part[~finite][0]))
    return np.array(sorted(kept), dtype=np.int64)


@dataclass
class Curve:
    """One metric, thinned as it grows.

    Args:
        lines: in which each point stood, increasing.
        steps: of each point.
        values: of each point, NaN where it was not finite.
    """

    lines: list[int] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, line: int, step: float, value: float) -> None:
        """One point more."""
        self.lines.append(line)
        self.steps.append(step)
        self.values.append(value)
        if len(self.lines) > 2 * KEPT:
            kept = thin(np.array(self.lines), np.array(self.values), KEPT).tolist()
            for points in (self.lines, self.steps, self.values):
                points[:] = [points[index] for index in kept]

    def after(self, line: int) -> dict[str, list[Any]]:
        """What came after a line, as JSON: steps, and values with None where there is a gap; thinned to `SHOWN`."""
        begin = bisect_right(self.lines, line)
        values = np.array(self.values[begin:], dtype=np.float64)
        kept = thin(np.array(self.lines[begin:], dtype=np.int64), values, SHOWN)
        return {"steps": [self.steps[begin + index] for index in kept], "values": to_json(values[kept])}


class Curves:
    """The curves of a file of JSON lines that grows, ends in half a line, is cut back, replaced or not there yet.

    Args:
        path: of ``metrics.jsonl``.

    Attributes:
        step: the last that was read; None where there is none.
        unread: lines that are no metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock, self._epoch = path, threading.Lock(), 0
        self._forget()

    def _forget(self) -> None:
        self._epoch += 1
        self._offset, self._line, self._tail = 0, 0, b""
        self._curves: dict[str, Curve] = {}
        self._left_out: set[str] = set()
        self.step: float | None = None
        self.unread = 0

    def since(self, cursor: str) -> dict[str, Any]:
        """Read on, and tell what is new.

        Args:
            cursor: of the last answer; "" at first.

        Returns:
            ``cursor`` for the next time; ``fresh``, if whatever was sent before is void; ``more``, if there is more to
            be had at once; ``curves`` by name (see `Curve.after`); ``unread`` lines, and metrics ``left_out``.
        """
        with self._lock:
            more = self._read()
            epoch, _, line = cursor.partition(".")
            known = int(line) if epoch == str(self._epoch) and line.isdecimal() else 0
            points = {name: curve.after(known) for name, curve in self._curves.items() if curve.lines[-1] > known}
            return {
                "cursor": f"{self._epoch}.{self._line}",
                "fresh": known == 0,
                "more": more,
                "curves": points,
                "unread": self.unread,
                "left_out": len(self._left_out),
            }

    def read(self) -> bool:
        """Read on, a bounded part; whether there may be more."""
        with self._lock:
            return self._read()

    def _read(self) -> bool:
        """Read whole lines, `CHUNK` bytes at most; whether there may be more."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:  # it was cut back or replaced, as a resumed run does
                    self._forget()
                    file.seek(0)
                chunk = file.read(CHUNK)
        except OSError:  # not there yet, or not any more
            if self._offset:
                self._forget()
            return False
        full = len(chunk) == CHUNK
        whole = chunk[: chunk.rfind(b"\n") + 1]
        if full and not whole:  # a line that is no metrics
            whole = chunk
        for line in whole.removesuffix(b"\n").split(b"\n") if whole else []:
            self._line += 1
            self._take(line)
        self._offset += len(whole)
        self._tail = (self._tail + whole)[-TAIL:]
        return full

    def _take(self, line: bytes) -> None:
        record = record_of(line)
        step = None if record is None else as_number(record.get("step"))
        if record is None or step is None or not math.isfinite(step):
            self.unread += 1
            return
        self.step = step
        for name, value in record.items():
            number = as_number(value)
            if name == "step" or number is None:
                continue
            if name not in self._curves:
                if len(self._curves) >= CURVES or len(name) > LONGEST_NAME:
                    if len(self._left_out) < CURVES:
                        self._left_out.add(name[:LONGEST_NAME])
                    continue
                self._curves[name] = Curve()
            self._curves[name].add(self._line, step, number)


def record_of(line: bytes) -> dict[str, Any] | None:
    """What a line logs; None if it is no metrics."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of thousands of digits, brackets without end
        return None
    return record if isinstance(record, dict) else None


def as_number(value: Any) -> float | None:
    """A number as a float, NaN for what is not finite (which runs write as null); None for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:  # an integer beyond all floats
        return math.nan
