"""What all ten environments have: episodes end after a while, and a twin can be put where they stand."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self


class Twinned(Protocol):
    """An environment of which an overseer can have a copy to try actions in."""

    unwrapped: Any

    def twin(self) -> Self:
        """Another one of the same kind, in which nothing is left to chance."""
        ...

    def mirror(self, other: Self) -> None:
        """Stand where the other one stands."""
        ...


class Limited:
    """Cuts episodes of the environment that comes after it in the order of classes."""

    limit: ClassVar[int]
    taken = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        begun = super().reset(seed=seed, options=options)  # Box2D's take a step in it
        self.taken = 0
        return begun

    def step(self, action: Any) -> Any:
        """Take a step; the last one that an episode may have is its end."""
        observation, reward, terminated, truncated, info = super().step(action)
        self.taken += 1
        return observation, reward, terminated, truncated or (self.taken >= self.limit and not terminated), info
