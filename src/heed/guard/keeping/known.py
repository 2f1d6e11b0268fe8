"""What a guard stands on that is code, not learnt: found in a world's oracle or given again, and known again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.models.blockers import DangerJudge
from heed.guard.models.dynamics import Dynamics
from heed.guard.planning.imagination import Controller
from heed.worlds.registry import oracle_of

_PROBES = 32
"""Observations on which what is given again must say what it said when the guard was saved."""


class Code(TypedDict, total=False):
    """Functions that a guard may stand on, by name.

    Attributes:
        policy: whose futures are imagined: states [N, S] to action vectors [N, A].
        brake: the same for what slows the agent down.
        value: what states are worth: states [N, S] to [N].
        termination: which states end an episode harmlessly: states [N, S] to bool [N].
        reward: of states, action vectors and next states.
        dynamics: known ones, in place of learnt ones.
        danger: known, in place of learnt blockers.
        safe_action: from an observation the declared safe action.
    """

    policy: Controller
    brake: Controller
    value: Callable[[Tensor], Tensor]
    termination: Callable[[Tensor], Tensor]
    reward: Callable[[Tensor, Tensor, Tensor], Tensor]
    dynamics: Dynamics
    danger: DangerJudge
    safe_action: Callable[[Any], Any]


def batched(safe: Callable[[Any], Any], coder: ActionCoder) -> Controller:
    """A safe action in the environment's units as a controller of states [N, S]."""
    return lambda states: coder.encode_all(np.asarray(safe(states.numpy())))


def on_tensors(which: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    """A rule on arrays of states [..., S] as one on tensors."""
    return lambda states: torch.from_numpy(np.asarray(which(states.numpy())))


def known_of(env: gym.Env[Any, Any] | None) -> Code:
    """What the oracle of an environment says, of what a guard may stand on."""
    oracle = None if env is None else oracle_of(env)
    found = Code()
    if env is None or oracle is None:
        return found
    if oracle.safe_action is not None:
        found["safe_action"] = oracle.safe_action
        found["brake"] = batched(oracle.safe_action, ActionCoder(env.action_space))
    if oracle.at_goal is not None:
        found["termination"] = on_tensors(oracle.at_goal)
    return found


def probed(code: Mapping[str, Any], space: gym.Space[Any], actions: ActionCoder) -> dict[str, Any]:
    """What each function says of some observations: by these the same ones are known again.

    Args:
        code: see `Code`.
        space: of observations.
        actions: between actions and vectors.

    Returns:
        ``states`` [n, S], and by name what each says of them; None of one that cannot be asked of any observation.
    """
    generator = np.random.default_rng(0)
    state = np.array([_drawn(space, generator) for _ in range(_PROBES)], np.float32)
    states = torch.from_numpy(state)
    answers: dict[str, Any] = {"states": states}
    for name, function in code.items():
        try:
            answers[name] = _answer(name, function, states, actions)
        except Exception:  # noqa: BLE001 - a user's own code, asked of states that may not be; it is then not checked
            answers[name] = None
    return answers


def check_same(code: Mapping[str, Any], answers: Mapping[str, Any], actions: ActionCoder, where: str) -> None:
    """Refuse code that says other things than what a guard was saved with.

    Args:
        code: what is given or found now.
        answers: see `probed`.
        actions: between actions and vectors.
        where: the guard was saved.

    Raises:
        HeedError: names the part.
    """
    for name, before in answers.items():
        if name == "states" or before is None or name not in code:
            continue
        try:
            same = torch.allclose(before, _answer(name, code[name], answers["states"], actions), equal_nan=True)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"
            raise HeedError(f"the {name} that is given fails ({reason})", where, f"give another {name}=") from problem
        if not same:
            fix = f"give {name}=, the one that it was saved with"
            raise HeedError(f"the {name} is not the one that this guard was saved with", where, fix)


def _drawn(space: gym.Space[Any], generator: np.random.Generator) -> Any:
    """An observation: anywhere in the box, or around 0 or the one bound where it is open."""
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)  # type: ignore[attr-defined] # a Box
    low, high = np.where(np.abs(low) < 1e6, low, -3.0), np.where(np.abs(high) < 1e6, high, 3.0)
    return generator.uniform(np.minimum(low, high), np.maximum(low, high))


def _answer(name: str, function: Any, states: Tensor, actions: ActionCoder) -> Tensor:
    idle = actions.nothing().expand(len(states), -1)
    if name == "safe_action":
        answers = [np.asarray(function(state), np.float64) for state in states.numpy()]
        return torch.from_numpy(np.stack(answers))
    if name == "dynamics":
        found = function.mean(states, idle)
    elif name == "danger":
        found = function.danger(states, idle, states)
    elif name == "reward":
        found = function(states, idle, states)
    else:
        found = function(states)
    return found.detach().double()
