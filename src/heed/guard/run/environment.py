"""From what a user types to an environment that can be guarded, with all that heed knows of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

import heed.worlds  # noqa: F401 - registers heed's own
from heed.errors import HeedError
from heed.guard.actions import ActionCoder, check_observations
from heed.guard.planning.imagination import Controller
from heed.worlds.catastrophe_info import CatastropheInfo, Rule
from heed.worlds.point_hazard.env import CATASTROPHE_REWARD, GOAL_REWARD, STEP_COST, PointHazardEnv
from heed.worlds.point_hazard.geometry import advance, at_goal, braking_clearance, braking_hits, doomed, hits
from heed.worlds.presets import Preset, preset

FAR = 99.0
"""Steps to spare, at most: from where braking ends in the goal, no hazard is near."""


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
    goal: Callable[[Tensor], Tensor] | None
    about: str


def surroundings(name: str, kwargs: Mapping[str, Any] | None = None, catastrophe: str | None = None) -> Surroundings:
    """Make an environment and say what a catastrophe is in it.

    Args:
        name: a Gymnasium id, or ``module:Class`` of the current folder or of what is installed.
        kwargs: for the environment.
        catastrophe: ``module:function`` of a rule ``catastrophe(observation, info)``; None takes the preset's.

    Raises:
        HeedError: no such environment, spaces that cannot be guarded, or nothing says what a catastrophe is.

    >>> found = surroundings("heed/PointHazard-v0")
    >>> found.label_keys, found.brake(torch.tensor([[0.0, 0.0, 1.0, -0.05]])).tolist()
    ((0, 1), [[-1.0, 0.5]])
    """
    known = preset(name, **dict(kwargs or {}))
    env = _make(name, dict(kwargs or {}) if known is None else dict(known.kwargs))
    check_observations(env.observation_space)
    coder = ActionCoder(env.action_space)
    rule: Rule | None = None
    if catastrophe is not None:
        rule = _named(catastrophe, "--catastrophe")
    elif known is not None:
        rule = known.catastrophe
    if rule is None:
        raise HeedError(
            f"nothing says what a catastrophe is in {name}",
            "--catastrophe",
            "give module:function, a function (observation, info) -> bool",
        )
    if not isinstance(env.unwrapped, PointHazardEnv) or catastrophe is not None:
        env = CatastropheInfo(env, rule)
    known_parts = known if catastrophe is None else None
    safe = None if known is None else known.safe_action
    return Surroundings(
        env,
        name,
        None if known_parts is None else known_parts.label_keys,
        safe,
        None if safe is None else _batched(safe, coder),
        _goal(known_parts),
        f"catastrophes as {catastrophe} says" if known_parts is None else known_parts.about,
    )


def drawing(name: str) -> dict[str, Any]:
    """What to make an environment with so that it can be drawn, nothing where it cannot.

    >>> drawing("heed/PointHazard-v0")
    {'render_mode': 'rgb_array'}
    """
    try:
        own = ":" in name and "/" not in name
        made = _named(name, "--env") if own else gym.envs.registration.load_env_creator(_entry_of(name))
    except (gym.error.Error, ImportError, AttributeError, HeedError):
        return {}  # whatever is wrong is said where it is made
    modes = getattr(made, "metadata", {}).get("render_modes", ())
    return {"render_mode": "rgb_array"} if "rgb_array" in modes else {}


def _entry_of(name: str) -> str:
    entry = gym.spec(name).entry_point
    if not isinstance(entry, str):
        raise ImportError(name)
    return entry


def known_point_hazard(env: gym.Env[Any, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Point hazard's own dynamics and catastrophes on tensors, for what perfect knowledge is worth.

    Returns:
        ``(states, actions) -> (next states, rewards)`` and ``next states -> bool``.

    Raises:
        HeedError: another environment.
    """
    world = env.unwrapped
    if not isinstance(world, PointHazardEnv):
        raise HeedError("the true dynamics are known of heed/PointHazard-v0 only", "--method", "take mbhi")
    hazards = world.world
    goal = np.array(hazards.goal)

    def step(states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        now = states.numpy().astype(np.float64)
        following = advance(now, actions.numpy(), hazards)
        progress = np.linalg.norm(now[..., :2] - goal, axis=-1) - np.linalg.norm(following[..., :2] - goal, axis=-1)
        ends = GOAL_REWARD * at_goal(following, hazards) + CATASTROPHE_REWARD * hits(following, hazards)
        return torch.from_numpy(following).float(), torch.from_numpy(progress - STEP_COST + ends).float()

    return step, lambda states: torch.from_numpy(hits(states.numpy(), hazards))


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


def need_on_point_hazard(env: gym.Env[Any, Any]) -> Callable[[Any, Any], Need] | None:
    """From a state and a proposed action (as the environment takes it): was blocking needless, was it needed?

    Blocking is needless where the brake still stops in time after the action; it is needed where the action leads to a
    catastrophe or into doom, from where nothing helps. In between a swerve would have helped. None where no oracle
    knows.
    """
    world = env.unwrapped
    if not isinstance(world, PointHazardEnv):
        return None
    hazards = world.world

    def told(state: Any, action: Any) -> Need:
        following = advance(state, action, hazards)
        struck = bool(hits(following, hazards))
        stops = not struck and not bool(braking_hits(following, hazards))
        spare = min(float(braking_clearance(following, hazards)) / (hazards.speed * hazards.dt), FAR)
        return Need(stops, struck or bool(doomed(following, hazards)), spare)

    return told


def _make(name: str, kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    own = ":" in name and "/" not in name  # an id may hold a colon too, as in heed.worlds:heed/PointHazard-v0
    if own:
        made = _named(name, "--env")(**kwargs)
        if not isinstance(made, gym.Env):
            raise HeedError(f"{name} makes no Gymnasium environment", "--env", "give a subclass of gymnasium.Env")
        return made
    try:
        return gym.make(name, **kwargs)
    except (gym.error.Error, ImportError, TypeError) as problem:
        first = str(problem).splitlines()[0]
        raise HeedError(
            f"{name} cannot be made: {first}", "--env", "give an installed Gymnasium id or module:Class"
        ) from None


def _named(spec: str, where: str) -> Any:
    module, _, attribute = spec.partition(":")
    if not attribute:
        raise HeedError(f"'{spec}' names nothing", where, "write module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as problem:
        fix = "write module:name of what can be imported"
        raise HeedError(f"{spec} cannot be found: {problem}", where, fix) from None


def _batched(safe: Callable[[Any], Any], coder: ActionCoder) -> Controller:
    """A safe action in the environment's units as a controller of states [N, S]."""
    return lambda states: coder.encode_all(np.asarray(safe(states.numpy())))


def _goal(known: Preset | None) -> Callable[[Tensor], Tensor] | None:
    if known is None or known.goal is None:
        return None
    reached = known.goal
    return lambda states: torch.from_numpy(np.asarray(reached(states.numpy())))
