"""Settings of weightings, checked: a preference on the simplex, one number per objective, numbers in their range."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from heed.errors import HeedError


def check_preference(values: Sequence[float] | Tensor, k: int | None = None) -> Tensor:
    """Return a preference as float64 [K] that sums to 1, or say why it is none.

    Args:
        values: one weight per objective, none negative, summing to 1 (to 1e-6).
        k: number of objectives, if it is known.

    Raises:
        HeedError: if it is off the simplex, of the wrong length, negative or not finite.

    >>> check_preference([0.7, 0.3], 2)
    tensor([0.7000, 0.3000], dtype=torch.float64)
    """
    preference = checked_vector(values, "preference")
    where, shown = "--preference", ", ".join(f"{value:g}" for value in preference.tolist())
    if k is not None and len(preference) != k:
        raise HeedError(
            f"the preference {shown} has {len(preference)} weights for {k} objectives", where, f"give {k} weights"
        )
    if bool((preference < 0).any()):
        raise HeedError(f"the preference {shown} has a negative weight", where, "give weights from 0 to 1")
    if abs(float(preference.sum()) - 1) > 1e-6:
        total = float(preference.sum())
        raise HeedError(f"the preference {shown} sums to {total:g}", where, "give weights that sum to 1")
    return preference / preference.sum()


def required_preference(method: str, values: Sequence[float] | None, k: int) -> Tensor:
    """A preference of K objectives that a method cannot be without, float64 [K].

    Raises:
        HeedError: there is none, or it is off the simplex or of the wrong length.
    """
    if values is None:
        raise HeedError(f"{method} needs a preference", "--preference", f"give {k} weights that add up to 1")
    return check_preference(values, k)


def given_preference(values: Sequence[float] | None, k: int) -> Tensor | None:
    """A preference of K objectives that a method can be without, float64 [K], or None.

    Raises:
        HeedError: it is off the simplex or of the wrong length.
    """
    return None if values is None else check_preference(values, k)


def check_count(gram: Tensor, count: int, what: str) -> None:
    """Raise `HeedError` unless the Gram matrix [K, K] has as many objectives as the setting has entries."""
    if len(gram) != count:
        raise HeedError(f"{count} {what} for {len(gram)} objectives", fix=f"give {len(gram)}")


def checked_vector(values: Sequence[float] | Tensor, what: str) -> Tensor:
    """Finite float64 CPU vector [K >= 1] of a setting, or `HeedError`."""
    on_cpu = values.detach().to(device="cpu") if isinstance(values, Tensor) else values
    vector = torch.as_tensor(on_cpu, dtype=torch.float64).clone()
    if vector.ndim != 1 or len(vector) == 0:
        raise HeedError(f"the {what} is not a list of numbers", fix="give one number per objective")
    if not bool(torch.isfinite(vector).all()):
        raise HeedError(f"the {what} {vector.tolist()} is not finite", fix="give one number per objective")
    return vector


def checked_floor(floor: float) -> float:
    """The norm floor, or `HeedError` if it is negative or not finite."""
    if not (math.isfinite(floor) and floor >= 0):
        raise HeedError(f"the norm floor is {floor}", "--floor", "give a number >= 0, such as 0.1; 0 is no floor")
    return floor
