"""The ten environments that the guard was not made for: a list that was fixed before the first guarded run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

OVERSEERS = ("last-moment", "in-time")
METHODS = ("mbhi", "hirl", "none", "mbhi-true")


@dataclass(frozen=True)
class Foreign:
    """An environment, as `heed guard` is told of it.

    Args:
        name: in tables.
        env: ``module:Class``.
        catastrophe: ``module:function``.
        last_moment: ``module:name`` of the overseer that blocks what leads into a catastrophe at the next step.
        in_time: of the one that blocks in time for a simple recovery.
        true_parts: whether its true dynamics and catastrophes are known, for ``mbhi-true``.
    """

    name: str
    env: str
    catastrophe: str
    last_moment: str
    in_time: str
    true_parts: bool = False

    def overseer(self, kind: str) -> str:
        """``module:name`` of the overseer of a kind."""
        return {"last-moment": self.last_moment, "in-time": self.in_time}[kind]


def _in(module: str, env: str, catastrophe: str, last: str = "last_moment", early: str = "in_time") -> tuple[str, ...]:
    return tuple(f"foreign.{module}:{name}" for name in (env, catastrophe, last, early))


TEN = (
    Foreign("boat", *_in("boat", "Boat", "aground"), true_parts=True),
    Foreign("room", *_in("room", "Room", "collided"), true_parts=True),
    Foreign("tanks", *_in("tanks", "Tanks", "overflowed")),
    Foreign("lava", *_in("lava", "Lava", "burnt")),
    Foreign("pole", *_in("pole", "Pole", "fallen")),
    Foreign("hopper", *_in("legged", "Hopper", "fallen", early="hopper_in_time")),
    Foreign("walker", *_in("legged", "Walker", "fallen", early="walker_in_time")),
    Foreign("cheetah", *_in("legged", "Cheetah", "flipped", "flips_next", "flips_in_time")),
    Foreign("lander", *_in("engines", "Lander", "crashed", early="lander_in_time")),
    Foreign("biped", *_in("engines", "Biped", "crashed", early="biped_in_time")),
)


def folder_name(name: str, overseer: str, method: str, seed: int | str) -> str:
    """Of a run's folder; without a guard it is the same under every overseer.

    >>> folder_name("boat", "in-time", "mbhi", 0), folder_name("boat", "in-time", "none", "*")
    ('boat-in-time-mbhi-seed0', 'boat-none-seed*')
    """
    return "-".join([name, *([] if method == "none" else [overseer]), method, f"seed{seed}"])


def named(spec: str) -> Callable[..., Any]:
    """What ``module:name`` names."""
    return resolve_name(spec)
