"""What every overseer has in common: the proposal that it judges, its verdict, and what it says of its judging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
from numpy.typing import NDArray

Action = Any
"""An array [A] for continuous actions, an int for discrete ones."""


State = Any
"""An environment's own state: an array [S] in point hazard, a tuple in cliff grid."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What an overseer judges: a state and the action that is about to be executed in it.

    Args:
        observation: what the agent sees, [S].
        action: what it proposes, [A] or an int.
        info: the environment's own, with the observation: a copy, but for what cannot be copied.
        env: the environment, for oracles that look into it; None where there is none to look into.
        step: steps taken in this episode.
        episode: its number, which no other of any environment has.
        risk: what the guard itself thought of the action, in [0, 1], where it looked and was not sure; None else.
        stream: number of the environment, where one overseer judges several.
        futures: what the guard imagined would follow, where it looked: states [N, H + 1, S]; None else.
        future_risks: the largest danger on each of these ways, in [0, 1], [N]; None where there are none.
    """

    observation: NDArray[Any]
    action: Action
    info: Mapping[str, Any] = field(default_factory=dict)
    env: gym.Env[Any, Any] | None = None
    step: int = 0
    episode: int = 0
    risk: float | None = None
    stream: int = 0
    futures: NDArray[Any] | None = None
    future_risks: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Verdict:
    """An overseer's answer, the same record from a person's key to the store and to the guard's decision.

    Args:
        block: whether the action must not be executed.
        latency_ms: from showing the proposal to the answer, in milliseconds.
        instead: an action to execute in its place, if the overseer named one; what lies beyond the box is clipped, and
            what is no action at all is counted among the guard's faults.
        failed: nobody judged: the overseer failed, or nobody answered in time, and the block is the safe way out.
            Nothing is learnt from it.
        person: who judged, where the overseer stands for several people; "" takes the overseer's name.
        key: of the judgement, where whoever gave it may send it again; "" makes a new one.
        credit: steps before this one, in the same episode, that a block is about as well: whoever blocks by reaction
            meant what was in view before.
        catastrophe: the state that was shown is a catastrophe that the environment does not report.
        silent: nobody pressed a key: the action passed in view, or who acts in the agent's place had no key down.
        acted: somebody acted in the agent's place, without judging its action: nothing is learnt of that one, and what
            they did is a demonstration, if they had a key down.
        glimpsed: the action was not in view for as long as a person takes to see anything, so that the block says
            nothing of it; of the steps that are credited it does.
        reason: why it was blocked, in the person's words; "" where they gave none.
        others: other people's verdicts on the same action, where several judge each: written down, and not learnt from,
            as one block is a block.
    """

    block: bool
    latency_ms: float = 0.0
    instead: Action | None = None
    failed: bool = False
    person: str = ""
    key: str = ""
    credit: int = 0
    catastrophe: bool = False
    silent: bool = False
    acted: bool = False
    glimpsed: bool = False
    reason: str = ""
    others: tuple[Verdict, ...] = ()

    @property
    def is_label(self) -> bool:
        """Whether it says something of the action that was shown."""
        return not (self.failed or self.acted or self.glimpsed)

    @property
    def shows(self) -> bool:
        """Whether it shows what to do: it gives an action of its overseer's own, meant for the state that was in view.

        No key, no demonstration: who took over and presses nothing shows nothing.
        """
        return self.instead is not None and not (self.failed or self.silent or self.glimpsed)

    @property
    def rank(self) -> tuple[bool, bool, bool, bool]:
        """Which of several people's verdicts on one action is learnt from: the one with the largest."""
        return self.acted, self.block, not self.glimpsed, bool(self.key)

    @property
    def all(self) -> tuple[Verdict, ...]:
        """Each person's verdict: this one first, then the others."""
        return (self, *self.others)


class Overseer(Protocol):
    """Judges proposed actions; ``name`` is what the store of judgements calls it.

    One that says more of how it judges also declares a scope: see `DeclaresScope`.
    """

    @property
    def name(self) -> str:
        """What reports and judgements call it."""
        ...

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block the proposed action, or let it pass."""
        ...

    def reset(self, seed: int) -> None:
        """Start a run: forget what was seen, and draw all chance from this seed."""
        ...


@dataclass(frozen=True)
class Scope:
    """What an overseer judges, and what it needs to.

    Args:
        inputs: what its verdicts are about: the state that an action leads to, the present state whatever is proposed
            in it, or state and action. Blockers learn from the same.
        last_moment: a block says that the very next state is a catastrophe, so that surviving a step proves that its
            action was harmless; False where it comes in time, None where the labels are to tell.
        needs_env: it looks into one environment, and cannot judge another's proposals.
        scripted: a program that may be asked as often as one likes, such as in an evaluation, and again after a crash.
    """

    inputs: Literal["next_state", "state", "state_action"] = "next_state"
    last_moment: bool | None = None
    needs_env: bool = False
    scripted: bool = False


@runtime_checkable
class DeclaresScope(Protocol):
    """An overseer that says what it judges and what it needs."""

    @property
    def scope(self) -> Scope:
        """What it judges, and what it needs to; an overseer around another one passes that one's on."""
        ...


def scope_of(overseer: Overseer) -> Scope:
    """What an overseer judges; of one that declares nothing, what is safe to take for granted.

    Then its verdicts are taken to be about the next state, whether survival proves anything is left to the labels, and
    nobody asks it more often than the run needs: it may be a person.

    >>> from heed.oversight import FalseAlarm, RuleOverseer
    >>> scope_of(FalseAlarm(RuleOverseer(lambda observation, info: False), rate=0.1)).inputs
    'state'
    """
    if isinstance(overseer, DeclaresScope) and isinstance(overseer.scope, Scope):
        return overseer.scope
    return Scope()
