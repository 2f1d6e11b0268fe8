"""An overseer that cannot let anything through by failing: errors and silence count as blocks."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer, Proposal, Scope, Verdict, scope_of
from heed.runs.state import State, restore_part, state_of

logger = logging.getLogger(__name__)


class FailClosedOverseer:
    """An overseer whose failures block: one that raises, hangs past the time-out, or answers with no verdict.

    The overseer works in a thread of its own. While it hangs, further proposals are blocked without asking it; its late
    answer is thrown away, and then it is asked again. Each kind of failure is logged once, and counted. What belongs to
    the thread that made it, such as an open SQLite file or a picture's context, is no good in another: `made_by` makes
    the overseer in the thread where it works.

    Args:
        inner: the overseer.
        timeout_s: seconds after which silence is a block.

    Attributes:
        failures: how many proposals were blocked for the overseer's failure, by kind: "raised", "hung", "no verdict".

    Raises:
        HeedError: if the time-out is not above 0.

    >>> from heed.oversight import RuleOverseer
    >>> broken = FailClosedOverseer(RuleOverseer(lambda observation, info: info["missing"]), timeout_s=1.0)
    >>> broken.judge(Proposal(np.zeros(1), 0)).block, broken.failures
    (True, {'raised': 1, 'hung': 0, 'no verdict': 0})
    """

    def __init__(self, inner: Overseer, timeout_s: float) -> None:
        if not timeout_s > 0:
            raise HeedError(f"a time-out of {timeout_s} s", where="fail_closed", fix="give seconds above 0")
        self.inner, self._timeout = inner, timeout_s
        self.failures = {"raised": 0, "hung": 0, "no verdict": 0}
        self._worker: _Worker | None = None
        self._make: Callable[[], Overseer] | None = None

    @classmethod
    def made_by(cls, make: Callable[[], Overseer], timeout_s: float) -> FailClosedOverseer:
        """An overseer that is made in the thread in which it judges; making it may take as long as it likes.

        After it has hung, `reset` makes another one in a thread of its own.

        Args:
            make: makes the overseer.
            timeout_s: seconds after which silence is a block.

        Raises:
            HeedError: what ``make`` raises, if it is one, or in words; a time-out that is not above 0.

        >>> import sqlite3
        >>> from heed.oversight import RuleOverseer
        >>> def make():
        ...     limits = sqlite3.connect(":memory:")
        ...     return RuleOverseer(lambda seen, info: seen[0] > limits.execute("select 1.5").fetchone()[0])
        >>> safe = FailClosedOverseer.made_by(make, timeout_s=1.0)
        >>> [safe.judge(Proposal(np.array([x]), 0)).block for x in (1.0, 2.0)], safe.failures["raised"]
        ([False, True], 0)
        """
        worker = _Worker()
        closed = cls(_made(make, worker), timeout_s)
        closed._worker, closed._make = worker, make
        return closed

    @property
    def name(self) -> str:
        """The inner overseer's name."""
        return self.inner.name

    @property
    def scope(self) -> Scope:
        """The inner overseer's."""
        return scope_of(self.inner)

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Ask the overseer; block if it fails. Latency is measured here where the overseer reports none."""
        started = time.perf_counter()
        if self._worker is None:
            self._worker = _Worker()
        kind, answer = self._worker.ask(lambda: self.inner.judge(proposal), self._timeout)
        took = (time.perf_counter() - started) * 1e3
        if kind == "answered":
            if isinstance(answer, Verdict) and isinstance(answer.block, (bool, np.bool_)):
                return answer if answer.latency_ms else replace(answer, latency_ms=took)
            kind, answer = "no verdict", f"{answer!r} is no Verdict"
        self._count(kind, answer)
        return Verdict(block=True, latency_ms=took, failed=True)

    def reset(self, seed: int) -> None:
        """Start a run; a thread that hangs is left to itself.

        Raises:
            HeedError: if the overseer cannot start. That is set-up, where stopping is the safe direction.
        """
        worker, self._worker = self._worker, None
        if worker is None or worker.busy:
            worker = _Worker()
            if self._make is not None:
                self.inner = _made(self._make, worker)
        kind, answer = worker.ask(lambda: self.inner.reset(seed), self._timeout)
        if kind != "answered":
            raise HeedError(f"{self.name} cannot start: it {kind}: {answer}", where="overseer", fix="mend its reset")
        self._worker = worker

    def state(self) -> State:
        """The failures so far, and the inner overseer's state where it has any."""
        return {"failures": dict(self.failures), "inner": state_of(self.inner)}

    def restore(self, state: State) -> None:
        """Go on from where this state was given."""
        self.failures.update(state["failures"])
        restore_part(self.inner, state["inner"])

    def _count(self, kind: str, answer: Any) -> None:
        self.failures[kind] += 1
        if self.failures[kind] == 1:
            logger.warning("overseer %s %s (%s): a block, as are later failures", self.name, kind, answer)


def fail_closed(overseer: Overseer, timeout_s: float) -> FailClosedOverseer:
    """An overseer that blocks where ``overseer`` raises, hangs for ``timeout_s`` seconds or gives no verdict.

    >>> from heed.oversight import RuleOverseer
    >>> safe = fail_closed(RuleOverseer(lambda observation, info: observation[0] > 1), timeout_s=1.0)
    >>> [safe.judge(Proposal(np.array([x]), 0)).block for x in (0.5, 1.5)]
    [False, True]
    """
    return FailClosedOverseer(overseer, timeout_s)


def _made(make: Callable[[], Overseer], worker: _Worker) -> Overseer:
    """What is made in a worker's thread."""
    problems: list[HeedError] = []

    def attempt() -> Overseer | None:
        try:
            return make()
        except HeedError as problem:
            problems.append(problem)
            return None

    kind, overseer = worker.ask(attempt, None)
    if problems:
        raise problems[0]
    if kind != "answered":
        raise HeedError(f"the overseer cannot be made: it {kind}: {overseer}", "overseer", "mend what makes it")
    made: Overseer = overseer
    return made


class _Worker:
    """One daemon thread that calls what it is given, one call at a time."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._owed = 0  # answers that came too late, or have still to come
        threading.Thread(target=_serve, args=(self._calls, self._answers), name="overseer", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a call hangs still; what answered too late is thrown away."""
        while self._owed and not self._answers.empty():
            self._answers.get()
            self._owed -= 1
        return self._owed > 0

    def ask(self, call: Callable[[], Any], timeout_s: float | None) -> tuple[str, Any]:
        """How a call ended ("answered", "raised", "hung"), and its value or the error; without a time-out it waits."""
        if self.busy:
            return "hung", "still busy with an earlier proposal"
        self._calls.put(call)
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._owed += 1
            return "hung", f"no answer within {timeout_s:g} s"


def _serve(calls: queue.SimpleQueue[Callable[[], Any]], answers: queue.SimpleQueue[tuple[str, Any]]) -> None:
    while True:
        call = calls.get()
        try:
            answers.put(("answered", call()))
        except BaseException as error:  # noqa: BLE001 - whatever a foreign overseer raises, also to end the program
            answers.put(("raised", f"{type(error).__name__}: {error}"))
