"""How much is done: on two CPU cores over a night, on a GPU in minutes, or just to see that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The experiment's numbers.

    Args:
        comparisons: each judge learns from at most so many.
        tested: on which it is tested, at most.
        rounds: of each run.
        prompts: of each round.
        completions: of each prompt.
        tokens: of a completion, at most.
        evaluated: prompts of each kind on which runs are evaluated, before the first and after the last round.
        seeds: of each method.
        workers: runs at once.
    """

    comparisons: int
    tested: int
    rounds: int
    prompts: int
    completions: int
    tokens: int
    evaluated: int
    seeds: int
    workers: int


SIZES = {
    "cpu": Size(1000, 250, 60, 4, 4, 64, 40, 3, 1),
    "gpu": Size(4000, 500, 60, 16, 4, 128, 100, 3, 1),
    "quick": Size(16, 8, 1, 2, 2, 8, 2, 1, 1),
}
"""By name; a night on two cores, minutes on a GPU (not yet measured), some minutes."""
