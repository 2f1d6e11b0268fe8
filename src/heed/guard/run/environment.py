"""From what a user types to an environment that can be guarded, with all that heed knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder, check_observations
from heed.guard.keeping.known import batched, on_tensors
from heed.guard.planning.imagination import Controller
from heed.runs.importing import is_named, named, users_errors
from heed.worlds import CatastropheInfo, Oracle, oracle_of, registered_oracle
from heed.worlds.oracle import offered_by

Dynamics = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
StatesToBools = Callable[[Tensor], Tensor]
FAR = 99.0
"""Steps to spare, at most: from where braking ends in the goal, no catastrophe is near."""


@dataclass(frozen=True)
class Surroundings:
    """An environment and what is known of it.

    Args:
        env: says in ``info["catastrophe"]`` what a catastrophe is.
        name: its id.
        label_keys: indices of the state that catastrophes depend on; None for all.
        safe_action: from an observation, the declared safe action; None where there is none.
        brake: the same, batched: states [N, S] to action vectors [N, A].
        goal: batched, states [N, S] that end an episode harmlessly: bool [N]; None where none do.
        about: one sentence.
    """

    env: gym.Env[Any, Any]
    name: str
    label_keys: tuple[int, ...] | None
    safe_action: Callable[[Any], Any] | None
    brake: Controller | None
    goal: StatesToBools | None
    about: str


def surroundings(name: str, kwargs: Mapping[str, Any] | None = None, catastrophe: str | None = None) -> Surroundings:
    """Make an environment and say what a catastrophe is in it.

    Args:
        name: a Gymnasium id, or ``module:Class`` of the current folder or of what is installed.
        kwargs: for the environment.
        catastrophe: ``module:function`` of a rule ``catastrophe(observation, info)``; None takes the oracle's.

    Raises:
        HeedError: no such environment, spaces that cannot be guarded, or nothing says what a catastrophe is.

    >>> place = surroundings("heed/PointHazard-v0")
    >>> place.label_keys, place.brake(torch.tensor([[0.0, 0.0, 1.0, -0.05]])).tolist()
    ((0, 1), [[-1.0, 0.5]])
    """
    registered = registered_oracle(name, **dict(kwargs or {}))
    env = _make(name, dict(kwargs or {}) if registered is None else dict(registered.kwargs))
    known = registered or offered_by(env) or Oracle()
    check_observations(env.observation_space)
    coder = ActionCoder(env.action_space)
    rule = known.catastrophe if catastrophe is None else named(catastrophe, f"--catastrophe {catastrophe}")
    if rule is None:
        raise HeedError(
            f"nothing says what a catastrophe is in {name}",
            "--catastrophe",
            "give module:function, a function (observation, info) -> bool, or the environment an oracle that says it",
        )
    if catastrophe is not None or not known.reports_catastrophe:
        env = CatastropheInfo(env, rule)
    safe = known.safe_action
    brake = None if safe is None else batched(safe, coder)
    goal = None if known.at_goal is None else on_tensors(known.at_goal)
    if catastrophe is not None:  # what the oracle says of its own catastrophes is not about these
        return Surroundings(env, name, None, safe, brake, None, f"catastrophes as {catastrophe} says")
    return Surroundings(env, name, known.label_keys, safe, brake, goal, known.about)


def drawing(name: str) -> dict[str, Any]:
    """What to make an environment with so that it can be rendered, empty where it cannot.

    >>> drawing("heed/PointHazard-v0")
    {'render_mode': 'rgb_array'}
    """
    try:
        own = is_named(name)
        made = named(name, "--env") if own else gym.envs.registration.load_env_creator(_entry_of(name))
    except (gym.error.Error, ImportError, AttributeError, HeedError):
        return {}  # whatever is wrong is reported where it is made
    modes = getattr(made, "metadata", {}).get("render_modes", ())
    return {"render_mode": "rgb_array"} if "rgb_array" in modes else {}


def _entry_of(name: str) -> str:
    entry = gym.spec(name).entry_point
    if not isinstance(entry, str):
        raise ImportError(name)
    return entry


def true_world(env: gym.Env[Any, Any]) -> tuple[Dynamics, StatesToBools]:
    """An environment's true dynamics and catastrophes on tensors, for what perfect knowledge is worth.

    It needs an oracle with ``dynamics`` and ``is_catastrophe``.

    Returns:
        ``(states, actions) -> (next states, rewards)``, actions as vectors (see `ActionCoder`), and
        ``next states -> bool``.

    Raises:
        HeedError: the environment has none.
    """
    known = oracle_of(env) or Oracle()
    if known.dynamics is None or known.is_catastrophe is None:
        raise HeedError(
            f"the true dynamics of {env.spec.id if env.spec else type(env.unwrapped).__name__} are not known",
            "--method",
            "take mbhi, or give the environment an oracle with dynamics and is_catastrophe",
        )
    coder, dynamics, is_catastrophe = ActionCoder(env.action_space), known.dynamics, known.is_catastrophe

    def step(states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        following, rewards = dynamics(states.numpy(), coder.decode_all(actions))
        return torch.from_numpy(np.asarray(following)).float(), torch.from_numpy(np.asarray(rewards)).float()

    return step, on_tensors(is_catastrophe)


@dataclass(frozen=True)
class Need:
    """What an oracle says of blocking a proposed action.

    Args:
        needless: the brake still stops in time after it.
        needed: it leads to a catastrophe, or into doom, from where nothing helps.
        spare: how far from every hazard the brake would have stayed, in steps at full speed; negative where it hits.
    """

    needless: bool
    needed: bool
    spare: float


def need_of_blocking(env: gym.Env[Any, Any]) -> Callable[[Any, Any], Need] | None:
    """From a state and a proposed action (as the environment takes it): was blocking needless, was it needed?

    Blocking is needless where the brake still stops in time after the action; it is needed where the action leads to a
    catastrophe or into doom, from where nothing helps. In between a swerve would have helped. None unless the
    environment's oracle has ``dynamics``, ``is_catastrophe``, ``brake_fails``, ``is_doomed`` and ``spare``.
    """
    known = oracle_of(env) or Oracle()
    dynamics, is_catastrophe, spare = known.dynamics, known.is_catastrophe, known.spare
    brake_fails, is_doomed = known.brake_fails, known.is_doomed
    if dynamics is None or is_catastrophe is None or brake_fails is None or is_doomed is None or spare is None:
        return None

    def need(state: Any, action: Any) -> Need:
        following = dynamics(state, action)[0]
        catastrophe = bool(is_catastrophe(following))
        stops = not catastrophe and not bool(brake_fails(following))
        return Need(stops, catastrophe or bool(is_doomed(following)), min(float(spare(following)), FAR))

    return need


def _make(name: str, kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    if is_named(name):  # an id may hold a colon too, as in heed.worlds:heed/PointHazard-v0
        where = f"--env {name}"
        offered = named(name, where)
        with users_errors(f"making {name}", where):
            made = offered(**kwargs)
        if not isinstance(made, gym.Env):
            raise HeedError(f"{name} makes no Gymnasium environment", "--env", "give a subclass of gymnasium.Env")
        return made
    try:
        return gym.make(name, **kwargs)
    except HeedError:
        raise
    except Exception as problem:  # an environment's own code may raise anything
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise HeedError(
            f"{name} cannot be made: {first}", "--env", "give an installed Gymnasium id or module:Class"
        ) from problem
