"""Geometry of fronts to be maximised: Minkowski sums, free-disposal hulls, hypervolume."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from heed.errors import HeedError

Array = NDArray[np.float64]


def nondominated(points: Array) -> Array:
    """The distinct points [M, K] that no other of ``points`` [N, K] equals or exceeds everywhere."""
    return np.asarray(moocore.filter_dominated(points, maximise=True), dtype=np.float64)


def upper_hull(points: Array) -> Array:
    """Vertices of the Pareto part of the hull of ``points`` [N, 2], by falling first coordinate.

    >>> upper_hull(np.array([[0.0, 3.0], [1.0, 1.0], [2.0, 2.0], [3.0, 0.0], [0.0, 0.0]])).tolist()
    [[3.0, 0.0], [2.0, 2.0], [0.0, 3.0]]
    """
    front = nondominated(points)
    hull: list[Array] = []
    for point in front[np.argsort(-front[:, 0])]:
        while len(hull) >= 2 and not _bends(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return np.array(hull)


def _bends(before: Array, middle: Array, after: Array) -> bool:
    """Whether ``middle`` lies beyond the chord; a rounding error on a straight edge is no vertex."""
    along, onward = middle - before, after - before
    turn = along[1] * -onward[0] - onward[1] * -along[0]
    return bool(turn > 1e-12 * np.abs(along).max() * np.abs(onward).max())


def minkowski_average(hulls: Sequence[Array]) -> Array:
    """Upper hull [V, 2] of all averages of one point from each upper hull, by rising first coordinate.

    The sum of convex chains is the chain of all their edges in order of slope, so this is exact.
    """
    start = sum((hull[0] for hull in hulls), np.zeros(2))
    edges = np.concatenate([np.zeros((0, 2)), *(np.diff(hull, axis=0) for hull in hulls)])
    angle = np.arctan2(edges[:, 1], -edges[:, 0])
    edges = edges[np.argsort(-angle, kind="stable")]
    corners = start + np.concatenate([np.zeros((1, 2)), np.cumsum(edges, 0)])
    return upper_hull(corners / len(hulls))[::-1]


def free_disposal_hull(points: Array, low: Array) -> ConvexHull:
    """Hull of ``points`` [N, K] and of all that they dominate down to ``low`` [K], which is below them all."""
    count = points.shape[1]
    parts = [low[None]]
    for size in range(1, count + 1):
        for kept in combinations(range(count), size):
            part = np.tile(low, (len(points), 1))
            part[:, kept] = points[:, kept]
            parts.append(nondominated(part))
    return ConvexHull(np.unique(np.concatenate(parts), axis=0))


def hypervolume(points: ArrayLike, reference: ArrayLike, hull: bool = False) -> float:
    """Volume that ``points`` [N, K] dominate above ``reference`` [K], all objectives to be maximised.

    Args:
        points: one row per policy; points that do not exceed the reference add nothing by themselves.
        reference: the corner from which volume is counted.
        hull: count what mixtures of the policies dominate too (a mixture of policies is a policy), instead of
            the staircase below the policies alone.

    Returns:
        The volume, in the product of the objectives' units.

    Raises:
        HeedError: if shapes disagree or a value is not finite.

    >>> hypervolume([[1.0, 2.0], [2.0, 1.0]], reference=[0.0, 0.0])
    3.0
    >>> round(hypervolume([[1.0, 2.0], [2.0, 1.0]], reference=[0.0, 0.0], hull=True), 9)
    3.5
    """
    values, corner = np.atleast_2d(np.asarray(points, float)), np.asarray(reference, float)
    if values.shape[1:] != corner.shape or not (np.isfinite(values).all() and np.isfinite(corner).all()):
        raise HeedError(
            f"no hypervolume of points of shape {values.shape} above a reference of shape {corner.shape}",
            where="hypervolume",
            fix="give finite points [N, K] and a reference [K]",
        )
    if not hull or len(corner) == 1:
        return float(moocore.hypervolume(values, ref=corner, maximise=True))
    return _hull_volume(values, corner)


def _hull_volume(points: Array, reference: Array) -> float:
    """Volume of the free-disposal hull cut off below the reference, in units in which all spans are 1."""
    span = np.maximum(np.maximum(points.max(0), reference) - np.minimum(points.min(0), reference), 1e-12)
    scaled = (points - reference) / span
    below = np.minimum(scaled.min(0), 0.0) - 1.0
    facets = free_disposal_hull(scaled, below).equations
    cuts = np.concatenate([-np.eye(len(reference)), np.zeros((len(reference), 1))], axis=1)
    halfspaces = np.concatenate([facets, cuts])
    centre, radius = _inscribed_ball(halfspaces)
    if radius <= 1e-9:  # nothing above the reference, or only a sliver without volume
        return 0.0
    corners = HalfspaceIntersection(halfspaces, centre).intersections
    return float(ConvexHull(corners).volume * span.prod())


def _inscribed_ball(halfspaces: Array) -> tuple[Array, float]:
    """Centre and radius of the largest ball where ``A y + b <= 0``; radius -1 if there is none."""
    normals, offsets = halfspaces[:, :-1], halfspaces[:, -1]
    lengths = np.linalg.norm(normals, axis=1)[:, None]
    cost = np.zeros(halfspaces.shape[1])
    cost[-1] = -1.0
    bounds = [(None, None)] * normals.shape[1] + [(0.0, None)]
    answer = linprog(cost, A_ub=np.concatenate([normals, lengths], 1), b_ub=-offsets, bounds=bounds)
    if answer.x is None:
        return np.zeros(normals.shape[1]), -1.0
    return answer.x[:-1], float(answer.x[-1])
