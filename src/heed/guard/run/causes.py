"""Why a guard blocks: the shares of each cause, told as a run goes on, and what to do where one prevails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heed.guard.decisions import Step

logger = logging.getLogger(__name__)

EVERY = 1000
"""Steps between two lines."""
LEAST_EPISODES = 5
"""Whole episodes on either side without which nothing is said of a collapse."""
MUCH, PREVAILS = 0.1, 0.5
"""Share of steps that are blocked, and of the blocks that one cause has, from which it is said what to do."""

ADVICE: Mapping[str, str] = {
    "danger": (
        "what the learner proposes leads into danger at once, as the blockers see it: let it learn for longer, or see "
        "in the report whether the person would have blocked it too"
    ),
    "no way out": (
        "after what is proposed no way is seen that avoids danger: oversee for longer, so that dynamics and blockers "
        "are better known, or declare a safe action where none is"
    ),
    "unknown": (
        "imagined futures leave what was seen: oversee for longer, or name with --label-keys the parts of the state "
        "that danger depends on"
    ),
    "person": "the overseer blocks: if that is not what they want, look at how they are asked",
    "invalid": "the policy proposes what is no action, or the environment gives no state: see the faults",
    "fault": "what should have judged failed: see the faults",
}
"""What to do where most blocks come from a cause."""


def shares(causes: Iterable[str]) -> dict[str, float]:
    """The share of each cause among some blocks, the most frequent first.

    >>> shares(["danger", "unknown", "danger", "danger"])
    {'danger': 0.75, 'unknown': 0.25}
    """
    counts = Counter(causes)
    return {cause: count / counts.total() for cause, count in counts.most_common()}


def in_words(share: Mapping[str, float]) -> str:
    """Shares of causes as a phrase.

    >>> in_words({"danger": 0.75, "unknown": 0.25})
    '75% danger, 25% unknown'
    """
    return ", ".join(f"{part:.0%} {cause or 'not known'}" for cause, part in share.items())


def advice(steps: int, causes: Sequence[str]) -> str:
    """What to do about the blocks among so many steps, by their causes; "" where they are few or have many causes.

    >>> advice(100, ["fault"] * 40)
    'what should have judged failed: see the faults'
    >>> advice(1000, ["fault"] * 40)
    ''
    """
    if not causes or len(causes) < MUCH * steps:
        return ""
    cause, share = next(iter(shares(causes).items()))
    return ADVICE.get(cause, "") if share >= PREVAILS else ""


class Causes:
    """Logs why the guard blocked, each thousand steps that it decided by itself; one of its observers."""

    def __init__(self) -> None:
        self._steps = 0
        self._causes: list[str] = []
        self._parts: Counter[int] = Counter()

    def __call__(self, step: Step) -> None:
        """Take in a step."""
        decision = step.decision
        if decision.asked:
            return
        self._steps += 1
        if decision.decision == "block":
            self._causes.append(decision.cause)
            self._parts.update(decision.unknown_parts)
        if self._steps == EVERY:
            self._tell()
            self._steps, self._causes, self._parts = 0, [], Counter()

    def _tell(self) -> None:
        if not self._causes:
            logger.info("of %d steps none was blocked", self._steps)
            return
        parts = ", ".join(str(part) for part, _ in self._parts.most_common(5))
        why = in_words(shares(self._causes)) + (f" (parts {parts} of the state)" if parts else "")
        logger.info("of %d steps %d were blocked: %s", self._steps, len(self._causes), why)
        if said := advice(self._steps, self._causes):
            logger.warning("most blocks have one cause: %s", said)


def collapse(summary: Mapping[str, Any]) -> str:
    """What got worse from oversight to the last episodes under the guard; "" where nothing did.

    Args:
        summary: of a run, with "returns" as `heed.guard.run.counts.Decisions.summary` tells them.

    >>> collapse({"returns": {"oversight": [1.0, 2.0, 3.0, 2.0, 1.5], "late": [-9.0] * 5}})
    'under the guard the return fell from 1.9 in oversight to -9: it may be blocking too much'
    """
    before, late = (sorted(summary.get("returns", {}).get(name, ())) for name in ("oversight", "late"))
    if min(len(before), len(late)) < LEAST_EPISODES:
        return ""
    means = [sum(part) / len(part) for part in (before, late)]
    if means[1] >= before[0] or late[len(late) // 2] >= before[0]:
        return ""
    fell = f"the return fell from {means[0]:.3g} in oversight to {means[1]:.3g}"
    return f"under the guard {fell}: it may be blocking too much"
