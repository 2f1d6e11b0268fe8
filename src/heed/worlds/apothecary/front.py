"""The exact Pareto front of expected values over all policies of a world of independent prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from heed.errors import HeedError
from heed.worlds.apothecary.hulls import (
    free_disposal_hull,
    hypervolume,
    minkowski_average,
    nondominated,
    upper_hull,
)

Array = NDArray[np.float64]

TIE = 1e-9
"""Weight that every objective keeps when ties between replies are broken, so that optima are Pareto optimal."""


@dataclass(frozen=True, eq=False)
class ExactFront:
    """The front of the average over prompts, where each prompt's reply is chosen freely (and may be sampled).

    A policy's expected values are an average of one point from the hull of each prompt's replies, so the front is
    the Pareto part of the Minkowski average of those hulls, and its optimum for weights is found prompt by
    prompt. Up to three objectives ``vertices`` are all vertices of the front. For four they would be too many:
    ``vertices`` are as many of them (each exactly on the front) as bring the hull within ``gap`` of the front
    in every direction, in units of the objectives' ranges; `optimum` and `tchebycheff` stay exact.

    Attributes:
        names: the objectives [K], all to be maximised.
        vertices: [V, K] values of Pareto-optimal policies, by rising first objective.
        gap: how far the true front may lie beyond the hull of the vertices; rounding error for K <= 3.
        ideal: [K] the best of each objective.
        nadir: [K] the worst of each objective among the optima of single ones: for K = 2 the worst on the front;
            for more the front may reach a little below it.
        replies: per prompt the values [N_i, K] of the replies that are not dominated.

    Example:
        >>> replies = [np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [3.0, -1.0]])]
        >>> front = ExactFront.of(("a", "b"), replies)
        >>> front.vertices.tolist()
        [[0.0, 1.0], [1.5, 0.5], [2.0, -0.5]]
        >>> front.optimum([1.0, 1.0]).tolist()
        [1.5, 0.5]
        >>> front.tchebycheff([0.5, 0.5]).round(4).tolist()
        [1.3846, 0.5385]
        >>> front.constrained({"b": 0.75}).tolist()
        [0.75, 0.75]
    """

    names: tuple[str, ...]
    vertices: Array
    gap: float
    ideal: Array
    nadir: Array
    replies: tuple[Array, ...]

    @classmethod
    def of(cls, names: Sequence[str], replies: Sequence[Array], tolerance: float | None = None) -> ExactFront:
        """Build the front from the values [N_i, K] of every meaningful reply to each prompt.

        Args:
            names: the objectives [K].
            replies: one array per prompt; all prompts are equally frequent.
            tolerance: the gap at which to stop looking for vertices when K > 2; None for all vertices when
                K = 3 (some thousands) and 3e-4 beyond (two thousand vertices in a second; a tenth takes 15 s).
        """
        sets = tuple(nondominated(np.asarray(values, dtype=np.float64)) for values in replies)
        if len(names) == 2:
            sets = tuple(upper_hull(values) for values in sets)
            vertices, gap = minkowski_average(sets), 0.0
        else:
            vertices, gap = _enclose(sets, len(names), tolerance or (1e-9 if len(names) <= 3 else 3e-4))
        corners = _support(sets, np.eye(len(names)) + TIE)
        return cls(tuple(names), vertices, gap, vertices.max(0), corners.min(0), sets)

    @cached_property
    def ranges(self) -> Array:
        """Ideal minus nadir [K]; 1 where an objective does not vary, so that scaling is defined."""
        spread = self.ideal - self.nadir
        return np.where(spread > 0, spread, 1.0)

    @property
    def references(self) -> tuple[Array, Array]:
        """Two reference points, 10% and 50% of the range beyond the nadir: hypervolume depends on which."""
        return self.nadir - 0.1 * self.ranges, self.nadir - 0.5 * self.ranges

    def scale(self, values: ArrayLike) -> Array:
        """Values [..., K] in units of the front's range: 0 at the nadir, 1 at the ideal; beyond is possible."""
        return (np.asarray(values, dtype=np.float64) - self.nadir) / self.ranges

    def optimum(self, weights: ArrayLike) -> Array:
        """Values [K] of the policy that maximises ``weights . values``; a tie goes to the Pareto-optimal one.

        Args:
            weights: [K] non-negative, of any sum, for values on their own scales.

        Raises:
            HeedError: if the weights are of wrong length, negative, not finite or all zero.
        """
        checked = self._check("weights", weights)
        return _support(self.replies, (checked / checked.sum() + TIE / self.ranges)[None])[0]

    def tchebycheff(self, preference: ArrayLike) -> Array:
        """Point [K] of the front that minimises ``max_k preference_k (1 - scaled_k)``.

        It lies on the ray from the ideal along which ``preference_k (1 - scaled_k)`` is equal for all k: the more
        preferred an objective, the nearer to its best. For K > 2 that ray can miss the front; then
        the objectives with slack are as good as the others allow.

        Args:
            preference: [K] on the simplex; an objective of preference 0 is left to the others.

        Raises:
            HeedError: if the preference is not on the simplex or is of wrong length.
        """
        checked = self._check("preference", preference)
        if not np.isclose(checked.sum(), 1.0, atol=1e-6):
            raise HeedError(
                f"the preference sums to {checked.sum():g}",
                where="preference",
                fix="give non-negative numbers that sum to 1",
            )
        columns = self.scale(self.vertices)
        while True:  # column generation: the dual weights ask whether any policy improves on the mixture
            mixture, weights = _best_mixture(columns, checked)
            best = self.scale(_support(self.replies, (weights / self.ranges)[None])[0])
            if weights @ (best - mixture) <= 1e-10 or (np.abs(columns - best).max(1) < 1e-12).any():
                return self.nadir + self.ranges * mixture
            columns = np.concatenate([columns, best[None]])

    def constrained(self, levels: Mapping[str, float]) -> Array:
        """Point [K] with the best sum of the objectives without a level, where the others are kept at theirs.

        Args:
            levels: least value of some objectives, by name, on their own scales.

        Raises:
            HeedError: an unknown name, no objective without a level, or levels that no policy keeps.
        """
        unknown = sorted(set(levels) - set(self.names))
        if unknown or len(levels) == len(self.names):
            what = f"there is no objective '{unknown[0]}'" if unknown else "every objective has a level"
            raise HeedError(what, "levels", f"choose some of {', '.join(self.names)}")
        kept = [name in levels for name in self.names]
        least = np.array([levels.get(name, -np.inf) for name in self.names])
        gain, columns = np.where(kept, 0.0, 1.0), self.vertices
        while True:  # column generation, as in `tchebycheff`
            mixture, duals = _best_kept(columns, gain, kept, least)
            best = _support(self.replies, (gain + duals + TIE / self.ranges)[None])[0]
            if (gain + duals) @ (best - mixture) <= 1e-10 or (np.abs(columns - best).max(1) < 1e-12).any():
                return mixture
            columns = np.concatenate([columns, best[None]])

    def hypervolume(self, points: ArrayLike, reference: ArrayLike | None = None, hull: bool = False) -> float:
        """Hypervolume of ``points`` [N, K] above a reference (the first of `references` if None).

        See `heed.worlds.apothecary.hulls.hypervolume`; with ``points=front.vertices, hull=True`` it is the front's own.
        """
        return hypervolume(points, self.references[0] if reference is None else reference, hull)

    def share(self, points: ArrayLike, reference: ArrayLike | None = None, hull: bool = False) -> float:
        """The hypervolume of ``points`` [N, K] as a share of the front's own."""
        return self.hypervolume(points, reference, hull) / self.hypervolume(self.vertices, reference, hull=True)

    def to_record(self) -> dict[str, Any]:
        """The front as JSON (a run's ``exact.json``)."""
        return {
            "names": list(self.names),
            "vertices": self.vertices.tolist(),
            "ideal": self.ideal.tolist(),
            "nadir": self.nadir.tolist(),
            "references": [reference.tolist() for reference in self.references],
            "gap": self.gap,
        }

    def _check(self, kind: str, given: ArrayLike) -> Array:
        vector = np.asarray(given, dtype=np.float64)
        if (
            vector.shape != (len(self.names),)
            or not np.isfinite(vector).all()
            or (vector < 0).any()
            or not vector.any()
        ):
            raise HeedError(
                f"{kind} {vector.tolist()} do not suit the objectives {', '.join(self.names)}",
                where=kind,
                fix=f"give {len(self.names)} non-negative numbers, not all zero",
            )
        return vector


def _support(replies: Sequence[Array], weights: Array) -> Array:
    """Average over prompts of the best reply for each row of ``weights`` [F, K] -> [F, K]."""
    total = np.zeros_like(weights)
    for values in replies:
        total += values[(values @ weights.T).argmax(0)]
    return total / len(replies)


def _enclose(replies: Sequence[Array], count: int, tolerance: float) -> tuple[Array, float]:
    """Vertices of the front by sandwiching, and the gap that is left.

    The hull of the vertices known so far lies inside the front's; its distance from the front is greatest along the
    normal of a facet. So each facet's normal is asked for its optimum until no answer lies beyond it by more
    than the tolerance.
    """
    corners = _support(replies, np.eye(count) + TIE)
    low = corners.min(0)
    spread = np.where(np.ptp(corners, axis=0) > 0, np.ptp(corners, axis=0), 1.0)
    vertices = np.unique(corners, axis=0)
    while True:
        scaled = (vertices - low) / spread
        normals = free_disposal_hull(scaled, scaled.min(0) - 1.0).equations[:, :-1] if count > 1 else np.eye(1)
        normals = normals.clip(min=0)
        normals = np.unique(normals[normals.sum(1) > 1e-9].round(12), axis=0)
        normals /= normals.sum(1, keepdims=True)
        answers = _support(replies, (normals + TIE) / spread)
        beyond = (normals * (answers - low) / spread).sum(1) - (normals @ scaled.T).max(1)
        if beyond.max() <= tolerance:
            return vertices, float(max(beyond.max(), 0.0))
        vertices = np.unique(np.concatenate([vertices, answers[beyond > tolerance]]), axis=0)


def _best_mixture(columns: Array, preference: Array) -> tuple[Array, Array]:
    """Mixture [K] of ``columns`` [V, K] of least ``max_k preference_k (1 - mixture_k)``, and its dual weights [K].

    A sum of all objectives with a tiny factor settles ties, as in the augmented Tchebycheff norm.
    """
    size, count = columns.shape
    cost = np.append(-1e-6 * columns.sum(1), 1.0)
    limits = np.concatenate([-(preference[:, None] * columns.T), -np.ones((count, 1))], axis=1)
    answer = linprog(
        cost,
        A_ub=limits,
        b_ub=-preference,
        A_eq=np.append(np.ones(size), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * size + [(None, None)],
    )
    weights = -preference * np.asarray(answer.ineqlin.marginals) + 1e-6
    return np.asarray(answer.x[:-1] @ columns), np.asarray(weights)


def _best_kept(columns: Array, gain: Array, kept: Sequence[bool], least: Array) -> tuple[Array, Array]:
    """Mixture [K] of ``columns`` [V, K] with the best ``gain`` and at least ``least`` where ``kept``; its duals [K].

    Raises:
        HeedError: no mixture keeps that.
    """
    size = len(columns)
    answer = linprog(
        -columns @ gain,
        A_ub=-columns[:, kept].T,
        b_ub=-least[kept],
        A_eq=np.ones((1, size)),
        b_eq=[1.0],
        bounds=[(0, None)] * size,
    )
    if not answer.success:
        raise HeedError("no policy keeps these levels", "levels", "lower them")
    duals = np.zeros(columns.shape[1])
    duals[kept] = -np.asarray(answer.ineqlin.marginals)
    return np.asarray(answer.x @ columns), duals
