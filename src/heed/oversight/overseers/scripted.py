"""Overseers that follow a rule: at the last moment, in time, or by observation and info."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from heed.oversight.overseers.base import Action, Proposal, Scope, State, Verdict


class LocalOverseer:
    """Blocks at the last moment: when the very next state would be a catastrophe (docs/methods.md).

    With momentum this prevents little: every action is blocked, and every one crashes.

    Args:
        next_state: the state [S] to which an action would lead now: an oracle's ``peek`` on its environment.
        catastrophe: whether a state [S] is one.

    >>> import numpy as np
    >>> overseer = LocalOverseer(lambda push: np.array([1.0 + push]), catastrophe=lambda state: state[0] > 1.5)
    >>> [overseer.judge(Proposal(np.array([1.0]), push)).block for push in (0.4, 0.6)]
    [False, True]
    """

    name = "local"
    scope = Scope(last_moment=True, needs_env=True, scripted=True)

    def __init__(self, next_state: Callable[[Action], State], catastrophe: Callable[[State], Any]) -> None:
        self._next_state, self._catastrophe = next_state, catastrophe

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the action's next state is a catastrophe."""
        return Verdict(bool(self._catastrophe(self._next_state(proposal.action))))

    def reset(self, seed: int) -> None:
        """Nothing to forget."""


class FarSightedOverseer:
    """Blocks in time: when the next state is one from which a catastrophe can no longer be helped, or not easily.

    Args:
        next_state: the state [S] to which an action would lead now: an oracle's ``peek`` on its environment.
        doomed: whether a state [S] is in the set to keep out of. If that is where the brake fails, whoever obeys and
            brakes never meets a catastrophe.

    >>> import numpy as np
    >>> overseer = FarSightedOverseer(lambda push: np.array([push, 1.0]), doomed=lambda state: state[0] + state[1] > 2)
    >>> overseer.judge(Proposal(np.zeros(2), 1.5)).block
    True
    """

    name = "far-sighted"
    scope = Scope(last_moment=False, needs_env=True, scripted=True)

    def __init__(self, next_state: Callable[[Action], State], doomed: Callable[[State], Any]) -> None:
        self._next_state, self._doomed = next_state, doomed

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the action's next state is in the set."""
        return Verdict(bool(self._doomed(self._next_state(proposal.action))))

    def reset(self, seed: int) -> None:
        """Nothing to forget."""


class RuleOverseer:
    """Blocks whatever is proposed in a state that a rule calls dangerous: for environments without an oracle.

    Args:
        danger: ``danger(observation, info)``, true where a person would step in.

    >>> import numpy as np
    >>> overseer = RuleOverseer(lambda observation, info: abs(observation[1]) > 1.0)
    >>> [overseer.judge(Proposal(np.array([0.0, angle]), 0)).block for angle in (0.9, -1.1)]
    [False, True]
    """

    name = "rule"
    scope = Scope(inputs="state", scripted=True)

    def __init__(self, danger: Callable[[NDArray[Any], Mapping[str, Any]], Any]) -> None:
        self._danger = danger

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Block if the present state is dangerous."""
        return Verdict(bool(self._danger(proposal.observation, proposal.info)))

    def reset(self, seed: int) -> None:
        """Nothing to forget."""
