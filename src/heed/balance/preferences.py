"""Preferences spread over the simplex."""

from __future__ import annotations

import itertools

import torch


def spread_preferences(count: int, k: int) -> list[list[float]]:
    """Preferences evenly over the inner simplex, each of which sums to 1 as exactly as floats can.

    Two objectives get ``count`` points from .1 to .9; more objectives the coarsest lattice with at least ``count``
    points, drawn in by a tenth towards the middle.

    >>> spread_preferences(3, 2)
    [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]
    >>> len(spread_preferences(6, 3))
    6
    """
    if k == 2:
        shares = [round(x, 6) for x in torch.linspace(0.1, 0.9, count, dtype=torch.float64).tolist()]
        return [[share, round(1 - share, 6)] for share in shares]
    parts = next(n for n in itertools.count(1) if _lattice_size(n, k) >= count)
    lattice = [c for c in itertools.product(range(parts + 1), repeat=k) if sum(c) == parts]
    return [[0.9 * c / parts + 0.1 / k for c in point] for point in lattice]


def _lattice_size(parts: int, k: int) -> int:
    return sum(1 for c in itertools.product(range(parts + 1), repeat=k) if sum(c) == parts)
