"""Overseers are people: wrappers around an overseer that delay, miss, raise false alarms and tire."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from heed.errors import HeedError
from heed.oversight.overseers.base import Overseer, Proposal, Scope, Verdict, scope_of
from heed.runs.state import State, restore_part, state_of


class _Around:
    """An overseer around another one; its name tells both, its chance is its own stream of the run's seed."""

    _label: str

    def __init__(self, inner: Overseer) -> None:
        self.inner = inner
        self._random = np.random.default_rng(0)

    @property
    def name(self) -> str:
        """The inner overseer's name, and what this one does to its verdicts."""
        return f"{self.inner.name}, {self._label}"

    @property
    def scope(self) -> Scope:
        """The inner overseer's: what is done to its verdicts changes nothing of what they are about."""
        return scope_of(self.inner)

    def reset(self, seed: int) -> None:
        """Start the inner overseer, and this one's own chance, from a seed."""
        self.inner.reset(seed)
        # One stream for each wrapper: two of a kind around each other must not draw the same numbers.
        self._random = np.random.default_rng([seed, *self.name.encode()])

    def state(self) -> State:
        """What was drawn so far, and the inner overseer's state where it has any."""
        return {"random": self._random.bit_generator.state, "inner": state_of(self.inner)}

    def restore(self, state: State) -> None:
        """Go on from where this state was given."""
        self._random.bit_generator.state = state["random"]
        restore_part(self.inner, state["inner"])


class Delayed(_Around):
    """Answers each proposal with the verdict on the one ``steps`` steps before it in its environment: reaction time.

    The first steps of an episode pass. Who was not shown the step before is not watching but being asked, and waited
    for: then the verdict is on this very proposal. An action named in place of the blocked one belongs to its own
    proposal, and is not handed on.

    Args:
        inner: whose verdicts are delayed.
        steps: reaction time in steps; 300 ms in a world of 10 Hz is 3.

    Raises:
        HeedError: if ``steps`` is negative.

    >>> from heed.oversight import RuleOverseer
    >>> slow = Delayed(RuleOverseer(lambda observation, info: observation[0] > 0), steps=2)
    >>> seen = (1.0, 0.0, 0.0, 0.0)
    >>> [slow.judge(Proposal(np.array([x]), 0, step=step)).block for step, x in enumerate(seen)]
    [False, False, True, False]
    """

    def __init__(self, inner: Overseer, steps: int) -> None:
        super().__init__(inner)
        if steps < 0:
            raise HeedError(f"a delay of {steps} steps", where="Delayed", fix="give 0 or more")
        self._steps, self._label = steps, f"{steps} steps late"
        self._seen: dict[int, tuple[int, dict[int, Verdict]]] = {}  # of each environment: its episode, and by step

    def judge(self, proposal: Proposal, /) -> Verdict:
        """See this proposal, and answer with the verdict on an earlier one."""
        oldest = proposal.step - self._steps
        episode, before = self._seen.get(proposal.stream, (proposal.episode, {}))
        seen = {step: verdict for step, verdict in before.items() if episode == proposal.episode and step >= oldest}
        now = seen[proposal.step] = self.inner.judge(proposal)
        self._seen[proposal.stream] = (proposal.episode, seen)
        watching = proposal.step == 0 or proposal.step - 1 in seen
        if self._steps == 0 or not watching:
            return now
        return replace(seen.get(oldest, Verdict(block=False)), instead=None)

    def reset(self, seed: int) -> None:
        """Start a run with nothing seen."""
        super().reset(seed)
        self._seen = {}

    def state(self) -> State:
        """What was seen and not yet answered, beside the rest."""
        return super().state() | {"seen": self._seen}

    def restore(self, state: State) -> None:
        """Go on from where this state was given."""
        super().restore(state)
        self._seen = state["seen"]


class Missing(_Around):
    """Lets each action pass that the inner overseer would block, with probability ``rate``.

    Args:
        inner: whose blocks are missed.
        rate: share of blocks that are missed, 0 to 1.

    Raises:
        HeedError: if ``rate`` is not a probability.

    >>> from heed.oversight import RuleOverseer
    >>> blind = Missing(RuleOverseer(lambda observation, info: True), rate=1.0)
    >>> blind.judge(Proposal(np.zeros(1), 0)).block, blind.name
    (False, 'rule, misses 100%')
    """

    def __init__(self, inner: Overseer, rate: float) -> None:
        super().__init__(inner)
        self._rate, self._label = _probability(rate, "Missing"), f"misses {rate:.0%}"

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Judge, but overlook some of what should be blocked."""
        verdict = self.inner.judge(proposal)
        missed = self._random.random() < self._rate  # drawn every time, so that a seed's draws do not hang on verdicts
        return Verdict(block=False, latency_ms=verdict.latency_ms) if verdict.block and missed else verdict


class FalseAlarm(_Around):
    """Blocks each action that the inner overseer would let pass, with probability ``rate``.

    Args:
        inner: whose passes are blocked.
        rate: share of passes that are blocked, 0 to 1.

    Raises:
        HeedError: if ``rate`` is not a probability.

    >>> from heed.oversight import RuleOverseer
    >>> FalseAlarm(RuleOverseer(lambda observation, info: False), rate=1.0).judge(Proposal(np.zeros(1), 0)).block
    True
    """

    def __init__(self, inner: Overseer, rate: float) -> None:
        super().__init__(inner)
        self._rate, self._label = _probability(rate, "FalseAlarm"), f"false alarms {rate:.0%}"

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Judge, but block some of what is harmless."""
        verdict = self.inner.judge(proposal)
        alarmed = self._random.random() < self._rate
        return replace(verdict, block=verdict.block or alarmed)


class Tiring(_Around):
    """Misses more and more: after n judgements a block is seen with probability ``0.5 ** (n / half_life)``.

    Args:
        inner: whose blocks are missed.
        half_life: judgements after which half of what should be blocked is missed; ``reset`` is a night's sleep.

    Raises:
        HeedError: if ``half_life`` is not above 0.

    >>> from heed.oversight import RuleOverseer
    >>> tired = Tiring(RuleOverseer(lambda observation, info: True), half_life=100)
    >>> tired.miss_rate, [tired.judge(Proposal(np.zeros(1), 0)) for _ in range(100)] and tired.miss_rate
    (0.0, 0.5)
    """

    def __init__(self, inner: Overseer, half_life: float) -> None:
        super().__init__(inner)
        if not half_life > 0:
            raise HeedError(f"a half-life of {half_life} judgements", where="Tiring", fix="give a number above 0")
        self._half_life, self._label, self._judged = half_life, f"tires by half in {half_life:g}", 0

    @property
    def miss_rate(self) -> float:
        """Probability that the next block is missed."""
        return float(1.0 - 0.5 ** (self._judged / self._half_life))

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Judge, as well as after so many judgements one can."""
        missed = self._random.random() < self.miss_rate
        self._judged += 1
        verdict = self.inner.judge(proposal)
        return Verdict(block=False, latency_ms=verdict.latency_ms) if verdict.block and missed else verdict

    def reset(self, seed: int) -> None:
        """Start a run rested."""
        super().reset(seed)
        self._judged = 0

    def state(self) -> State:
        """How much was judged, beside the rest."""
        return super().state() | {"judged": self._judged}

    def restore(self, state: State) -> None:
        """Go on from where this state was given, as tired."""
        super().restore(state)
        self._judged = state["judged"]


def _probability(rate: float, where: str) -> float:
    if not 0.0 <= rate <= 1.0:
        raise HeedError(f"a rate of {rate}", where=where, fix="give a share from 0 to 1")
    return rate
