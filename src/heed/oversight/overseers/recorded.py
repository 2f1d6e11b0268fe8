"""An overseer whose verdicts are written down: what was shown, by whom it was judged, and the verdict."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer, Proposal, Scope, Verdict, scope_of
from heed.oversight.store.store import MARK, Judgement, Store
from heed.runs.files import to_json
from heed.runs.state import State, restore_part, state_of

FLAGS = ("catastrophe", "silent", "acted", "glimpsed")
"""Of a verdict, that the store keeps where they hold."""

Where = Callable[[], tuple[str, int]]
"""The phase that a run is in, and the number of the fit that is in force; 0 before the first."""


class Listener(Protocol):
    """Who is to know what becomes of verdicts; may be called from any thread."""

    def written(self, verdict: Verdict, row: int) -> None:
        """A verdict is on disk: the store's id of its judgement."""
        ...

    def retracted(self, row: int) -> None:
        """The judgement with this id is retracted."""
        ...


class Recorded:
    """An overseer whose every verdict becomes a judgement in a store, from `begin` on.

    A block because the overseer failed is nobody's judgement, and is not written. If the store cannot be written,
    ``judge`` raises, so that the guard blocks the action; what could not be written is tried again with the next one.

    Args:
        inner: the overseer.
        every: judgements that are written at once. 1 is for persons: a verdict that ``judge`` returned is on disk. A
            script can be asked again, so that its judgements may share the wait for the disk; a crash then loses the
            last ``every - 1`` at most, and never a part of one.
        listeners: hear of each verdict once it is on disk, and of retractions, in this order.

    >>> from heed.oversight import RuleOverseer
    >>> import numpy as np
    >>> overseer, store = Recorded(RuleOverseer(lambda observation, info: observation[0] > 1)), Store("sqlite://")
    >>> overseer.begin(store, run="walk-1", env="Walk", where=lambda: ("oversight", 0))
    >>> overseer.judge(Proposal(np.array([1.5]), 0)).block
    True
    >>> [(given.person, given.shown["observation"], given.verdict["block"]) for given in store.effective(run="walk-1")]
    [('rule', [1.5], True)]
    """

    def __init__(self, inner: Overseer, every: int = 1, listeners: Sequence[Listener] = ()) -> None:
        self.inner, self.every, self.listeners = inner, every, tuple(listeners)
        self._where: Where = lambda: ("", 0)
        self._store: Store | None = None
        self._run = self._env = ""
        self._unwritten: list[tuple[Verdict, Judgement]] = []
        self._given: int | None = None
        self._stored: dict[tuple[int, int], Judgement] = {}

    @property
    def name(self) -> str:
        """The inner overseer's name."""
        return self.inner.name

    @property
    def scope(self) -> Scope:
        """The inner overseer's."""
        return scope_of(self.inner)

    def begin(
        self,
        store: Store,
        run: str,
        env: str,
        where: Where = lambda: ("oversight", 0),
        given: int | None = None,
    ) -> None:
        """Write judgements down from now on.

        Args:
            store: where.
            run: the run's id.
            env: the environment's name.
            where: tells the phase and the fit in force; asked at each judgement.
            given: judgements that the run has asked a script for so far, where no other run is called as this one: then
                one that is given again, after the run was resumed, is the same judgement. None makes each a new one.
        """
        self._store, self._run, self._env, self._where, self._given = store, run, env, where, given

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Within: judgements are filed under this phase, whatever phase the run is in, and the fit that is in force."""
        before, fit = self._where, self._where()[1]
        self._where = lambda: (phase, fit)
        try:
            yield
        finally:
            self._where = before

    def judge(self, proposal: Proposal, /) -> Verdict:
        """The inner overseer's verdict, written down.

        Raises:
            RunFailed: it could not be written.
        """
        if self._store is None:
            return self.inner.judge(proposal)
        phase, fit = self._where()
        shown = shown_of(proposal, self._env, phase)  # before the overseer has it in hand
        if (given := self._given_already(shown)) is not None:
            return given
        verdict = self.inner.judge(proposal)
        for each in verdict.all:
            if not each.failed:
                numbered = replace(each, key=each.key or self._next_key())
                self._unwritten.append((each, judgement_of(numbered, shown, self.name, self._run, fit)))
        if len(self._unwritten) >= self.every:
            self.flush()
        return verdict

    def retract(self, row: int, person: str, why: str = "undone at the page") -> None:
        """Retract a judgement, by its id, and let the listeners know.

        Raises:
            HeedError: there is none, or no store.
            RunFailed: it could not be written.
        """
        if self._store is None:
            raise HeedError("nothing is written down here", "retract", "begin with a store")
        self._store.retract(row, person, why)
        for listener in self.listeners:
            listener.retracted(row)

    def mark(self, proposal: Proposal, person: str, note: str, key: str) -> int:
        """Write down that somebody marked a moment, and return the store's id of it; the same key is the same mark.

        Raises:
            HeedError: nothing is written down here.
            RunFailed: it could not be written.
        """
        if self._store is None:
            raise HeedError("nothing is written down here", "mark", "begin with a store")
        phase, fit = self._where()
        shown = shown_of(proposal, self._env, phase)
        return self._store.add(Judgement(MARK, person, shown, {"note": note}, self._run, str(fit), key=key))

    def marks(self) -> list[Judgement]:
        """The moments that were marked in this run, oldest first, without those that were retracted.

        Raises:
            RunFailed: they cannot be read.
        """
        return [] if self._store is None else self._store.effective(MARK, run=self._run)

    def flush(self) -> None:
        """Write what is not written yet.

        Raises:
            RunFailed: the store refuses; nothing is dropped.
        """
        if self._store is not None and self._unwritten:
            rows = self._store.add_all([judgement for _, judgement in self._unwritten])
            written, self._unwritten = self._unwritten, []
            for row, (verdict, _) in zip(rows, written, strict=True):
                for listener in self.listeners:
                    listener.written(verdict, row)

    def reset(self, seed: int) -> None:
        """Start the inner overseer."""
        self.inner.reset(seed)

    def state(self) -> State:
        """How many judgements were given, and the inner overseer's state where it has any; all is written by then."""
        return {"given": self._given, "inner": state_of(self.inner)}

    def restore(self, state: State) -> None:
        """Go on from where this state was given.

        What was judged after that is in the store. A script judges it again, and it is the same judgement; nobody else
        is asked the same twice, as long as the run goes the same way.
        """
        self._given = state["given"]
        restore_part(self.inner, state["inner"])
        if self._store is not None and not self.scope.scripted:
            judged = self._store.effective("block", run=self._run)
            judged.sort(key=lambda judgement: verdict_of(judgement).rank, reverse=True)
            for judgement in judged:  # of several people's the one that was learnt from
                self._stored.setdefault(_place(judgement.shown), judgement)

    def _given_already(self, shown: dict[str, Any]) -> Verdict | None:
        """The verdict on this very proposal that is in the store from before the run was resumed, if there is one."""
        judgement = self._stored.pop(_place(shown), None)
        if judgement is None:
            return None
        if any(judgement.shown[name] != shown[name] for name in ("observation", "action")):
            self._stored = {}  # the run goes another way
            return None
        verdict = verdict_of(judgement)
        return (
            replace(verdict, key="") if verdict.key.startswith(f"{self._run} ") else verdict
        )  # whoever judged has none

    def _next_key(self) -> str:
        """Of a judgement for which whoever gave it has no key."""
        if self._given is None:
            return ""
        self._given += 1
        return f"{self._run} {self._given if self.scope.scripted else uuid.uuid4()}"


def shown_of(proposal: Proposal, env: str, phase: str) -> dict[str, Any]:
    """What a judgement keeps of a proposal, as JSON."""
    return {
        "env": env,
        "observation": to_json(proposal.observation),
        "action": to_json(proposal.action),
        "step": proposal.step,
        "episode": proposal.episode,
        "phase": phase,
        "risk": to_json(proposal.risk),
    }


def judgement_of(verdict: Verdict, shown: dict[str, Any], name: str, run: str, fit: int) -> Judgement:
    """A verdict as the store keeps it: the only place where a verdict on an action becomes a judgement.

    Args:
        verdict: of one person or script.
        shown: what they saw, see `shown_of`.
        name: the overseer's, for a verdict that names no person.
        run: that asked.
        fit: number of the fit in force, which becomes the version of the model.

    >>> judgement_of(Verdict(True, person="ada", credit=2, silent=True), {}, "browser", "walk-1", fit=3).verdict
    {'block': True, 'instead': None, 'credit': 2, 'silent': True}
    """
    blocks = not isinstance(verdict.block, bool | np.bool_) or bool(verdict.block)  # only a plain no lets pass
    content: dict[str, Any] = {"block": blocks, "instead": to_json(verdict.instead)}
    content |= {"credit": verdict.credit} if verdict.credit else {}
    content |= {flag: True for flag in FLAGS if getattr(verdict, flag)}
    content |= {"reason": verdict.reason} if verdict.reason else {}
    return Judgement(
        kind="block",
        person=verdict.person or name,
        shown=shown,
        verdict=content,
        run=run,
        model_version=str(fit),
        latency_ms=verdict.latency_ms,
        key=verdict.key or str(uuid.uuid4()),
    )


def verdict_of(judgement: Judgement) -> Verdict:
    """A judgement as the verdict that it was, but for what others said of the same action.

    >>> given = judgement_of(Verdict(True, person="ada", credit=2), {}, "browser", "walk-1", fit=3)
    >>> verdict_of(given).block, verdict_of(given).person, verdict_of(given).credit
    (True, 'ada', 2)
    """
    said = judgement.verdict
    instead = said["instead"]
    return Verdict(
        said["block"],
        judgement.latency_ms,
        np.array(instead) if isinstance(instead, list) else instead,
        person=judgement.person,
        key=judgement.key,
        credit=said.get("credit", 0),
        reason=said.get("reason", ""),
        **{flag: said.get(flag, False) for flag in FLAGS},
    )


def _place(shown: dict[str, Any]) -> tuple[int, int]:
    return shown["episode"], shown["step"]
