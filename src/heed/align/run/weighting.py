"""The weighting that a job declares; a setting that its method does not have is refused, not ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import PREFERENCE_METHODS, check_preference, weighting_from_name
from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary

if TYPE_CHECKING:
    from heed.align.run.job import AlignJob

_HAVING: dict[str, tuple[str, ...]] = {
    "p": ("gapo",),
    "weights": ("linear",),
    **dict.fromkeys(("ideal", "nadir", "mu", "share_floor", "settle"), ("tchebycheff",)),
}
"""Settings of the weightings, each with the methods that have it; the preference's are `PREFERENCE_METHODS`."""


def of_method(settings: Mapping[str, Any], method: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as one of several methods takes them: what it does not have is back at its default.

    Args:
        settings: flat, as given for all methods.
        method: its name.
        defaults: of all settings.

    >>> of_method({"p": 2.0, "mu": 0.1}, "gapo", {"p": 1.0, "mu": 0.03})
    {'p': 2.0, 'mu': 0.03}
    """
    name = method.partition(":")[0]
    return {key: defaults[key] if name not in _HAVING.get(key, (name,)) else value for key, value in settings.items()}


def refuse_unused(settings: Mapping[str, Any], methods: Sequence[str], defaults: Mapping[str, Any]) -> None:
    """Refuse a setting that was given and that none of the methods has.

    Args:
        settings: flat; one that differs from its default was given.
        methods: names.
        defaults: of all settings.

    Raises:
        HeedError: names the first such setting.
    """
    names = [method.partition(":")[0] for method in methods]
    for key, having in _HAVING.items():
        if settings[key] != defaults[key] and not set(names) & set(having):
            raise HeedError(
                f"{', '.join(names)} has no {key}", f"--{key}", f"take --method {having[0]}, or leave it out"
            )


def build_weighting(job: AlignJob, names: Sequence[str], world: Apothecary | None = None) -> Weighting[PSDMatrix]:
    """The job's weighting for objectives of these names, on a world or without.

    Raises:
        HeedError: an unknown method, a setting out of its range or of another method, a preference off the simplex.
    """
    method, K = job.method.partition(":")[0], len(names)
    if not job.p >= 0:
        raise HeedError(f"p is {job.p:g}", "--p", "give a power of at least 0")
    options: dict[str, Any] = {}
    if job.preference is not None and method in PREFERENCE_METHODS:
        check_preference(job.preference, K)
        options["preference"] = job.preference
    elif method in ("pgapo", "tchebycheff"):
        raise HeedError(f"{method} needs a preference", "--preference", f"give {K} weights that add up to 1")
    if method == "gapo":
        options["p"] = job.p
    elif method == "linear" and job.weights is not None:
        if job.preference is not None:
            raise HeedError("linear has both weights and a preference", "--weights, --preference", "give one of them")
        options["weights"] = job.weights
    elif method == "tchebycheff":
        options |= {"mu": job.mu, "softmax_floor": job.share_floor, "settle": job.settle}
        options["unit_gradients"] = False
        options |= dict(zip(("ideal", "nadir"), _extremes(job, world), strict=True))
    weighting = weighting_from_name(job.method, K, names=tuple(names), **options)
    if job.preference is not None and "preference" not in options:
        raise HeedError(
            f"{method} follows no preference", "--preference", f"take --method {', '.join(PREFERENCE_METHODS)}"
        )
    refuse_unused(dataclasses.asdict(job), [method], dataclasses.asdict(type(job)()))
    return weighting


def require_both_extremes(ideal: Sequence[float] | None, nadir: Sequence[float] | None) -> None:
    """Refuse an ideal without a nadir, and the reverse.

    Raises:
        HeedError: names the one that is missing.
    """
    if (ideal is None) != (nadir is None):
        given, missing = ("ideal", "nadir") if nadir is None else ("nadir", "ideal")
        raise HeedError(f"there is --{given} but no --{missing}", f"--{given}", "give both, or neither")


def _extremes(job: AlignJob, world: Apothecary | None) -> tuple[list[float], list[float]]:
    require_both_extremes(job.ideal, job.nadir)
    if job.ideal is not None and job.nadir is not None:
        return job.ideal, job.nadir
    if world is None or job.rewards != "gold":
        raise HeedError(
            "tchebycheff needs each objective's best and worst value on the front",
            "--ideal, --nadir",
            "give both; values of single-objective runs serve (heed front finds them by itself)",
        )
    front = world.front()
    return front.ideal.tolist(), front.nadir.tolist()
