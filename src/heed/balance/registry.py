"""Weightings by name, as the command line and configs give them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance.classical import NashMTL, PCGrad, aligned_mtl, cagrad, upgrad
from heed.balance.tchebycheff import SmoothTchebycheff
from heed.balance.weightings import GAPO, MGDA, PGAPO, Linear, Single, check_preference
from heed.errors import HeedError

Vector = Sequence[float] | Tensor


def _pgapo(k: int, preference: Vector, floor: float = 0.0) -> PGAPO:
    return PGAPO(check_preference(preference, k), floor=floor)


def _linear(k: int, weights: Vector | None = None, preference: Vector | None = None) -> Linear:
    if weights is not None and preference is not None:
        raise HeedError("linear has both weights and a preference", fix="give one of them")
    if weights is None:
        return Linear([1 / k] * k if preference is None else check_preference(preference, k))
    if len(weights) != k:
        raise HeedError(f"{len(weights)} weights for {k} objectives", "linear", f"give {k}")
    return Linear(weights)


def _single(k: int, index: int = 0) -> Single:
    if not 0 <= index < k:
        raise HeedError(f"there is no objective {index} among {k}", "single", "count them from 0")
    return Single(index)


def _tchebycheff(k: int, preference: Vector, **options: Any) -> SmoothTchebycheff:
    preference = check_preference(preference, k)
    _check_options("tchebycheff", SmoothTchebycheff, preference, **options)
    return SmoothTchebycheff(preference, **options)


def _check_options(method: str, builder: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Raise `HeedError` where an option is missing or unknown."""
    try:
        inspect.signature(builder).bind(*arguments, **options)
    except TypeError as error:
        raise HeedError(f"{method}: {error}", fix="see heed.balance.weighting_from_name for its options") from error


_BUILDERS: dict[str, Callable[..., Weighting[PSDMatrix]]] = {
    "gapo": lambda _k, p=1.0, floor=0.0: GAPO(p=p, floor=floor),
    "pgapo": _pgapo,
    "tchebycheff": _tchebycheff,
    "linear": _linear,
    "mgda": lambda _k: MGDA(),
    "single": _single,
    "pcgrad": lambda _k, seed=0: PCGrad(seed=seed),
    "cagrad": lambda _k, c=0.5: cagrad(c),
    "upgrad": lambda _k, ridge=1e-8: upgrad(ridge),
    "nash-mtl": NashMTL,
    "aligned-mtl": lambda _k: aligned_mtl(),
}

METHODS: tuple[str, ...] = tuple(_BUILDERS)
"""Names that `weighting_from_name` knows; "single" may also be given as ``single:NAME``."""

PREFERENCE_METHODS: tuple[str, ...] = ("pgapo", "tchebycheff", "linear")
"""The methods that take a ``preference``."""


def weighting_from_name(name: str, k: int, names: Sequence[str] | None = None, **options: Any) -> Weighting[PSDMatrix]:
    """Build a weighting from its name.

    Args:
        name: one of `METHODS`, or ``single:NAME`` for the objective of that name.
        k: number of objectives, >= 1.
        names: the objectives' names, which ``single:NAME`` needs.
        options: the weighting's own settings: ``p`` and ``floor`` (gapo), ``preference`` (pgapo, tchebycheff,
            linear), ``weights`` (linear), ``index`` (single), ``ideal``, ``nadir``, ``mu``, ... (tchebycheff), ``seed``
            (pcgrad), ``c`` (cagrad), ``ridge`` (upgrad), ``max_norm``, ``iterations`` (nash-mtl).

    Returns:
        A weighting from the Gram matrix [K, K] to the weights [K] of the raw gradients.

    Raises:
        HeedError: if the name or an option is unknown, an option is out of range or missing, or a package is not
            installed.

    >>> weighting_from_name("single:harmless", 2, names=["help", "harmless"])
    Single(index=1)
    """
    where = f"--method {name}"
    method, _, objective = name.partition(":")
    if method == "single" and objective:
        if objective not in (names or ()):
            raise HeedError(f"there is no objective '{objective}'", where, f"choose from {', '.join(names or ())}")
        options = {"index": list(names or ()).index(objective), **options}
    elif name not in _BUILDERS:
        close = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(METHODS)}"
        raise HeedError(f"there is no method '{name}'", "--method", hint)
    builder = _BUILDERS[method]
    _check_options(method, builder, k, **options)
    try:
        return builder(k, **options)
    except ImportError as error:
        raise HeedError(f"{method} needs packages that are not here", where, "pip install heed[weightings]") from error
