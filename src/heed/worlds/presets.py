"""What is catastrophic, dangerous and safe in environments that heed knows (methods.md 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.worlds import CLIFF_GRID, POINT_HAZARD
from heed.worlds.catastrophe_info import Rule
from heed.worlds.cliff_grid import env as cliff_grid
from heed.worlds.lunar_lander import rules as lunar_lander
from heed.worlds.point_hazard.geometry import Hazards, at_goal, brake, careless, hits
from heed.worlds.point_hazard.picture import shares
from heed.worlds.pong import rules as pong

Observations = NDArray[Any]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Preset:
    """What heed knows of an environment.

    Args:
        env_id: its id.
        kwargs: what to give `gymnasium.make` beside the id.
        catastrophe: ``catastrophe(observation, info)``, with the info that `CatastropheInfo` makes.
        danger: ``danger(observation, info)``: where a person would step in, in time for `safe_action` to help.
        label_keys: the parts of the state that catastrophes depend on; None for all of it.
        safe_action: from observations [..., S], actions that lead out of danger, [..., A] or whole numbers [...]; None
            if there is none to name.
        termination: from observations [..., S], which of them end an episode, bool [...]; None if that cannot be seen
            in them.
        goal: from observations [..., S], which of them end an episode harmlessly, bool [...]; None if none do.
        about: one sentence for reports.
        pixels: from observations [..., S], where in its picture the agent is: [..., 2], shares of width and height from
            the upper left corner; None if that cannot be seen in them.
        action_names: of a box, for each axis what less and what more of it does; of choices, each one's.
    """

    env_id: str
    kwargs: Mapping[str, Any]
    catastrophe: Rule
    danger: Rule
    label_keys: tuple[int, ...] | None
    safe_action: Callable[[Any], Any] | None
    termination: Callable[[Observations], Bools] | None
    about: str
    goal: Callable[[Observations], Bools] | None = None
    action_names: tuple[Any, ...] | None = None
    pixels: Callable[[Observations], Observations] | None = None


def preset(env_id: str, **kwargs: Any) -> Preset | None:
    """The preset of an environment, or None if heed has none.

    Args:
        env_id: as given to `gymnasium.make`.
        kwargs: what else `gymnasium.make` is given; it goes over the preset's own, and point hazard's rules follow it.

    >>> flip = preset("HalfCheetah-v5")
    >>> flip.catastrophe(np.array([0.0, -1.6]), {}), flip.danger(np.array([0.0, 0.9]), {})
    (True, False)
    >>> preset("Acrobot-v1") is None
    True
    """
    make = _PRESETS.get(env_id.removeprefix("heed.worlds:"))
    return None if make is None else make(**kwargs)


def _on_states(rule: Callable[[Observations], Bools]) -> Rule:
    """A rule on one observation from one on arrays of them."""
    return lambda observation, _info: bool(rule(np.asarray(observation)))


def _point_hazard(**kwargs: Any) -> Preset:
    world = Hazards(**{name: value for name, value in kwargs.items() if name != "render_mode"})
    return Preset(
        POINT_HAZARD,
        kwargs,
        catastrophe=lambda _observation, info: bool(info["catastrophe"]),
        danger=_on_states(partial(careless, world=world)),
        label_keys=(0, 1),
        safe_action=lambda observation: brake(observation, world).astype(np.float32),
        termination=lambda states: hits(states, world) | at_goal(states, world),
        about="a point mass with momentum; the round hazard and the walls are catastrophes",
        goal=lambda states: at_goal(states, world),
        action_names=(("left", "right"), ("down", "up")),
        pixels=lambda states: shares(states, world),
    )


def _cliff_grid(**kwargs: Any) -> Preset:
    return Preset(
        CLIFF_GRID,
        kwargs,
        catastrophe=lambda _observation, info: bool(info["catastrophe"]),
        danger=lambda observation, _info: cliff_grid.headed_for_doom(cliff_grid.state_of(observation)),
        label_keys=(0, 1),
        safe_action=cliff_grid.safest_actions,
        termination=cliff_grid.ends,
        about="a walker with momentum on a grid; cliffs and the edge are catastrophes",
        goal=cliff_grid.at_goal,
        action_names=cliff_grid.ACTIONS,
    )


def _lunar_lander(**kwargs: Any) -> Preset:
    return Preset(
        "LunarLander-v3",
        {"continuous": True, **kwargs},
        catastrophe=lunar_lander.crashed,
        danger=lambda observation, _info: lunar_lander.dangerous(observation),
        label_keys=None,
        safe_action=lunar_lander.steady,
        termination=None,  # whether the body touches the ground cannot be seen in an observation
        about="a lander; its body touching the ground, or leaving the screen, is a catastrophe",
        action_names=(("main engine off", "main engine"), ("left engine", "right engine")),
        pixels=lunar_lander.shares,
    )


_LEGS = ("hind thigh", "hind shin", "hind foot", "front thigh", "front shin", "front foot")


def _half_cheetah(**kwargs: Any) -> Preset:
    def flipped(states: Observations) -> Bools:
        return np.asarray(np.abs(states[..., 1]) > np.pi / 2)

    return Preset(
        "HalfCheetah-v5",
        kwargs,
        catastrophe=_on_states(flipped),
        danger=_on_states(lambda states: np.abs(states[..., 1]) > 1.0),
        label_keys=(1,),
        safe_action=None,  # going limp helps little: it stops half the flips of a random walk
        termination=flipped,
        about="a running half cheetah; a torso turned by more than a right angle, the flip, is a catastrophe",
        action_names=tuple((f"{part} back", f"{part} on") for part in _LEGS),
    )


def _hopper(**kwargs: Any) -> Preset:
    def fallen(states: Observations) -> Bools:
        low, tilted = states[..., 0] <= 0.7, np.abs(states[..., 1]) >= 0.2
        return np.asarray(low | tilted | (np.abs(states[..., 1:]) >= 100.0).any(-1))

    return Preset(
        "Hopper-v5",
        kwargs,
        catastrophe=_on_states(fallen),
        danger=_on_states(lambda states: (states[..., 0] < 0.8) | (np.abs(states[..., 1]) > 0.15)),
        label_keys=(0, 1),
        safe_action=None,  # going limp helps nothing: the hopper falls as before
        termination=fallen,
        about="a hopper; falling (its own unhealthy rule: height at most 0.7, angle at least 0.2) is a catastrophe",
        action_names=(("thigh back", "thigh on"), ("leg back", "leg on"), ("foot back", "foot on")),
    )


def _inverted_pendulum(**kwargs: Any) -> Preset:
    def fallen(states: Observations) -> Bools:
        return np.asarray(np.abs(states[..., 1]) > 0.2)

    def dangerous(states: Observations) -> Bools:
        falling = np.abs(states[..., 1] + 0.1 * states[..., 3]) > 0.1
        return np.asarray(falling | (np.abs(states[..., 0] + 0.3 * states[..., 2]) > 0.5))

    return Preset(
        "InvertedPendulum-v5",
        kwargs,
        catastrophe=_on_states(fallen),
        danger=_on_states(dangerous),
        label_keys=(1,),
        safe_action=lambda seen: np.clip(np.asarray(seen) @ (1.0, 15.0, 1.5, 3.0), -3.0, 3.0)[..., None].astype(
            np.float32
        ),
        termination=fallen,
        about="a pole on a cart; leaning by more than 0.2 rad is a catastrophe",
        action_names=(("left", "right"),),
    )


def _cart_pole(**kwargs: Any) -> Preset:
    def fallen(states: Observations) -> Bools:
        return np.asarray((np.abs(states[..., 0]) > 2.4) | (np.abs(states[..., 2]) > np.deg2rad(12)))

    def dangerous(states: Observations) -> Bools:
        falling = np.abs(states[..., 2] + 0.1 * states[..., 3]) > 0.1
        return np.asarray(falling | (np.abs(states[..., 0] + 0.3 * states[..., 1]) > 1.8))

    return Preset(
        "CartPole-v1",
        kwargs,
        catastrophe=_on_states(fallen),
        danger=_on_states(dangerous),
        label_keys=(0, 2),
        safe_action=lambda seen: (np.asarray(seen) @ (0.03, 0.05, 1.0, 0.3) > 0).astype(np.int64),
        termination=fallen,
        about="a pole on a cart; leaning by more than 12 degrees, or leaving the track, is a catastrophe",
        action_names=("left", "right"),
    )


def _pong(**kwargs: Any) -> Preset:
    return Preset(
        "ALE/Pong-v5",
        {"obs_type": "ram", "repeat_action_probability": 0.0, **kwargs},
        catastrophe=_on_states(pong.too_low),
        danger=_on_states(pong.dangerous),
        label_keys=(pong.PADDLE,),
        safe_action=lambda seen: np.full(np.shape(seen)[:-1], pong.UP),
        termination=pong.too_low,
        about="Pong on its RAM; a paddle that comes too close to the bottom is a catastrophe (HIRL's own task)",
    )


_PRESETS: dict[str, Callable[..., Preset]] = {
    POINT_HAZARD: _point_hazard,
    CLIFF_GRID: _cliff_grid,
    "LunarLander-v3": _lunar_lander,
    "HalfCheetah-v5": _half_cheetah,
    "Hopper-v5": _hopper,
    "InvertedPendulum-v5": _inverted_pendulum,
    "CartPole-v1": _cart_pole,
    "ALE/Pong-v5": _pong,
}
