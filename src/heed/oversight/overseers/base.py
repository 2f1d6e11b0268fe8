"""Overseers: whoever sees a proposed action and blocks it or lets it pass, here those that follow a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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
        info: what the environment said beside the observation.
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
    """An overseer's answer.

    Args:
        block: whether the action must not be executed.
        latency_ms: how long the overseer took, in milliseconds.
        instead: an action to execute in its place, if the overseer named one.
        failed: nobody judged: the overseer failed, and the block is the safe way out. Nothing is learnt from it.
        person: who judged, where the overseer stands for several people; "" takes the overseer's name.
        key: of the judgement, where whoever gave it may send it again; "" makes a new one.
        credit: steps before this one, in the same episode, that a block is about as well: whoever blocks by reaction
            meant what was in view before.
        struck: the state that was shown is a catastrophe that the environment does not tell of.
        silent: the action passed in view, without a word.
        acted: somebody acted in the agent's place, without judging its action: nothing is learnt of it.
        written: called with the judgement's id once it is on disk; may be called from any thread.
        others: what other people said of the same action, where several judge each: written down, and not learnt from,
            as one block is a block.
    """

    block: bool
    latency_ms: float = 0.0
    instead: Action | None = None
    failed: bool = False
    person: str = ""
    key: str = ""
    credit: int = 0
    struck: bool = False
    silent: bool = False
    acted: bool = False
    written: Callable[[int], None] | None = None
    others: tuple[Verdict, ...] = ()


class Overseer(Protocol):
    """Judges proposed actions; ``name`` is what the store of judgements calls it."""

    @property
    def name(self) -> str:
        """What reports and judgements call it."""
        ...

    def judge(self, moment: Proposal) -> Verdict:
        """Block the action of this moment, or let it pass."""
        ...

    def reset(self, seed: int) -> None:
        """Start a run: forget what was seen, and draw all chance from this seed."""
        ...
