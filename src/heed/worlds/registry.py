"""The physical worlds that heed knows, a line each: where a world's oracle lies, and its environment if it is ours.

Nothing of a world is imported before it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any

import gymnasium as gym

from heed.worlds.oracle import Oracle, offered_by

POINT_HAZARD = "heed/PointHazard-v0"
CLIFF_GRID = "heed/CliffGrid-v0"


@dataclass(frozen=True)
class Registration:
    """Where a world lies.

    Args:
        oracle: ``module:name`` of its `Oracle`, or of a function that makes one from the environment's settings.
        env: ``module:Class``, to be registered with Gymnasium; None where the environment is others'.
    """

    oracle: str
    env: str | None = None


_HERE = "heed.worlds"
WORLDS: dict[str, Registration] = {
    POINT_HAZARD: Registration(f"{_HERE}.point_hazard.oracle:oracle", f"{_HERE}.point_hazard.env:PointHazardEnv"),
    CLIFF_GRID: Registration(f"{_HERE}.cliff_grid.oracle:ORACLE", f"{_HERE}.cliff_grid.env:CliffGridEnv"),
    "LunarLander-v3": Registration(f"{_HERE}.lunar_lander.oracle:ORACLE"),
    "HalfCheetah-v5": Registration(f"{_HERE}.half_cheetah.oracle:ORACLE"),
    "Hopper-v5": Registration(f"{_HERE}.hopper.oracle:ORACLE"),
    "InvertedPendulum-v5": Registration(f"{_HERE}.inverted_pendulum.oracle:ORACLE"),
    "CartPole-v1": Registration(f"{_HERE}.cart_pole.oracle:ORACLE"),
    "ALE/Pong-v5": Registration(f"{_HERE}.pong.oracle:ORACLE"),
}


def register_environments() -> None:
    """Tell Gymnasium of heed's own environments, once: a reload would make it warn that an id is taken."""
    for env_id, registration in WORLDS.items():
        if registration.env is not None and env_id not in gym.registry:
            gym.register(env_id, entry_point=registration.env)


def registered_oracle(env_id: str, **kwargs: Any) -> Oracle | None:
    """The oracle of a registered world, or None if the id is none of them.

    Args:
        env_id: as given to `gymnasium.make`.
        kwargs: what else `gymnasium.make` is given; it goes over the oracle's own, and point hazard's follows it.

    >>> import numpy as np
    >>> flip = registered_oracle("HalfCheetah-v5")
    >>> flip.catastrophe(np.array([0.0, -1.6]), {}), flip.danger(np.array([0.0, 0.9]), {})
    (True, False)
    >>> registered_oracle("Acrobot-v1") is None
    True
    """
    registration = WORLDS.get(env_id.removeprefix(f"{_HERE}:"))
    if registration is None:
        return None
    offered = resolve_name(registration.oracle)
    oracle: Oracle = offered if isinstance(offered, Oracle) else offered(**kwargs)
    return replace(oracle, kwargs={**oracle.kwargs, **kwargs})


def oracle_of(env: gym.Env[Any, Any]) -> Oracle | None:
    """What is known of an environment, wrapped or not, or None if nothing is.

    An environment's own attribute ``oracle`` counts first, so that a user's need not be registered; else the world that
    is registered by its id does.

    >>> oracle_of(gym.make("CartPole-v1")).label_keys
    (0, 2)
    >>> oracle_of(gym.make("Acrobot-v1")) is None
    True
    """
    offered = offered_by(env)
    if offered is not None or env.spec is None:
        return offered
    return registered_oracle(env.spec.id, **env.spec.kwargs)
