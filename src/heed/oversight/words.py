"""A proposed action in words, as a person at the page reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from heed.worlds.presets import preset

FAINT = 0.05
"""Share of an action's range below which it counts as nothing."""


def action_in_words(action: Any, env: gym.Env[Any, Any] | None) -> str:
    """What an action would do.

    Names come from heed's preset of the environment, or from its own ``get_action_meanings``; without either, actions
    have numbers.

    Args:
        action: as the environment takes it.
        env: the environment; None where it is out of reach.

    >>> import heed.worlds
    >>> action_in_words(np.array([0.5, -1.0]), gym.make("heed/PointHazard-v0"))
    'right 50%, down 100%'
    """
    names = None if env is None else action_names(env)
    space = None if env is None else env.action_space
    if isinstance(action, int | np.integer):
        start = int(space.start) if isinstance(space, gym.spaces.Discrete) else 0
        return name_of(int(action) - start, names)
    values = np.asarray(action, float).reshape(-1)
    if names is None or len(names) != len(values):
        return ", ".join(f"{value:+.2f}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
    high = space.high.astype(float) if isinstance(space, gym.spaces.Box) else np.ones_like(values)
    said = [
        f"{less if value < 0 else more} {share:.0%}"
        for (less, more), value, share in zip(names, values, np.abs(values) / high, strict=True)
        if share >= FAINT
    ]
    return ", ".join(said) or "nothing"


def action_names(env: gym.Env[Any, Any]) -> Sequence[Any] | None:
    """Names of an environment's actions: of choices, each one's; of a box, what less and more of each axis does."""
    known = None if env.spec is None else preset(env.spec.id, **env.spec.kwargs)
    choices = isinstance(env.action_space, gym.spaces.Discrete)
    if known is not None and known.action_names is not None and isinstance(known.action_names[0], str) == choices:
        return known.action_names
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    return meanings() if callable(meanings) else None


def name_of(choice: int, names: Sequence[Any] | None) -> str:
    """The name of a choice, counted from 0, or its number.

    >>> name_of(2, ["NOOP", "FIRE", "RIGHTFIRE"]), name_of(3, None)
    ('rightfire', 'action 3')
    """
    if names is None or not 0 <= choice < len(names):
        return f"action {choice}"
    return str(names[choice]).lower().replace("_", " ")
