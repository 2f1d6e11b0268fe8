"""How much is done: on two CPU cores over a night, on a GPU in minutes, or just to see that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The experiment's numbers.

    Args:
        comparisons: each judge learns from at most so many.
        tested: on which it is tested, at most.
        batch: of which it learns at once.
        rounds: of each run.
        prompts: of each round.
        completions: of each prompt.
        tokens: of a completion, at most.
        evaluated: prompts of each kind on which runs are evaluated, before the first and after the last round.
        micro_batch: completions in one forward and backward.
        seeds: of each method.
        workers: runs at once.
    """

    comparisons: int
    tested: int
    batch: int
    rounds: int
    prompts: int
    completions: int
    tokens: int
    evaluated: int
    micro_batch: int
    seeds: int
    workers: int


SIZES = {
    "cpu": Size(
        comparisons=1000,
        tested=250,
        batch=8,
        rounds=60,
        prompts=4,
        completions=4,
        tokens=64,
        evaluated=40,
        micro_batch=8,
        seeds=3,
        workers=1,
    ),
    "gpu": Size(
        comparisons=4000,
        tested=250,
        batch=32,
        rounds=20,
        prompts=16,
        completions=4,
        tokens=128,
        evaluated=100,
        micro_batch=32,
        seeds=3,
        workers=3,
    ),
    "quick": Size(
        comparisons=16,
        tested=8,
        batch=8,
        rounds=1,
        prompts=2,
        completions=2,
        tokens=8,
        evaluated=2,
        micro_batch=8,
        seeds=1,
        workers=1,
    ),
}
"""By name: a night on two cores, ten minutes or so on a GPU (by its parts: docs/figures.md), some minutes."""
