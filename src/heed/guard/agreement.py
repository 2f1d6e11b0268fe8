"""Whether the guard decides as the person does, on fresh proposals that both judged: misses and needless blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from scipy.stats import beta

from heed.guard.decisions import Step

CONFIDENCE = 0.95


def at_most(events: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """The share that is not exceeded, with this confidence, after so many events in so many trials (Clopper-Pearson).

    >>> round(at_most(0, 10), 3), at_most(0, 0), at_most(3, 3)
    (0.259, 1.0, 1.0)
    """
    return 1.0 if events >= trials else float(beta.ppf(confidence, events + 1, trials - events))


def at_least(events: float, trials: float, confidence: float = CONFIDENCE) -> float:
    """The share that is at least reached, with this confidence, after so many events in so many trials.

    >>> round(at_least(3, 3), 3), at_least(0, 10)
    (0.368, 0.0)
    """
    return 0.0 if events <= 0 else float(beta.ppf(1 - confidence, events, trials - events + 1))


Run = tuple[int, int, int]
"""Blocks one step after another: the stream, the episode, and the step with which they begin."""


@dataclass(frozen=True)
class _Blocked:
    """A proposal that the guard would have blocked and the person let pass."""

    stream: int
    episode: int
    timestep: int


@dataclass
class Agreement:
    """Misses and needless blocks of the guard against a person's verdicts on the same proposals.

    Each proposal is judged by a guard that has not learnt from it: first by what is seen ahead, then by the person, and
    only later it is learnt from (prequential; Dawid 1984). A block of the person is missed where the guard would have
    let the action pass; a catastrophe that the person let happen is no disagreement with them, whatever the guard saw:
    where chance decides, no judgement foresees it. Blocks on end, one step after another, count as one, of which a
    share may be missed: they are too alike to count as more. A block of the guard is needless where the person let
    pass, and neither they blocked nor a catastrophe happened in the ``horizon`` steps that followed: one who blocks at
    the last moment has not contradicted a guard that was a few steps earlier. As many steps as the horizon has count as
    one towards the bound, as they look at much the same.

    Args:
        horizon: steps that the guard looks ahead.

    Attributes:
        blocks: of the person; those on end count as one.
        misses: of these, let pass by the guard.
        passes: proposals that the person let pass.
        needless: of these, blocked by the guard without cause.
        refuted: whether a fit that was replaced since was known to miss more than it may.

    >>> agreement = Agreement(horizon=20)
    >>> agreement.blocks, agreement.misses, agreement.passes, agreement.needless = 30, 0, 500, 10
    >>> print(agreement)
    misses 0 of 30 blocks (at most 9.5%), needless 10 of 500 (at most 14.6%)
    """

    horizon: int
    blocks: int = 0
    misses: float = 0.0
    passes: int = 0
    needless: int = 0
    refuted: bool = False
    _marked: tuple[float, float, float, float] = field(default=(0, 0, 0, 0), repr=False)
    _waiting: list[_Blocked] = field(default_factory=list, repr=False)
    _run: dict[int, tuple[int, int, int, int]] = field(default_factory=dict, repr=False)

    def add(self, step: Step) -> Run | None:
        """Take in a step that was judged by both; and of others what becomes of blocks before them.

        Returns:
            Of a block of the person which blocks on end it is one of; None of anything else.
        """
        decision = step.decision
        place = (step.stream, step.episode)
        blocked = decision.asked and decision.decision == "block"
        danger = step.catastrophe or blocked or decision.glimpsed
        known = [each for each in self._waiting if (each.stream, each.episode) == place]
        if danger:
            self._waiting = [each for each in self._waiting if each not in known]
        elif step.terminated:
            self._settle(known)
        else:
            self._settle([each for each in known if step.timestep - each.timestep >= self.horizon])
        drawn = decision.because in ("", "chance")  # what the guard asked of its own accord is no sample
        if decision.beside is None or not drawn or not decision.asked or (danger and not blocked):
            run = None
        elif blocked:
            run = self._count(step, missed=decision.beside == "allow")
        else:
            run = None
            self.passes += 1
            if decision.beside == "block":
                self._waiting.append(_Blocked(*place, step.timestep))
        if step.terminated or step.truncated:  # nobody knows what would have followed a cut
            self._waiting = [each for each in self._waiting if (each.stream, each.episode) != place]
        return run

    @property
    def miss_bound(self) -> float:
        """What the share of missed blocks does not exceed, with 95% confidence."""
        return at_most(self.misses, self.blocks)

    @property
    def needless_bound(self) -> float:
        """What the share of needlessly blocked steps does not exceed, with 95% confidence."""
        return at_most(*self._needless)

    @property
    def missed_steps_bound(self) -> float:
        """What the share of steps with a missed block does not exceed, where too few blocks tell of their own share."""
        return at_most(self.misses, self.blocks + self.passes)

    def allows(self, misses: float, needless: float) -> bool:
        """Whether both shares are known to be within these bounds, of all that was seen or since it was marked.

        The one or the other: that both are beyond their bounds may be overlooked with up to twice 5%.
        """
        blocks, lost, passes, vain = (now - then for now, then in zip(self._counts, self._marked, strict=True))
        since = at_most(lost, blocks) <= misses and at_most(vain / self.horizon, passes / self.horizon) <= needless
        return since or (self.miss_bound <= misses and self.needless_bound <= needless)

    def mark(self) -> None:
        """Remember what was seen so far of a guard that has been replaced: the one from now on may be judged alone."""
        self._marked, self._run = self._counts, {}

    def seems(self, misses: float, needless: float, least: int) -> bool:
        """Whether all that can be known where little danger is met speaks for the guard.

        Needless blocks are known to be within their bound: of what is let pass there is enough. Misses are within
        theirs as far as they were seen; where an earlier fit was refuted, in at least ``least`` blocks: it is not
        forgiven for want of evidence.
        """
        seen = self.blocks >= (least if self.refuted else 0)
        return seen and self.misses <= misses * self.blocks and self.needless_bound <= needless

    def refutes(self, misses: float, needless: float) -> bool:
        """Whether one of the shares is known to be beyond its bound."""
        return at_least(self.misses, self.blocks) > misses or at_least(*self._needless) > needless

    def forget_refuted(self, misses: float, needless: float) -> None:
        """Count anew what is known to be beyond its bound: the guard that it was about is replaced by another fit."""
        self._marked = (0, 0, 0, 0)
        if at_least(self.misses, self.blocks) > misses:
            self.blocks, self.misses, self._run, self.refuted = 0, 0.0, {}, True
        if at_least(*self._needless) > needless:
            self.passes, self.needless, self._waiting = 0, 0, []

    def __str__(self) -> str:
        return (
            f"misses {self.misses:.3g} of {self.blocks} blocks (at most {self.miss_bound:.1%}), "
            f"needless {self.needless} of {self.passes} (at most {self.needless_bound:.1%})"
        )

    @property
    def _counts(self) -> tuple[float, float, float, float]:
        return self.blocks, self.misses, self.passes, self.needless

    @property
    def _needless(self) -> tuple[float, float]:
        return self.needless / self.horizon, self.passes / self.horizon

    def _settle(self, blocks: list[_Blocked]) -> None:
        self.needless += len(blocks)
        self._waiting = [each for each in self._waiting if each not in blocks]

    def _count(self, step: Step, missed: bool) -> Run:
        """Count a block; one that follows another shares its weight with it. Which ones it is one of."""
        episode, timestep, length, lost = self._run.get(step.stream, (-1, 0, 0, 0))
        goes_on = episode == step.episode and timestep == step.timestep - 1
        if goes_on:
            self.misses -= lost / length
        else:
            self.blocks, length, lost = self.blocks + 1, 0, 0
        length, lost = length + 1, lost + missed
        self.misses += lost / length
        self._run[step.stream] = (step.episode, step.timestep, length, lost)
        return step.stream, step.episode, step.timestep - length + 1
