"""From what a user types to an environment that can be guarded, with all that heed knows of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.keeping.known import batched, on_tensors
from heed.guard.planning.imagination import Controller
from heed.guard.spaces import check_observations
from heed.runs.importing import imported, is_named, named, users_errors
from heed.worlds import CatastropheInfo, Oracle, oracle_of, registered_oracle

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
        safe_action: from an observation, the declared safe action; None where there is none.
        brake: the same, batched: states [N, S] to action vectors [N, A].
        goal: batched, states [N, S] that end an episode harmlessly: bool [N]; None where none do.
        about: one sentence.
        at_catastrophe: what a catastrophe costs and whether it ends the episode, in words.
    """

    env: gym.Env[Any, Any]
    name: str
    safe_action: Callable[[Any], Any] | None
    brake: Controller | None
    goal: StatesToBools | None
    about: str
    at_catastrophe: str


@dataclass(frozen=True)
class AtCatastrophe:
    """What happens at a catastrophe that the environment does not report itself.

    Args:
        reward: is added to the environment's own.
        ends: whether the episode ends.
    """

    reward: float = -5.0
    ends: bool = True

    def __str__(self) -> str:
        paid = f"adds {self.reward:g} to the reward" if self.reward else "leaves the reward as it is"
        return f"{paid} and {'ends the episode' if self.ends else 'the episode goes on'}"


def surroundings(
    name: str,
    kwargs: Mapping[str, Any] | None = None,
    catastrophe: str | None = None,
    safe_action: str | None = None,
    at_catastrophe: AtCatastrophe | None = None,
) -> Surroundings:
    """Make an environment and say what a catastrophe is in it, as `oracle_of` knows it.

    Args:
        name: a Gymnasium id, or ``module:Class`` of the current folder or of what is installed.
        kwargs: for the environment.
        catastrophe: ``module:function`` of a rule ``catastrophe(observation, info)``; None takes the oracle's.
        safe_action: ``module:function`` of the declared safe action of an observation; None takes the oracle's. One
            that takes many observations [N, S] at once as well is the brake.
        at_catastrophe: what happens at one; None is as by default.

    Raises:
        HeedError: no such environment, settings that it does not have, spaces that cannot be guarded, nothing says
            what a catastrophe is, or what should happen at one cannot, as the environment has its own way.

    >>> place = surroundings("heed/PointHazard-v0")
    >>> place.brake(torch.tensor([[0.0, 0.0, 1.0, -0.05]])).tolist()
    [[-1.0, 0.5]]
    """
    registered = registered_oracle(name) or Oracle()
    env = _make(name, {**registered.kwargs, **(kwargs or {})})
    known = oracle_of(env) or Oracle()
    check_observations(env.observation_space)
    coder = ActionCoder(env.action_space)
    rule = known.catastrophe if catastrophe is None else _function(catastrophe, f"--catastrophe {catastrophe}")
    if rule is None:
        raise HeedError(
            f"nothing says what a catastrophe is in {name}",
            "--catastrophe",
            "give module:function, a function (observation, info) -> bool, or the environment an oracle that says it",
        )
    if catastrophe is not None or not known.reports_catastrophe:
        wanted = at_catastrophe or AtCatastrophe()
        env, cost = CatastropheInfo(env, rule, wanted.reward, wanted.ends), f"a catastrophe {wanted}"
    elif at_catastrophe in (None, AtCatastrophe()):
        cost = f"a catastrophe costs and ends what {name} itself says"
    else:
        fix = "leave them out, or give --catastrophe module:function"
        where = "--catastrophe-reward, --catastrophe-ends"
        raise HeedError(f"{name} itself says what a catastrophe costs and ends", where, fix)
    safe = known.safe_action
    brake = None if safe is None else batched(safe, coder)
    if safe_action is not None:
        safe = _function(safe_action, f"--safe-action {safe_action}")
        brake = batched(safe, coder) if _takes_many(safe, env.observation_space, coder) else None
    goal = None if known.at_goal is None else on_tensors(known.at_goal)
    if catastrophe is not None:  # what the oracle says of its own catastrophes is not about these
        return Surroundings(env, name, safe, brake, None, _told(rule, catastrophe), cost)
    return Surroundings(env, name, safe, brake, goal, known.about, cost)


def _told(rule: Any, name: str) -> str:
    """What a rule of one's own calls a catastrophe: the first line of its docstring, or else its name."""
    first = (inspect.getdoc(rule) or "").partition("\n")[0].rstrip(".")
    return f"a catastrophe: {first[:1].lower()}{first[1:]}" if first else f"catastrophes as {name} says"


def drawing(name: str) -> dict[str, Any]:
    """What to make an environment with so that it can be rendered, empty where it cannot.

    >>> drawing("heed/PointHazard-v0")
    {'render_mode': 'rgb_array'}
    """
    try:
        own = is_named(name)
        if not own:
            _import_of(name)
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
    _import_of(name)
    try:
        return gym.make(name, **kwargs)
    except HeedError:
        raise
    except Exception as problem:  # an environment's own code may raise anything
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise HeedError(
            f"{name} cannot be made: {first}", "--env", "give an installed Gymnasium id or module:Class"
        ) from problem


def _import_of(name: str) -> None:
    """Import the module that an id of the form ``module:Env-v0`` names, which registers the environment."""
    module, colon, _ = name.partition(":")
    if colon:
        imported(module, f"--env {name}")


def _function(spec: str, where: str) -> Callable[..., Any]:
    found = named(spec, where)
    if not callable(found):
        raise HeedError(f"{spec} is no function", where, "name one")
    function: Callable[..., Any] = found
    return function


def _takes_many(safe: Callable[[Any], Any], space: gym.Space[Any], coder: ActionCoder) -> bool:
    """Whether a safe action of one observation says the same of many at once, as a brake must."""
    states = np.random.default_rng(0).normal(size=(16, *(space.shape or ()))).astype(np.float32)
    try:
        single = np.stack([np.asarray(coder.meant(safe(state)), np.float64) for state in states])
        together = np.asarray(safe(states), np.float64)
    except Exception:  # noqa: BLE001 - it is the user's, and was not made for this
        return False
    return together.shape == single.shape and np.allclose(together, single, atol=1e-6)
