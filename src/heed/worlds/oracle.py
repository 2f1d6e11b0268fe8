"""What a world knows of itself, each part optional: guards, overseers, pages and reports ask it, and know no world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from heed.worlds.backdrop import Backdrop
from heed.worlds.catastrophe_info import Rule
from heed.worlds.overlay import Shape

States = NDArray[Any]
"""Arrays [..., S] of what an agent observes, or of the same in higher precision."""
Numbers = NDArray[Any]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """What is known of a world; an environment offers one as its attribute ``oracle``.

    Fill in what you know; `None` means that nobody knows, and whoever needs that part says so. States are arrays
    [..., S] as the agent observes them, actions are as the environment takes them: [..., A], or whole numbers [...].

    Args:
        about: one sentence for reports: what moves here, and what a catastrophe is.
        kwargs: what to give `gymnasium.make` beside the id.
        catastrophe: ``catastrophe(observation, info)``, where a state alone does not show it; taken from
            ``is_catastrophe`` if that is given alone. The info is as `CatastropheInfo` makes it.
        reports_catastrophe: the environment itself sets ``info["catastrophe"]``, ends there and gives its own reward;
            else `CatastropheInfo` does, which takes 5 off the reward and ends the episode, unless told otherwise.
        danger: ``danger(observation, info)``: where a person would step in, in time for ``safe_action`` to help.
        safe_action: from observations [..., S], actions that lead out of danger: the brake.
        is_catastrophe: which states are catastrophes, bool [...].
        is_doomed: from which states a catastrophe can no longer be helped, bool [...]; catastrophes are among them.
        brake_fails: from which states braking at once still ends in a catastrophe, bool [...].
        spare: how far braking at once stays from every catastrophe, in steps at full speed, [...]; negative where it
            meets one.
        at_goal: which states end an episode harmlessly, bool [...].
        peek: ``peek(env, action)``: the state [S] to which an action would lead now, as ``is_catastrophe`` takes it;
            nothing moves. ``env`` is the unwrapped environment.
        dynamics: ``dynamics(states, actions)``: the true next states [..., S] and rewards [...].
        dt: seconds of one step; else those of the environment's ``render_fps``.
        label_keys: indices of the state that catastrophes depend on; None for all.
        variable_names: of the state, S of them.
        action_names: of a box, for each axis what less and what more of it does; of choices, each one's.
        applied: what of an action of a box the world applies: from [A], shares of each axis's strength, [A] in [-1, 1];
            None where an action is applied as it is.
        keys: with what a person acts in the agent's place: by key, as browsers name it in lower case, what it does and
            the action, of choices, or what it adds to no action, of a box, [A].
        in_frame: where states lie in the rendered frame: [..., 2], shares of width and height from the upper left
            corner.
        action_in_frame: ``action_in_frame(env, observation, action)``: arrows and flames that show a proposed action on
            the rendered frame, `heed.worlds.Arrow` and `heed.worlds.Flame`; none where it does nothing. ``env`` is the
            unwrapped environment, drawn just now. None where nothing sensible can be drawn, as of torques: then bars
            beside the picture tell it.
        backdrop: what stands still in the world, for reports.

    >>> edge = Oracle(is_catastrophe=lambda states: np.abs(states[..., 0]) > 5, dt=0.1)
    >>> edge.catastrophe(np.array([5.5, 0.0]), {}), edge.is_doomed is None
    (True, True)
    """

    about: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    catastrophe: Rule | None = None
    reports_catastrophe: bool = False
    danger: Rule | None = None
    safe_action: Callable[[Any], Any] | None = None
    is_catastrophe: Callable[[States], Bools] | None = None
    is_doomed: Callable[[States], Bools] | None = None
    brake_fails: Callable[[States], Bools] | None = None
    spare: Callable[[States], Numbers] | None = None
    at_goal: Callable[[States], Bools] | None = None
    peek: Callable[[Any, Any], States] | None = None
    dynamics: Callable[[States, Numbers], tuple[States, Numbers]] | None = None
    dt: float | None = None
    label_keys: tuple[int, ...] | None = None
    variable_names: tuple[str, ...] | None = None
    action_names: tuple[Any, ...] | None = None
    applied: Callable[[Numbers], Numbers] | None = None
    keys: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    in_frame: Callable[[States], Numbers] | None = None
    action_in_frame: Callable[[Any, Any, Any], Sequence[Shape]] | None = None
    backdrop: Backdrop | None = None

    def __post_init__(self) -> None:
        """Take the rule of catastrophes from what else says it."""
        if self.catastrophe is not None:
            return
        if self.reports_catastrophe:
            object.__setattr__(self, "catastrophe", reported)
        elif self.is_catastrophe is not None:
            object.__setattr__(self, "catastrophe", on_states(self.is_catastrophe))


def on_states(rule: Callable[[States], Bools]) -> Rule:
    """A rule ``(observation, info) -> bool`` from one on arrays of states.

    >>> on_states(lambda states: states[..., 0] > 1)(np.array([2.0]), {})
    True
    """
    return lambda observation, _info: bool(rule(np.asarray(observation)))


def reported(_observation: Any, info: Mapping[str, Any]) -> bool:
    """The rule of an environment that reports its catastrophes itself.

    >>> reported(None, {"catastrophe": True})
    True
    """
    return bool(info["catastrophe"])


def offered_by(env: gym.Env[Any, Any]) -> Oracle | None:
    """The oracle that an environment itself offers, wrapped or not: its attribute ``oracle``."""
    offered = getattr(env.unwrapped, "oracle", None)
    return offered if isinstance(offered, Oracle) else None
