"""Points of a front that are all of one policy, which is told the preference in each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed.align.conditioning.gates import write_adapter
from heed.align.conditioning.tags import WriteTag
from heed.align.run.weighting import settings_of_method
from heed.balance.methods.conditioned import ConditionedConfig
from heed.balance.weightings.combinations.ric import RiC
from heed.compare.results import Make, Results, newest_adapter, outcomes
from heed.compare.tasks import Task

ALONG = "along"
"""The folder, in a run's, of one adapter for each preference."""
OF_ONE_POLICY = ("conditioned", "ric")
"""Methods in `heed front` that train one policy for all preferences."""


def is_of_one_policy(method: str) -> bool:
    """Whether a method trains one policy for all preferences.

    >>> is_of_one_policy("conditioned:pgapo"), is_of_one_policy("pgapo")
    (True, False)
    """
    return method.partition(":")[0] in OF_ONE_POLICY


def inner_of(method: str) -> str | None:
    """The method by which a conditioned policy is trained; None of another method.

    >>> inner_of("conditioned:pgapo"), inner_of("conditioned"), inner_of("ric")
    ('pgapo', 'tchebycheff', None)
    """
    name, _, inner = method.partition(":")
    return (inner or ConditionedConfig().inner) if name == "conditioned" else None


def one_policy_settings(settings: dict[str, Any], method: str, count: int) -> dict[str, Any]:
    """The settings of the run of a method, for so many preferences.

    Args:
        settings: of the front; in ``weighting`` those of all methods.
        method: of one policy.
        count: of preferences.
    """
    own = settings_of_method(method, settings["weighting"]) | {"preferences": count}
    if (inner := inner_of(method)) is not None:
        given = settings_of_method(inner, settings["weighting"])
        given = {**(own.get("inner_settings") or {}), **given}
        own["inner_settings"] = {name: value for name, value in given.items() if name != "preference"}
    return settings | {"method": method, "weighting": own}


def one_policy_points(
    settings: dict[str, Any],
    method: str,
    names: Sequence[str],
    grid: Sequence[Sequence[float]],
    seeds: Sequence[int],
    out: Path,
    make: Make,
    write: WriteTag,
    results: Results | None = None,
) -> list[dict[str, Any]]:
    """Train one policy for each seed, and take its values at every preference.

    Args:
        settings: of the front.
        method: of one policy.
        names: of the objectives.
        grid: preferences, [N, K].
        seeds: of the runs.
        out: the front's folder.
        make: runs tasks.
        write: how what a prompt carries is written.
        results: runs that are done.

    Returns:
        Points of the front, as `heed.compare.front` lists them: with an adapter of their own each, or with one for all
        and ``tag``, what to put before a prompt.
    """
    chosen = one_policy_settings(settings, method, len(grid))
    gated = method != "ric" and ConditionedConfig(**chosen["weighting"]).through == "adapter"
    slug = method.replace(":", "-")
    tasks = [Task(f"{slug}-seed{s}", chosen | {"seed": s}, out / "runs" / f"{slug}-seed{s}") for s in seeds]
    points = []
    came = make(tasks, None) if results is None else outcomes(tasks, results, make)
    for seed, task, summary in zip(seeds, tasks, came, strict=True):
        for each in summary["along"]:
            point = {"preference": each["preference"], "method": method, "seed": seed}
            point |= {"values": [each["values"][name] for name in names], "seconds": summary["seconds"] / len(grid)}
            adapter = newest_adapter(task.folder, out)
            if not gated:
                point["tag"] = write(names, _shares(method, each["preference"]))
            elif adapter is not None:
                own = task.folder.relative_to(out) / ALONG / "-".join(f"{x:g}" for x in each["preference"])
                write_adapter(out / adapter, each["preference"], out / own)
                adapter = str(own)
            points.append(point | {"adapter": adapter})
    return points


def _shares(method: str, preference: Sequence[float]) -> list[float]:
    """The numbers that a prompt carries for a preference."""
    return RiC([preference]).wanted(preference).tolist() if method == "ric" else list(preference)
