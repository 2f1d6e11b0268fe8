"""An overseer whose verdicts are written down: what was shown, by whom it was judged, and what was said."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer, Proposal, Verdict
from heed.oversight.store.store import Judgement, Store
from heed.runs.files import to_json

Where = Callable[[], tuple[str, int]]
"""The phase that a run is in, and the number of the fit that is in force; 0 before the first."""


class Recorded:
    """An overseer whose every verdict becomes a judgement in a store, from `begin` on.

    A block because the overseer failed is nobody's judgement, and is not written. If the store cannot be written,
    ``judge`` raises, so that the guard blocks the action; what could not be written is tried again with the next one.

    Args:
        inner: the overseer.
        every: judgements that are written at once. 1 is for persons: a verdict that ``judge`` returned is on disk. A
            script can be asked again, so that its judgements may share the wait for the disk; a crash then loses the
            last ``every - 1`` at most, and never a part of one.

    >>> from heed.oversight import RuleOverseer
    >>> import numpy as np
    >>> overseer, store = Recorded(RuleOverseer(lambda observation, info: observation[0] > 1)), Store("sqlite://")
    >>> overseer.begin(store, run="walk-1", env="Walk", where=lambda: ("oversight", 0))
    >>> overseer.judge(Proposal(np.array([1.5]), 0)).block
    True
    >>> [(given.person, given.shown["observation"], given.verdict["block"]) for given in store.effective(run="walk-1")]
    [('rule', [1.5], True)]
    """

    def __init__(self, inner: Overseer, every: int = 1) -> None:
        self.inner, self.every = inner, every
        self.where: Where = lambda: ("", 0)
        self._store: Store | None = None
        self._run = self._env = ""
        self._unwritten: list[tuple[Judgement, Callable[[int], None] | None]] = []

    @property
    def name(self) -> str:
        """The inner overseer's name."""
        return self.inner.name

    def begin(self, store: Store, run: str, env: str, where: Where) -> None:
        """Write judgements down from now on.

        Args:
            store: where.
            run: the run's id.
            env: the environment's name.
            where: tells the phase and the fit in force; asked at each judgement.
        """
        self._store, self._run, self._env, self.where = store, run, env, where

    def judge(self, moment: Proposal) -> Verdict:
        """The inner overseer's verdict, written down.

        Raises:
            RunFailed: it could not be written.
        """
        if self._store is None:
            return self.inner.judge(moment)
        shown = self._shown(moment)  # before the overseer has it in hand
        verdict = self.inner.judge(moment)
        for each in (verdict, *verdict.others):
            if not each.failed:
                self._unwritten.append((self._judgement(shown, each), each.written))
        if len(self._unwritten) >= self.every:
            self.flush()
        return verdict

    def retract(self, row: int, person: str) -> None:
        """Take a judgement back, by its id.

        Raises:
            HeedError: there is none, or no store.
            RunFailed: it could not be written.
        """
        if self._store is None:
            raise HeedError("nothing is written down here", "retract", "begin with a store")
        self._store.retract(row, person, why="undone at the page")

    def flush(self) -> None:
        """Write what is not written yet.

        Raises:
            RunFailed: the store refuses; nothing is dropped.
        """
        if self._store is not None and self._unwritten:
            rows = self._store.add_all([judgement for judgement, _ in self._unwritten])
            told, self._unwritten = self._unwritten, []
            for row, (_, written) in zip(rows, told, strict=True):
                if written is not None:
                    written(row)

    def reset(self, seed: int) -> None:
        """Start the inner overseer."""
        self.inner.reset(seed)

    def _judgement(self, shown: dict[str, Any], verdict: Verdict) -> Judgement:
        blocks = not isinstance(verdict.block, bool | np.bool_) or bool(verdict.block)  # only a plain no lets pass
        said: dict[str, Any] = {"block": blocks, "instead": to_json(verdict.instead)}
        said |= {"credit": verdict.credit} if verdict.credit else {}
        flags = {"catastrophe": verdict.struck, "silent": verdict.silent, "acted": verdict.acted}
        said |= {name: True for name, flag in flags.items() if flag}
        person, key = verdict.person or self.name, verdict.key or str(uuid.uuid4())
        return Judgement("block", person, shown, said, self._run, str(self.where()[1]), verdict.latency_ms, key)

    def _shown(self, moment: Proposal) -> dict[str, Any]:
        return {
            "env": self._env,
            "observation": to_json(moment.observation),
            "action": to_json(moment.action),
            "step": moment.step,
            "episode": moment.episode,
            "phase": self.where()[0],
            "risk": to_json(moment.risk),
        }
